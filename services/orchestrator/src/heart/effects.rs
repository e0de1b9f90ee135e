//! What should be under way outside, given where a deployment stands. Level-triggered: the same state gives the same
//! effects, so an owner that takes over begins with exactly what its predecessor left open.

use model::{
    DeploymentId, Digest, Fence, Phase, Step, StepKind,
    command::ReviewReply,
    deployment::{CauseKind, StepJob, StepStop, StopKind},
    expert::{AdviceJob, Matter},
    plan::Snapshot,
    spec::{DeploymentSpec, WhenBusy},
    step::Stage,
    target::Quarantine,
};

use super::{
    Context,
    state::{Deployment, StepState},
    target::Wish,
};

/// One thing the owner sees to. Repeating it does no harm.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A runner has the step.
    Send(Box<StepJob>),
    /// Runners know that these steps no longer matter, or that they are to finish.
    Stop(StepStop),
    /// The target's journal says so.
    Wish(Wish),
    /// Another deployment is told to make way for this one.
    MakeWay(DeploymentId),
    /// Experts have the plan before them.
    Advise(Box<AdviceJob>),
}

/// All effects of this state.
pub fn effects(state: &Deployment, context: Context<'_>) -> Vec<Effect> {
    if state.is_closed() || state.owner.as_ref() != Some(context.me) {
        return Vec::new();
    }
    let jobs = open(state).map(|(step, stand)| Effect::Send(Box::new(job(state, step, stand))));
    jobs.chain(others(state, context)).collect()
}

/// All effects but the jobs of the steps that are [`open`].
pub fn others(state: &Deployment, context: Context<'_>) -> Vec<Effect> {
    if state.is_closed() || state.owner.as_ref() != Some(context.me) {
        return Vec::new();
    }
    let mut effects = stops(state);
    effects.extend(advice(state).map(|job| Effect::Advise(Box::new(job))));
    effects.extend(wishes(state, context).into_iter().map(Effect::Wish));
    effects.extend(rivals(state, context).into_iter().map(Effect::MakeWay));
    effects
}

/// Who is asked to make way for this deployment.
pub fn rivals(state: &Deployment, context: Context<'_>) -> Vec<DeploymentId> {
    if state.phase != Phase::Queued || state.spec.when_busy != WhenBusy::Supersede {
        return Vec::new();
    }
    let holder = context.target.holder.iter().map(|(holder, _)| holder);
    let ahead = context.target.queue.iter().take_while(|waiting| **waiting != state.id);
    holder.chain(ahead).filter(|other| **other != state.id).cloned().collect()
}

/// The steps that a runner has to do now, each with its attempt.
pub fn open(state: &Deployment) -> impl Iterator<Item = (&Step, &StepState)> {
    let open = state.open_stage().filter(|_| state.change.digest.is_some());
    state
        .all_steps()
        .filter(move |step| Some(step.stage) == open && !matches!(step.kind, StepKind::Pause { .. }))
        .filter_map(|step| Some((step, state.steps.get(&step.id).filter(|stand| stand.is_open())?)))
}

/// What a runner is told to do.
pub fn job(state: &Deployment, step: &Step, stand: &StepState) -> StepJob {
    let extend = match &step.kind {
        StepKind::Analyse { analysis, .. } if stand.inconclusive > 0 => Some(analysis.duration),
        _ => None,
    };
    StepJob {
        deployment: state.id.clone(),
        step: step.clone(),
        attempt: stand.attempt,
        idem_key: stand.idem_key.clone(),
        fence: stand.fence,
        until: stand.until.unwrap_or_default(),
        spec: Box::new(state.spec.clone()),
        baseline: state.change.baseline.as_ref().map(|baseline| Box::new(baseline.spec.clone())),
        plan: state.change.digest.clone().unwrap_or_else(|| Digest::of(&state.change.plan)),
        extend,
    }
}

/// The question has the deployment's id, so that asking again gives the recorded answer.
fn advice(state: &Deployment) -> Option<AdviceJob> {
    let inquiry = state.clearance.asked.filter(|_| state.phase == Phase::Planned)?;
    let found = |step: &model::Step| {
        let (result, _) = state.state_of(&step.id).result?;
        Some(ReviewReply {
            agent: step.agent.to_string(),
            passed: result.outcome == model::Outcome::Succeeded,
            summary: result.reason,
            findings: result.findings,
        })
    };
    Some(AdviceJob {
        deployment: state.id.clone(),
        matter: Matter {
            question: state.id.as_str().parse().ok()?,
            spec: Box::new(state.spec.clone()),
            baseline: state.change.baseline.as_ref().map(|baseline| Box::new(baseline.spec.clone())),
            plan: Box::new(state.change.plan.clone()?),
            findings: state.stage(Stage::Check).filter_map(found).collect(),
            caller: state.initiator.clone(),
            until: inquiry.until,
        },
    })
}

