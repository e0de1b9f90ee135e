//! Which events follow.
//!
//! [`advance`] moves a deployment as far as it can go by itself; only its owner asks. [`on_report`], [`on_command`],
//! [`claim`] and [`release`] answer what comes from outside; any replica may ask, because the journal's
//! compare-and-set lets only one of two contradicting records in.

use std::time::Duration;

use ground::{Backoff, Jitter};
use model::{
    Digest, Event, Fence, GateResult, Outcome, Phase, Principal, ReplicaId, Step, StepKind, Timestamp,
    Verdict,
    deployment::{Cause, CauseKind, Mode, StepReport},
    limits,
    spec::GateMode,
    step::{Stage, StepResult},
};

mod advice;
mod approval;
mod command;
mod follow;
pub mod refusal;
mod wake;

pub use advice::on_advice;
pub use command::{make_way, on_command};
pub use follow::{follow, on_reports};
pub use wake::wake_at;

use super::{
    Context,
    compile::compile,
    effects,
    state::{Deployment, StepState},
    target::what_runs,
    view,
    way_back::way_back,
};

/// Waits before a step is tried again. Fixed, so that a replay decides the same.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), Jitter::None);

/// The first record of a deployment.
pub fn receive(submit: &model::command::Submit, initiator: &Principal, spec: model::DeploymentSpec) -> Event {
    Event::Received {
        spec_digest: Digest::of(&spec),
        spec: Box::new(spec),
        mode: submit.mode,
        initiator: initiator.clone(),
        expected_plan: submit.plan.clone(),
        force: submit.force.clone(),
    }
}

/// Everything that follows by itself from where the deployment stands; empty when it has to wait. The events belong
/// into one record. The target in `context` is the one that its journal has now.
pub fn advance(deployment: &Deployment, context: Context<'_>) -> Vec<Event> {
    advance_while(deployment.clone(), context, |_| true)
}

/// As [`advance`], from a target that may lag behind its journal: it ends where [`needs_target`] says so.
pub fn advance_as_heard(deployment: &Deployment, context: Context<'_>) -> Vec<Event> {
    advance_while(deployment.clone(), context, |state| !needs_target(state))
}

/// A plan is made, and an end found, from the target as its journal has it and not as it was heard so far.
pub fn needs_target(deployment: &Deployment) -> bool {
    deployment.phase < Phase::Planned || deployment.phase == Phase::Decided
}

fn advance_while(
    mut state: Deployment,
    context: Context<'_>,
    may: impl Fn(&Deployment) -> bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    // Each round makes progress or ends; the bound only guards against a defect of ours.
    for _ in 0..10_000 {
        let next = if may(&state) { next(&state, context) } else { Vec::new() };
        if next.is_empty() {
            break;
        }
        for event in next {
            state.evolve(&event, context.now);
            events.push(event);
        }
    }
    events
}

fn next(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    if state.is_closed() {
        return Vec::new();
    }
    if state.owner.is_none() {
        return vec![claim_event(state, context.me)];
    }
    if state.owner.as_ref() != Some(context.me) {
        return Vec::new();
    }
    match state.phase {
        Phase::Received => on_received(state, context),
        Phase::Validated => on_validated(state, context),
        Phase::Planned => on_planned(state, context),
        Phase::Advised => on_advised(state, context),
        Phase::AwaitingApproval => approval::wait(state, context),
        Phase::Queued => on_queued(state, context),
        Phase::Locked => on_locked(state, context),
        Phase::Executing => match run_stage(state, Stage::Execute, context) {
            Stand::Go(events) => events,
            Stand::Done => vec![Event::VerificationBegan {}],
            Stand::Broken(cause) => turn_back(state, cause, context),
        },
        Phase::Verifying => match run_stage(state, Stage::Verify, context) {
            Stand::Go(events) => events,
            Stand::Done => vec![Event::Promoted {}],
            Stand::Broken(cause) => turn_back(state, cause, context),
        },
        Phase::Promoted => match run_stage(state, Stage::Finish, context) {
            Stand::Go(events) => events,
            // The snapshot has to be durable before the lock is given back.
            Stand::Done | Stand::Broken(_) if !effects::wishes(state, context).is_empty() => Vec::new(),
            Stand::Done | Stand::Broken(_) => {
                vec![Event::Decided { verdict: Verdict::Promoted, cause: None }]
            }
        },
        Phase::RollingBack => on_rolling_back(state, context),
        Phase::RolledBack => match run_stage(state, Stage::Finish, context) {
            Stand::Go(events) => events,
            Stand::Done | Stand::Broken(_) if !effects::wishes(state, context).is_empty() => Vec::new(),
            Stand::Done | Stand::Broken(_) => {
                let superseded =
                    state.ending.cause.as_ref().is_some_and(|cause| cause.kind == CauseKind::Superseded);
                let verdict = if superseded { Verdict::Superseded } else { Verdict::RolledBack };
                vec![Event::Decided { verdict, cause: state.ending.cause.clone() }]
            }
        },
        Phase::NeedsHuman => Vec::new(),
        Phase::Decided => on_decided(state, context),
        Phase::Closed => Vec::new(),
    }
}

