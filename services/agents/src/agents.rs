//! The ten agents: who does which step.

pub mod architect;
pub mod certifier;
pub mod deployer;
pub mod guardian;
pub mod integrator;
pub mod performance;
pub mod security;
pub mod tester;
pub mod toolsmith;
pub mod validator;

#[cfg(test)]
mod tests;

use model::{
    Finding, Outcome, Severity, StepKind,
    command::ReviewReply,
    deployment::StepJob,
    step::{Agent, StepResult},
};

use crate::{Error, context::Ctx, error::Result};

/// Does the step. `again`: an earlier run of it was begun and did not end.
pub async fn run(job: &StepJob, ctx: &Ctx, again: bool) -> Result<StepResult> {
    match (job.step.agent, &job.step.kind) {
        (Agent::Architect, StepKind::Review) => architect::review(job, ctx).await,
        (Agent::Integrator, StepKind::Review) => integrator::review(job, ctx).await,
        (Agent::Security, StepKind::Review) => Ok(security::review(job, ctx).await),
        (Agent::Toolsmith, _) => toolsmith::run(),
        (Agent::Tester, StepKind::Smoke { module, revision }) => {
            Box::pin(tester::smoke(job, ctx, module, revision)).await
        }
        (Agent::Deployer, _) => Box::pin(deployer::run(job, ctx, again)).await,
        (Agent::Performance, StepKind::Validate) => Box::pin(performance::validate(job, ctx)).await,
        (Agent::Guardian, StepKind::Validate) => Box::pin(guardian::validate(job, ctx)).await,
        (Agent::Performance | Agent::Guardian, StepKind::Analyse { .. }) => {
            Box::pin(crate::analysis::run(job, ctx)).await
        }
        (Agent::Guardian, StepKind::Guard { module, .. }) => {
            Box::pin(guardian::guard(job, ctx, module)).await
        }
        (Agent::Validator, StepKind::Validate) => Box::pin(validator::validate(job, ctx)).await,
        (Agent::Certifier, StepKind::Certify) => Box::pin(certifier::certify(job, ctx)).await,
        (agent, _) => {
            Err(Error::verdict(format!("the {agent} agent does not know how to {}", job.step.describe())))
        }
    }
}

/// What blocks: high and critical findings without a waiver.
pub(crate) fn blocking(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.severity >= Severity::High && finding.waived.is_none())
}

/// The result of a check: failed when something blocks.
pub(crate) fn judged(agent: Agent, mut findings: Vec<Finding>) -> StepResult {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let worst = blocking(&findings).next().map(|first| format!("{}: {}", first.rule, first.message));
    let blocked = blocking(&findings).count();
    let (outcome, reason) = match worst {
        None if findings.is_empty() => (Outcome::Succeeded, format!("the {agent} agent found nothing")),
        None if findings.len() == 1 => (Outcome::Succeeded, "1 finding, it does not block".to_owned()),
        None => (Outcome::Succeeded, format!("{} findings, none blocks", findings.len())),
        Some(worst) if blocked == 1 => (Outcome::Failed, worst),
        Some(worst) => (Outcome::Failed, format!("{worst} (and {} more that block)", blocked - 1)),
    };
    StepResult { findings, ..StepResult::new(outcome, reason) }
}

/// A check's result as an answer to a plan.
pub(crate) fn reply(agent: Agent, result: StepResult) -> ReviewReply {
    ReviewReply {
        agent: agent.to_string(),
        passed: result.outcome == Outcome::Succeeded,
        summary: result.reason,
        findings: result.findings,
    }
}

/// A finding about a module.
pub(crate) fn finding(
    rule: &str,
    severity: Severity,
    module: Option<&model::Token>,
    message: String,
) -> Finding {
    Finding {
        rule: rule.to_owned(),
        severity,
        module: module.cloned(),
        field: String::new(),
        message,
        cure: String::new(),
        waived: None,
    }
}