fn stops(state: &Deployment) -> Vec<Effect> {
    let mut stops = Vec::new();
    let lock = state.change.lock.unwrap_or(0);
    // Where there is no way back, nothing more changes either while a person looks.
    if state.phase == Phase::RollingBack || state.phase == Phase::NeedsHuman {
        let first_back = state
            .retreat
            .steps
            .iter()
            .filter_map(|step| state.steps.get(&step.id))
            .map(|stand| stand.fence.epoch)
            .min();
        let below = Fence { lock, epoch: first_back.unwrap_or(state.epoch + 1) };
        let open = state
            .stage(Stage::Execute)
            .chain(state.stage(Stage::Verify))
            .any(|step| state.state_of(&step.id).is_open());
        if open {
            stops.push(StepStop { deployment: state.id.clone(), step: None, below, kind: StopKind::Cancel });
        }
    }
    let changing = state.open_stage().filter(|stage| matches!(stage, Stage::Execute | Stage::Verify));
    if let Some(stage) = changing.filter(|stage| only_background_left(state, *stage)) {
        for step in state.stage(stage).filter(|step| state.state_of(&step.id).is_open()) {
            let below = state.state_of(&step.id).fence;
            let (deployment, step) = (state.id.clone(), Some(step.id.clone()));
            stops.push(StepStop { deployment, step, below, kind: StopKind::Finish });
        }
    }
    stops.into_iter().map(Effect::Stop).collect()
}

fn only_background_left(state: &Deployment, stage: Stage) -> bool {
    let mut open = 0;
    for step in state.stage(stage) {
        let stand = state.state_of(&step.id);
        if step.kind.is_background() && stand.is_open() {
            open += 1;
        } else if !stand.is_done() {
            return false;
        }
    }
    open > 0
}

pub(super) fn wishes(state: &Deployment, context: Context<'_>) -> Vec<Wish> {
    let target = context.target;
    let mut wishes = Vec::new();
    // What it has of its lock is durable in its own journal. The target may only not have been heard of yet; then this
    // wish finds the grant and changes nothing.
    if let Some(token) = state.change.lock.filter(|token| target.grants < *token) {
        wishes.push(Wish::Regain(state.id.clone(), token));
    }
    match state.phase {
        Phase::Queued if !target.knows(&state.id) => wishes.push(Wish::Enqueue(state.id.clone())),
        Phase::Promoted => {
            let spec: &DeploymentSpec = &state.spec;
            // One that was promoted and does not hold the lock any more (the target's journal lost it, and somebody
            // else was granted it since) has no say in what runs now.
            if target.snapshot.as_ref().map(|snapshot| &snapshot.deployment) != Some(&state.id)
                && target.holds(&state.id)
            {
                let (deployment, spec) = (state.id.clone(), spec.clone());
                wishes.push(Wish::Settle(Box::new(Snapshot { deployment, spec, at: state.at })));
            }
            if let (Some(reason), true) = (&state.force, target.quarantined.contains_key(&state.spec_digest))
            {
                let (spec, by) = (state.spec_digest.clone(), state.initiator.clone());
                wishes.push(Wish::Unquarantine { spec, by, reason: reason.clone() });
            }
        }
        Phase::RolledBack | Phase::NeedsHuman
            if is_the_releases_fault(state) && !target.quarantined.contains_key(&state.spec_digest) =>
        {
            let reason = state.ending.cause.as_ref().map(|cause| cause.text.clone()).unwrap_or_default();
            let (spec, deployment) = (state.spec_digest.clone(), state.id.clone());
            wishes.push(Wish::Quarantine(Quarantine { spec, deployment, reason }));
        }
        Phase::Decided if target.knows(&state.id) => wishes.push(Wish::Leave(state.id.clone())),
        _ => {}
    }
    wishes
}

/// An operator's abort or a newer release says nothing about this one; and what runs well already is not bad because
/// applying it again failed.
fn is_the_releases_fault(state: &Deployment) -> bool {
    let ran_well =
        state.change.baseline.as_ref().is_some_and(|baseline| baseline.digest() == state.spec_digest);
    !ran_well
        && state.ending.cause.as_ref().is_some_and(|cause| {
            matches!(
                cause.kind,
                CauseKind::Failed | CauseKind::Errored | CauseKind::Inconclusive | CauseKind::Deadline
            )
        })
}
