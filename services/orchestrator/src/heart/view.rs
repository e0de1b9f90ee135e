//! How a deployment looks to people.

use model::{
    DeploymentSpec, Outcome, Phase, Step, Timestamp, Verdict,
    plan::{Snapshot, Versions},
    view::{DeploymentView, StepStatus, StepView, Summary},
};

use super::{explain::explain, state::Deployment, target::Target};

/// The short form.
pub fn summary(state: &Deployment) -> Summary {
    let verdict = match state.phase {
        Phase::NeedsHuman => Some(Verdict::NeedsHuman),
        _ => state.ending.verdict,
    };
    Summary {
        deployment: state.id.clone(),
        target: state.spec.target_id(),
        spec: state.spec_digest.clone(),
        initiator: state.initiator.clone(),
        phase: state.phase,
        verdict,
        reason: state
            .ending
            .stuck
            .as_ref()
            .or(state.ending.cause.as_ref())
            .map(|cause| versions(state).shown_in(&cause.text).into_owned())
            .unwrap_or_default(),
        received: state.received,
        closed: state.ending.closed,
        modules: state.spec.versions(),
    }
}

/// The whole.
pub fn view(state: &Deployment, target: &Target, now: Timestamp) -> DeploymentView {
    DeploymentView {
        summary: summary(state),
        version: state.version,
        mode: state.mode,
        owner: state.owner.as_ref().map(|owner| (owner.to_string(), state.epoch)),
        lock: state.change.lock,
        plan: state.change.digest.clone().zip(state.change.plan.clone()),
        steps: state.all_steps().map(|step| step_view(state, step)).collect(),
        paused: state.steering.paused.is_some(),
        approvals: state.clearance.approvals.iter().cloned().collect(),
        signing: state.clearance.ballot.as_ref().map(|ballot| ballot.standing(now)),
        advice: state.clearance.counsel.clone(),
        cause: state.ending.cause.clone(),
        explanation: explain(state, target, now),
        versions: versions(state),
    }
}

fn versions(state: &Deployment) -> Versions {
    Versions::of(releases(&state.spec, state.change.baseline.as_ref()))
}

/// What is asked for, then what ran before.
pub fn releases<'a>(
    spec: &'a DeploymentSpec,
    baseline: Option<&'a Snapshot>,
) -> impl Iterator<Item = &'a DeploymentSpec> {
    std::iter::once(spec).chain(baseline.map(|snapshot| &snapshot.spec))
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
    let turned_back = state.ending.cause.is_some() && step.stage != model::step::Stage::Rollback;
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
