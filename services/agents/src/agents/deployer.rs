//! 6: the steps that change what runs and where traffic goes. How is in [`crate::deploy`].

use model::{StepKind, deployment::StepJob, step::StepResult};

use crate::{
    Error,
    context::Ctx,
    deploy::{hook, roll, scale, weight},
    error::Result,
};

/// Does a step of the platform or of the traffic.
pub async fn run(job: &StepJob, ctx: &Ctx, again: bool) -> Result<StepResult> {
    match &job.step.kind {
        StepKind::Scale { module, revision, count } => scale::run(job, ctx, module, revision, *count).await,
        StepKind::SetWeight { module, weights, verify } => {
            weight::run(job, ctx, module, weights, *verify).await
        }
        StepKind::RollBatch { .. } => roll::run(job, ctx).await,
        StepKind::Hook { index } => hook::run(job, ctx, *index, again).await,
        StepKind::Review
        | StepKind::Pause { .. }
        | StepKind::Analyse { .. }
        | StepKind::Guard { .. }
        | StepKind::Smoke { .. }
        | StepKind::Validate
        | StepKind::Certify => {
            Err(Error::verdict(format!("the deployer does not know how to {}", job.step.describe())))
        }
    }
}