fn on_received(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    let complaints = spec::check(&state.spec);
    match complaints.first() {
        None => vec![Event::Validated {}],
        Some(first) => reject(CauseKind::Invalid, first.to_string(), context),
    }
}

fn on_validated(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    if let Some(text) = quarantined(state, context) {
        return reject(CauseKind::Quarantined, text, context);
    }
    if state.mode == Mode::Rollback && !context.target.ran.contains(&what_runs(&state.spec)) {
        let text = format!(
            "nothing like this spec was ever promoted on {}: only what ran well is gone back to without \
             gates",
            state.spec.target_id()
        );
        return reject(CauseKind::Invalid, text, context);
    }
    match plan(state, context) {
        Err(text) => reject(CauseKind::Invalid, text, context),
        Ok(event) => {
            if let (Event::Planned { plan, .. }, Some(expected)) = (&event, &state.expected_plan)
                && plan.digest() != *expected
            {
                let text = format!("the plan is now {}, not {expected} as seen: plan again", plan.digest());
                return reject(CauseKind::PlanChanged, text, context);
            }
            vec![event]
        }
    }
}

fn quarantined(state: &Deployment, context: Context<'_>) -> Option<String> {
    refusal::quarantined(&state.spec_digest, context.target).filter(|_| state.force.is_none())
}

fn plan(state: &Deployment, context: Context<'_>) -> Result<Event, String> {
    let baseline = context.target.snapshot.as_ref();
    let plan = compile(&state.spec, baseline, state.mode).map_err(|error| error.to_string())?;
    Ok(Event::Planned { plan: Box::new(plan), baseline: baseline.cloned().map(Box::new) })
}

fn on_planned(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    if is_past(wake::pause_ends(state), context.now) {
        let text = format!("nobody resumed it within {}", state.spec.deadlines.human);
        return reject(CauseKind::Deadline, text, context);
    }
    match run_stage(state, Stage::Check, context) {
        Stand::Go(events) => events,
        Stand::Broken(cause) => vec![Event::Decided { verdict: Verdict::Rejected, cause: Some(cause) }],
        Stand::Done => advice::seek(state, context),
    }
}

fn on_advised(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    if let Some(events) = advice::holds_back(state, context) {
        return events;
    }
    approval::seek(state, context)
}

fn await_lock(state: &Deployment, context: Context<'_>) -> Event {
    Event::LockAwaited { until: context.now.plus(state.spec.deadlines.human.0) }
}

fn on_queued(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    if let Some((_, token)) = context.target.holder.as_ref().filter(|(holder, _)| *holder == state.id) {
        return vec![Event::Locked { token: *token }];
    }
    if let Some(text) = refusal::busy(&state.spec, context.target) {
        return reject(CauseKind::Busy, text, context);
    }
    if let (Err(full), false) = (context.target.has_room(), context.target.knows(&state.id)) {
        return reject(CauseKind::Busy, full.to_string(), context);
    }
    if is_past(state.clearance.until, context.now) {
        return reject(
            CauseKind::Deadline,
            "the target's lock did not become free in time".to_owned(),
            context,
        );
    }
    Vec::new()
}

/// The plan was made before the lock was held: is it still for what runs now?
fn on_locked(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    if !hears_of_own_lock(state, context) {
        return Vec::new();
    }
    // The one that held the lock before may have been rolled back with the same spec.
    if let Some(text) = quarantined(state, context) {
        return reject(CauseKind::Quarantined, text, context);
    }
    let now_runs = context.target.snapshot.as_ref().map(|snapshot| snapshot.digest());
    let planned_from = state.change.plan.as_ref().and_then(|plan| plan.baseline.clone());
    if now_runs == planned_from {
        return vec![Event::ExecutionBegan { until: context.now.plus(state.spec.deadlines.total.0) }];
    }
    let required = state.clearance.asked.is_some_and(|inquiry| inquiry.gate == GateMode::Require);
    // Whose approval is asked for depends on what changes: that was counted for the plan that was seen.
    let clearance = &state.clearance;
    let approved = !clearance.approvals.is_empty() || clearance.ballot.is_some();
    if state.expected_plan.is_some() || approved || required {
        let text = "another release was promoted after the plan was seen or approved: plan again".to_owned();
        return reject(CauseKind::PlanChanged, text, context);
    }
    match plan(state, context) {
        Ok(event) => vec![event],
        Err(text) => reject(CauseKind::Invalid, text, context),
    }
}

