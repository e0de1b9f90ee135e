//! How a deployment looks to people.

use model::{
    Outcome, Phase, Step, Verdict,
    view::{DeploymentView, StepStatus, StepView, Summary},
};

use super::{explain::explain, state::Deployment, target::Target};

/// The short form.
pub fn summary(state: &Deployment) -> Summary {
    let verdict = match state.phase {
        Phase::NeedsHuman => Some(Verdict::NeedsHuman),
        _ => state.verdict,
    };
    Summary {
        deployment: state.id.clone(),
        target: state.spec.target_id(),
        spec: state.spec_digest.clone(),
        initiator: state.initiator.clone(),
        phase: state.phase,
        verdict,
        reason: state
            .stuck
            .as_ref()
            .or(state.cause.as_ref())
            .map(|cause| cause.text.clone())
            .unwrap_or_default(),
        received: state.received,
        closed: state.closed,
        modules: state
            .spec
            .modules
            .iter()
            .map(|module| format!("{} {}", module.name, module.version))
            .collect(),
    }
}

/// The whole.
pub fn view(state: &Deployment, target: &Target) -> DeploymentView {
    DeploymentView {
        summary: summary(state),
        version: state.version,
        mode: state.mode,
        owner: state.owner.as_ref().map(|owner| (owner.to_string(), state.epoch)),
        lock: state.lock,
        plan: state.plan_digest.clone().zip(state.plan.clone()),
        steps: state.all_steps().map(|step| step_view(state, step)).collect(),
        paused: state.paused.is_some(),
        approvals: state.approvals.clone(),
        advice: state.counsel.clone(),
        cause: state.cause.clone(),
        explanation: explain(state, target),
    }
}

fn step_view(state: &Deployment, step: &Step) -> StepView {
    let stand = state.state_of(&step.id);
    let (result, finished) = stand.result.clone().unzip();
    StepView {
        id: step.id.clone(),
        stage: step.stage,
        agent: step.agent,
        text: step.describe(),
        status: status(state, step),
        attempt: stand.attempt,
        runner: stand.runner,
        scheduled: stand.scheduled,
        finished,
        reason: result.as_ref().map(|result| result.reason.clone()).unwrap_or_default(),
        gates: result.as_ref().map(|result| result.gates.clone()).unwrap_or_default(),
        findings: result.map(|result| result.findings).unwrap_or_default(),
    }
}

/// How far a step is.
pub fn status(state: &Deployment, step: &Step) -> StepStatus {
    let stand = state.state_of(&step.id);
    let turned_back = state.cause.is_some() && step.stage != model::step::Stage::Rollback;
    match (&stand.result, stand.scheduled, &stand.runner) {
        (Some((result, _)), ..) => match result.outcome {
            Outcome::Succeeded => StepStatus::Succeeded,
            Outcome::Failed => StepStatus::Failed,
            Outcome::Errored => StepStatus::Errored,
            Outcome::Inconclusive => StepStatus::Inconclusive,
        },
        (None, None, _) if turned_back && step.kind != model::StepKind::Certify => StepStatus::Skipped,
        (None, None, _) if state.is_closed() => StepStatus::Skipped,
        (None, Some(_), _) if turned_back && step.stage != model::step::Stage::Finish => StepStatus::Skipped,
        (None, Some(_), Some(_)) => StepStatus::Running,
        (None, Some(_), None) => StepStatus::Scheduled,
        (None, None, _) => StepStatus::Waiting,
    }
}