fn on_rolling_back(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    let cause = match run_stage(state, Stage::Rollback, context) {
        Stand::Done => return vec![Event::RolledBack {}],
        Stand::Broken(cause) => cause,
        Stand::Go(events) if !events.is_empty() => return events,
        Stand::Go(_) if is_past(state.retreat.until, context.now) => Cause {
            kind: CauseKind::Deadline,
            step: None,
            gate: None,
            text: format!("the way back took longer than {}", state.spec.deadlines.rollback),
            at: context.now,
        },
        Stand::Go(_) => return Vec::new(),
    };
    vec![Event::HumanNeeded { cause }]
}

/// Nothing is outside any more once the target does not know us; the effects see to it.
fn on_decided(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    if context.target.knows(&state.id) || !hears_of_own_lock(state, context) {
        return Vec::new();
    }
    let verdict = state.ending.verdict.unwrap_or(Verdict::NeedsHuman);
    let mut summary = view::summary(state);
    summary.phase = Phase::Closed;
    summary.closed = Some(context.now);
    vec![Event::Closed { verdict, cause: state.ending.cause.clone(), summary: Box::new(summary) }]
}

/// The target was followed at least to where this deployment was granted its lock. Deployments and targets are journalled
/// in different streams, so whoever takes over may have heard of the one and not yet of the other.
fn hears_of_own_lock(state: &Deployment, context: Context<'_>) -> bool {
    state.change.lock.is_none_or(|token| context.target.grants >= token)
}

fn reject(kind: CauseKind, text: String, context: Context<'_>) -> Vec<Event> {
    let cause = Cause { kind, step: None, gate: None, text, at: context.now };
    vec![Event::Decided { verdict: Verdict::Rejected, cause: Some(cause) }]
}

/// Rolls back, unless a step without return was begun: then a person is called.
fn turn_back(state: &Deployment, cause: Cause, context: Context<'_>) -> Vec<Event> {
    let no_return = state.all_steps().find(|step| step.irreversible && state.state_of(&step.id).attempt > 0);
    if let Some(step) = no_return {
        let text = format!("{}; {} cannot be undone, so nothing was rolled back", cause.text, step.id);
        return vec![Event::HumanNeeded { cause: Cause { text, ..cause } }];
    }
    let Some(plan) = &state.change.plan else {
        return vec![Event::Decided { verdict: Verdict::Rejected, cause: Some(cause) }];
    };
    vec![Event::RollbackBegan {
        cause,
        epoch: state.epoch + 1,
        steps: way_back(&state.spec, plan, state.change.baseline.as_ref()),
        until: context.now.plus(state.spec.deadlines.rollback.0),
    }]
}

/// Where a part of the life stands.
enum Stand {
    /// These events are next; none means wait.
    Go(Vec<Event>),
    /// All its steps have ended well.
    Done,
    /// It cannot end well any more.
    Broken(Cause),
}

fn run_stage(state: &Deployment, stage: Stage, context: Context<'_>) -> Stand {
    let steps: Vec<&Step> = state.stage(stage).filter(|step| is_wanted(state, step)).collect();

    // What could not be tidied up after the verdict changes nothing about it; `codectl drift` tells what is left.
    let given_up = |step: &Step| stage == Stage::Finish && broken(state, step, context.now).is_some();
    for step in steps.iter().filter(|_| stage != Stage::Finish) {
        if let Some(cause) = broken(state, step, context.now) {
            return Stand::Broken(cause);
        }
    }
    if matches!(stage, Stage::Execute | Stage::Verify)
        && is_past(state.change.until, context.now)
        && !waits_apart(state)
    {
        let text = format!("the deployment took longer than {}", state.spec.deadlines.total);
        return Stand::Broken(Cause {
            kind: CauseKind::Deadline,
            step: None,
            gate: None,
            text,
            at: context.now,
        });
    }

    let done =
        |step: &&&Step| state.steps.get(&step.id).is_some_and(|state| state.is_done()) || given_up(step);
    let open_wave = steps
        .iter()
        .filter(|step| !done(step) && !is_running_background(state, step))
        .map(|step| step.wave)
        .min();
    let Some(wave) = open_wave else {
        // All that is left runs in the background: it is told to finish (see effects), then the stage is done.
        return if steps.iter().all(|step| done(&step)) {
            Stand::Done
        } else {
            Stand::Go(retries(state, &steps, context))
        };
    };

    let mut events = retries(state, &steps, context);
    let wave_epoch = steps
        .iter()
        .filter(|step| step.wave == wave)
        .filter_map(|step| state.steps.get(&step.id))
        .map(|state| state.fence.epoch)
        .max();
    let epoch = wave_epoch.filter(|epoch| *epoch > 0).unwrap_or(state.epoch + 1);
    for step in steps.iter().filter(|step| step.wave == wave) {
        let now = state.state_of(&step.id);
        if now.attempt == 0
            && (state.steering.paused.is_none() || stage == Stage::Rollback || stage == Stage::Finish)
        {
            events.push(begin(state, step, epoch, context.now));
        } else if now.is_open()
            && let Some(event) = end_here(state, step, context.now)
        {
            events.push(event);
        }
    }
    Stand::Go(events)
}

/// After a rollback only the record is collected; what the promotion would have tidied up stays.
fn is_wanted(state: &Deployment, step: &Step) -> bool {
    !(state.phase == Phase::RolledBack && step.kind != StepKind::Certify)
}

fn is_running_background(state: &Deployment, step: &Step) -> bool {
    step.kind.is_background() && state.steps.get(&step.id).is_some_and(|state| state.attempt > 0)
}

fn waits_apart(state: &Deployment) -> bool {
    state.all_steps().any(|step| step.is_wait_apart() && state.state_of(&step.id).is_open())
}

/// First attempt of a step; what a full promotion skips ends at once.
fn begin(state: &Deployment, step: &Step, epoch: u64, now: Timestamp) -> Event {
    match (&state.steering.full, &step.kind) {
        (Some(by), StepKind::Pause { .. } | StepKind::Analyse { .. }) if step.stage != Stage::Finish => {
            finished_here(step, 1, skipped(by))
        }
        _ => schedule(state, step, 1, epoch, now),
    }
}

fn schedule(state: &Deployment, step: &Step, attempt: u32, epoch: u64, now: Timestamp) -> Event {
    let plan = state.change.digest.as_ref().map(Digest::to_string).unwrap_or_default();
    Event::StepScheduled {
        step: step.id.clone(),
        attempt,
        // The epoch is that of the wave, which attempts share; a way back that a person asks for again is a new one.
        idem_key: Digest::of(&(state.id.as_str(), step.id.as_str(), plan, epoch)).short(),
        fence: Fence { lock: state.change.lock.unwrap_or(0), epoch },
        until: now.plus(step.deadline.0),
    }
}

fn finished_here(step: &Step, attempt: u32, result: StepResult) -> Event {
    Event::StepFinished { step: step.id.clone(), attempt, runner: "orchestrator".to_owned(), result }
}

/// A step that needs not be done, because this one promoted in full.
fn skipped(by: &Principal) -> StepResult {
    let result = StepResult::new(Outcome::Succeeded, format!("skipped: promoted in full by {by}"));
    StepResult { skipped_by: Some(by.clone()), ..result }
}

/// Pauses end in the orchestrator; a full promotion also ends analyses under way.
fn end_here(state: &Deployment, step: &Step, now: Timestamp) -> Option<Event> {
    let stand = state.state_of(&step.id);
    let skipped = state.steering.full.as_ref().map(skipped);
    match &step.kind {
        StepKind::Pause { duration } => {
            let elapsed =
                duration.filter(|duration| is_past(stand.scheduled.map(|at| at.plus(duration.0)), now));
            let ended = |reason| StepResult::new(Outcome::Succeeded, reason);
            let promoted = state.steering.promote.as_ref().map(|by| ended(format!("promoted by {by}")));
            let word = if step.is_hold() { "held" } else { "paused" };
            let elapsed = elapsed.map(|duration| ended(format!("{word} {duration}")));
            Some(finished_here(step, stand.attempt, promoted.or(skipped).or(elapsed)?))
        }
        StepKind::Analyse { background: false, .. } => {
            skipped.map(|result| finished_here(step, stand.attempt, result))
        }
        _ => None,
    }
}

/// Errored steps whose backoff is over, and inconclusive ones that may be extended.
fn retries(state: &Deployment, steps: &[&Step], context: Context<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    for step in steps {
        let stand = state.state_of(&step.id);
        let Some((result, at)) = &stand.result else { continue };
        let due = match result.outcome {
            Outcome::Errored => is_past(Some(at.plus(AGAIN.most(stand.attempt))), context.now),
            Outcome::Failed if step.stage == Stage::Rollback => {
                is_past(Some(at.plus(AGAIN.most(stand.attempt))), context.now)
            }
            Outcome::Inconclusive => true,
            Outcome::Succeeded | Outcome::Failed => false,
        };
        if due && broken(state, step, context.now).is_none() {
            events.push(schedule(state, step, stand.attempt + 1, stand.fence.epoch, context.now));
        }
    }
    events
}

/// It did not end well and is not tried again.
fn is_spent(step: &Step, stand: &StepState) -> bool {
    let back = step.stage == Stage::Rollback;
    let limit = if back { limits::ROLLBACK_ATTEMPTS } else { limits::STEP_ATTEMPTS };
    stand.result.as_ref().is_some_and(|(result, _)| match result.outcome {
        Outcome::Succeeded => false,
        Outcome::Failed => !back || stand.attempt >= limit,
        Outcome::Errored => stand.errored >= limit,
        Outcome::Inconclusive => stand.inconclusive >= 2,
    })
}

/// The step can no longer end well.
fn broken(state: &Deployment, step: &Step, now: Timestamp) -> Option<Cause> {
    let stand = state.steps.get(&step.id)?;
    let cause = |kind, gate: Option<GateResult>, text| {
        Some(Cause { kind, step: Some(step.id.clone()), gate, text, at: now })
    };
    match &stand.result {
        Some((result, _)) => {
            let bad = result.gates.iter().find(|gate| gate.outcome == result.outcome).cloned();
            let text = || format!("{}: {}", step.describe(), result.reason);
            match result.outcome {
                _ if !is_spent(step, stand) => None,
                Outcome::Succeeded => None,
                Outcome::Failed => cause(CauseKind::Failed, bad, text()),
                Outcome::Errored => {
                    cause(CauseKind::Errored, bad, format!("{} ({} attempts)", text(), stand.errored))
                }
                Outcome::Inconclusive => cause(CauseKind::Inconclusive, bad, text()),
            }
        }
        // A timed pause ends by itself, however late someone looks.
        None if matches!(step.kind, StepKind::Pause { duration: Some(_) }) => None,
        None if is_past(stand.until, now) => {
            let text = match step.kind {
                StepKind::Pause { .. } => format!("nobody promoted {} within {}", step.id, step.deadline),
                _ => format!("{} did not end within {}", step.describe(), step.deadline),
            };
            cause(CauseKind::Deadline, None, text)
        }
        None => None,
    }
}

fn is_past(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_some_and(|until| now >= until)
}

/// A runner says that a step started or ended. Reports of attempts that no longer matter give nothing.
pub fn on_report(state: &Deployment, report: &StepReport) -> Vec<Event> {
    let Some(stand) = state.steps.get(&report.step) else { return Vec::new() };
    // After a way back was asked for again, an attempt of the same number lies under a higher fence.
    let is_this = stand.attempt == report.attempt && stand.fence == report.fence;
    if state.is_closed() || !stand.is_open() || !is_this {
        return Vec::new();
    }
    let (step, attempt, runner) = (report.step.clone(), report.attempt, report.runner.clone());
    match &report.result {
        None if stand.runner.as_ref() == Some(&runner) => Vec::new(),
        None => vec![Event::StepStarted { step, attempt, runner }],
        Some(result) => {
            // A runner does what it is told; whether a step is needed is not its to say.
            let result = StepResult { skipped_by: None, ..result.clone() };
            vec![Event::StepFinished { step, attempt, runner, result }]
        }
    }
}

/// This replica drives it from now on. The caller has seen that the owner is gone.
pub fn claim(state: &Deployment, me: &ReplicaId) -> Vec<Event> {
    if state.is_closed() || state.owner.as_ref() == Some(me) {
        Vec::new()
    } else {
        vec![claim_event(state, me)]
    }
}

fn claim_event(state: &Deployment, me: &ReplicaId) -> Event {
    Event::OwnerClaimed { owner: me.clone(), epoch: state.epoch + 1 }
}

/// This replica lets go, so that another may claim at once.
pub fn release(state: &Deployment, me: &ReplicaId) -> Vec<Event> {
    if state.owner.as_ref() == Some(me) {
        vec![Event::OwnerReleased { owner: me.clone() }]
    } else {
        Vec::new()
    }
}
