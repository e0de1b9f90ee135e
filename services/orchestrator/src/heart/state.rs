//! A deployment, folded from its journal.

mod approvals;

use std::collections::{BTreeMap, BTreeSet};

use approval::Ballot;
use model::{
    DeploymentId, DeploymentSpec, Digest, Event, Fence, Outcome, Phase, Plan, Principal, Record, ReplicaId,
    Step, StepId, StepKind, Timestamp, Verdict,
    deployment::{Cause, Mode},
    expert::PlanAdvice,
    plan::Snapshot,
    spec::GateMode,
    step::{Stage, StepResult},
};

/// How far one step is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// Attempts so far.
    pub attempt: u32,
    /// The idempotency key, once scheduled.
    pub idem_key: String,
    /// The fence of the last attempt.
    pub fence: Fence,
    /// When the last attempt was scheduled.
    pub scheduled: Option<Timestamp>,
    /// When the last attempt counts as failed.
    pub until: Option<Timestamp>,
    /// Who works on the last attempt.
    pub runner: Option<String>,
    /// How the last attempt ended, and when.
    pub result: Option<(StepResult, Timestamp)>,
    /// How often it was inconclusive.
    pub inconclusive: u32,
    /// Attempts that erred.
    pub errored: u32,
}

impl StepState {
    /// The last attempt is out and has not ended.
    pub fn is_open(&self) -> bool {
        self.scheduled.is_some() && self.result.is_none()
    }

    /// It ended well.
    pub fn is_done(&self) -> bool {
        self.result.as_ref().is_some_and(|(result, _)| result.outcome == Outcome::Succeeded)
    }
}

/// A deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Which.
    pub id: DeploymentId,
    /// Records folded so far.
    pub version: u64,
    /// Stream sequence of the last record.
    pub seq: u64,
    /// What is asked for.
    pub spec: DeploymentSpec,
    /// Its digest.
    pub spec_digest: Digest,
    /// Through all gates, or back.
    pub mode: Mode,
    /// Who asked.
    pub initiator: Principal,
    /// The plan the initiator saw.
    pub expected_plan: Option<Digest>,
    /// Why a quarantine is overruled.
    pub force: Option<String>,
    /// When it was asked for.
    pub received: Timestamp,
    /// Where it is.
    pub phase: Phase,
    /// Who drives it; none after a release.
    pub owner: Option<ReplicaId>,
    /// The highest epoch so far.
    pub epoch: u64,
    /// What it takes to go on before anything is touched.
    pub clearance: Clearance,
    /// What is changed, and from where.
    pub change: Change,
    /// How far each step is.
    pub steps: BTreeMap<StepId, StepState>,
    /// What people want of it on the way.
    pub steering: Steering,
    /// The way back.
    pub retreat: Retreat,
    /// Why and how it ends.
    pub ending: Ending,
    /// When the last record was written.
    pub at: Timestamp,
    /// W3C traceparent of the request: all that follows stands under it.
    pub trace: Option<String>,
}

/// What it takes to go on before anything is touched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clearance {
    /// Experts are asked.
    pub asked: Option<Inquiry>,
    /// Who advised, and what it comes to; also that nobody did.
    pub said: Option<Advised>,
    /// What the experts said, when they did.
    pub counsel: Option<PlanAdvice>,
    /// Who approved this plan, each once.
    pub approvals: BTreeSet<Principal>,
    /// Who signed what, where signatures are waited for.
    pub ballot: Option<Ballot>,
    /// Who said no, and why.
    pub denied: Option<(Principal, String)>,
    /// End of the wait for approvals or for the lock.
    pub until: Option<Timestamp>,
}

/// Experts are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// What the gate does with the answer.
    pub gate: GateMode,
    /// When it goes on without one.
    pub until: Timestamp,
}

/// What advice comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advised {
    /// Who advised: `off` when nobody was asked, `none` when no opinion came in time.
    pub source: String,
    /// In one line.
    pub summary: String,
}

/// What is changed, and from where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The plan.
    pub plan: Option<Plan>,
    /// The plan's digest.
    pub digest: Option<Digest>,
    /// What ran when the plan was made, and is returned to.
    pub baseline: Option<Snapshot>,
    /// The fencing token of the target's lock.
    pub lock: Option<u64>,
    /// When it counts as failed as a whole.
    pub until: Option<Timestamp>,
}

/// What people want of it on the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steering {
    /// Nothing new is begun.
    pub paused: Option<Pause>,
    /// Someone let the rest go without pauses and analyses.
    pub full: Option<Principal>,
    /// Someone let the step that waits go on: granted to the pause that is open now.
    pub promote: Option<Principal>,
}

/// Nothing new is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who wants it so.
    pub by: Principal,
    /// Since when nothing was.
    pub since: Timestamp,
}

/// The way back, once begun.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retreat {
    /// Its steps.
    pub steps: Vec<Step>,
    /// When a human is called.
    pub until: Option<Timestamp>,
}

/// Why and how it ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ending {
    /// Why it turned back or was refused.
    pub cause: Option<Cause>,
    /// Why the way back failed, or why there is none.
    pub stuck: Option<Cause>,
    /// The final verdict, once decided.
    pub verdict: Option<Verdict>,
    /// When it was over.
    pub closed: Option<Timestamp>,
}

/// A journal that does not begin with `Received`, or whose versions have a gap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJournal {
    /// Nothing to fold.
    #[error("the journal of {0} is empty or does not begin with received")]
    NoBeginning(String),
    /// A record is missing or doubled.
    #[error("the journal of {id} has version {found} after {last}")]
    Gap {
        /// Whose.
        id: String,
        /// Last version.
        last: u64,
        /// Version found.
        found: u64,
    },
}

impl Deployment {
    /// Begins a deployment from the first record's events.
    pub fn begin(record: &Record, seq: u64) -> Result<Deployment, BadJournal> {
        let bad = || BadJournal::NoBeginning(record.id.clone());
        let Some(Event::Received { spec, spec_digest, mode, initiator, expected_plan, force }) =
            record.events.first()
        else {
            return Err(bad());
        };
        let mut deployment = Deployment {
            id: record.id.parse().map_err(|_| bad())?,
            version: 0,
            seq: 0,
            spec: (**spec).clone(),
            spec_digest: spec_digest.clone(),
            mode: *mode,
            initiator: initiator.clone(),
            expected_plan: expected_plan.clone(),
            force: force.clone(),
            received: record.at,
            phase: Phase::Received,
            owner: None,
            epoch: 0,
            clearance: Clearance::default(),
            change: Change::default(),
            steps: BTreeMap::new(),
            steering: Steering::default(),
            retreat: Retreat::default(),
            ending: Ending::default(),
            at: record.at,
            trace: record.trace.clone(),
        };
        deployment.fold(record, seq)?;
        Ok(deployment)
    }

    /// Folds a whole journal; none when it is empty. Records that only say that foreign ones before any other are passed
    /// over are no deployment's.
    pub fn of(journal: &[(Record, u64)]) -> Result<Option<Deployment>, BadJournal> {
        let only_skips = |(record, _): &&(Record, u64)| {
            record.events.iter().all(|event| matches!(event, Event::RecordSkipped(_)))
        };
        let foreign = journal.iter().take_while(only_skips).count();
        let Some(((first, seq), rest)) = journal[foreign..].split_first() else { return Ok(None) };
        let mut deployment = Deployment::begin(first, *seq)?;
        for (record, seq) in rest {
            deployment.fold(record, *seq)?;
        }
        Ok(Some(deployment))
    }

    /// Folds one more record.
    pub fn fold(&mut self, record: &Record, seq: u64) -> Result<(), BadJournal> {
        if record.version != self.version + 1 {
            return Err(BadJournal::Gap { id: record.id.clone(), last: self.version, found: record.version });
        }
        for event in &record.events {
            self.evolve(event, record.at);
        }
        self.version = record.version;
        self.seq = seq;
        Ok(())
    }

    /// Folds one event.
    pub fn evolve(&mut self, event: &Event, at: Timestamp) {
        self.at = at;
        match event {
            Event::Received { .. } | Event::RecordSkipped(_) => {}
            Event::Validated {} => self.phase = Phase::Validated,
            Event::OwnerClaimed { owner, epoch } => {
                self.owner = Some(owner.clone());
                self.epoch = self.epoch.max(*epoch);
            }
            Event::OwnerReleased { owner } => {
                if self.owner.as_ref() == Some(owner) {
                    self.owner = None;
                }
            }
            Event::Planned { plan, baseline } => {
                self.change.digest = Some(plan.digest());
                self.change.plan = Some((**plan).clone());
                self.change.baseline = baseline.as_deref().cloned();
                if self.change.lock.is_none() {
                    self.phase = Phase::Planned;
                }
            }
            Event::AdviceAsked { gate, until } => {
                self.clearance.asked = Some(Inquiry { gate: *gate, until: *until });
            }
            Event::Advised { source, summary, advice } => {
                let (source, summary) = (source.clone(), summary.clone());
                self.clearance.said = Some(Advised { source, summary });
                self.clearance.counsel = advice.as_deref().cloned();
                self.phase = Phase::Advised;
            }
            Event::ApprovalAwaited { until, terms } => {
                self.clearance.until = Some(*until);
                self.phase = Phase::AwaitingApproval;
                self.wait_under(terms.as_deref());
            }
            Event::Approved { by, signed, .. } => self.approved(by, signed.as_deref(), at),
            Event::Denied { by, reason, signed, .. } => self.denied(by, reason, signed.as_deref(), at),
            Event::LockAwaited { until } => {
                self.clearance.until = Some(*until);
                self.phase = Phase::Queued;
            }
            Event::Locked { token } => {
                self.change.lock = Some(*token);
                self.clearance.until = None;
                self.phase = Phase::Locked;
            }
            Event::ExecutionBegan { until } => {
                self.change.until = Some(*until);
                self.phase = Phase::Executing;
            }
            Event::VerificationBegan {} => self.phase = Phase::Verifying,
            Event::StepScheduled { step, attempt, idem_key, fence, until } => {
                self.epoch = self.epoch.max(fence.epoch);
                let state = self.steps.entry(step.clone()).or_default();
                state.attempt = *attempt;
                state.idem_key.clone_from(idem_key);
                state.fence = *fence;
                state.scheduled = Some(at);
                state.until = Some(*until);
                state.runner = None;
                state.result = None;
            }
            Event::StepStarted { step, attempt, runner } => {
                if let Some(state) = self.steps.get_mut(step).filter(|state| state.attempt == *attempt) {
                    state.runner = Some(runner.clone());
                }
            }
            Event::StepFinished { step, attempt, runner, result } => {
                self.finish(step, *attempt, runner, result, at)
            }
            Event::Paused { by } => {
                let since = self.steering.paused.as_ref().map_or(at, |pause| pause.since);
                self.steering.paused = Some(Pause { by: by.clone(), since });
            }
            Event::Resumed { .. } => self.go_on(),
            Event::PromoteRequested { by, full } => {
                self.go_on();
                if *full {
                    self.steering.full = Some(by.clone());
                } else if self.all_steps().any(|step| {
                    matches!(step.kind, StepKind::Pause { .. }) && self.state_of(&step.id).is_open()
                }) {
                    self.steering.promote = Some(by.clone());
                }
            }
            Event::RollbackBegan { cause, epoch, steps, until } => {
                self.ending.cause = Some(cause.clone());
                self.epoch = self.epoch.max(*epoch);
                self.retreat.steps.clone_from(steps);
                self.retreat.until = Some(*until);
                self.go_on();
                self.phase = Phase::RollingBack;
            }
            Event::RollbackRetried { epoch, until, .. } => {
                self.epoch = self.epoch.max(*epoch);
                self.retreat.until = Some(*until);
                for step in &self.retreat.steps {
                    self.steps.remove(&step.id);
                }
                self.phase = Phase::RollingBack;
            }
            Event::Promoted {} => {
                self.go_on();
                self.phase = Phase::Promoted;
            }
            Event::RolledBack {} => self.phase = Phase::RolledBack,
            Event::HumanNeeded { cause } => {
                // Without a way back this is what it failed for, too.
                self.ending.cause.get_or_insert_with(|| cause.clone());
                self.ending.stuck = Some(cause.clone());
                self.phase = Phase::NeedsHuman;
            }
            Event::Decided { verdict, cause } => {
                self.ending.verdict = Some(*verdict);
                if cause.is_some() {
                    self.ending.cause.clone_from(cause);
                }
                self.phase = Phase::Decided;
            }
            Event::Closed { .. } => {
                self.ending.closed = Some(at);
                self.phase = Phase::Closed;
            }
        }
    }

    fn go_on(&mut self) {
        self.steering.paused = None;
    }

    fn finish(&mut self, step: &StepId, attempt: u32, runner: &str, result: &StepResult, at: Timestamp) {
        let is_pause = self.step(step).is_some_and(|step| matches!(step.kind, StepKind::Pause { .. }));
        let waited_apart = self.step(step).is_some_and(Step::is_wait_apart);
        let state = self.steps.entry(step.clone()).or_default();
        if state.attempt > attempt || state.result.is_some() {
            return;
        }
        if waited_apart {
            // Such a wait has a bound of its own and does not use up the total one.
            let waited = state.scheduled.map(|scheduled| at.since(scheduled)).unwrap_or_default();
            self.change.until = self.change.until.map(|until| until.plus(waited));
        }
        if is_pause {
            // It was granted to this pause and to no later one.
            self.steering.promote = None;
        }
        state.attempt = attempt;
        state.runner = Some(runner.to_owned());
        match result.outcome {
            Outcome::Inconclusive => state.inconclusive += 1,
            Outcome::Errored => state.errored += 1,
            Outcome::Succeeded | Outcome::Failed => {}
        }
        state.result = Some((result.clone(), at));
    }

    /// The step of this id, of the plan or of the way back.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.all_steps().find(|step| step.id == *id)
    }

    /// Every step: those of the plan, then those of the way back.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.change.plan.iter().flat_map(|plan| &plan.steps).chain(&self.retreat.steps)
    }

    /// The steps of one part of the life.
    pub fn stage(&self, stage: Stage) -> impl Iterator<Item = &Step> {
        self.all_steps().filter(move |step| step.stage == stage)
    }

    /// The part of the life whose steps run in this phase.
    pub fn open_stage(&self) -> Option<Stage> {
        match self.phase {
            Phase::Planned => Some(Stage::Check),
            Phase::Executing => Some(Stage::Execute),
            Phase::Verifying => Some(Stage::Verify),
            Phase::RollingBack => Some(Stage::Rollback),
            Phase::Promoted | Phase::RolledBack => Some(Stage::Finish),
            _ => None,
        }
    }

    /// How far the step is; a step that was not begun has the default.
    pub fn state_of(&self, id: &StepId) -> StepState {
        self.steps.get(id).cloned().unwrap_or_default()
    }

    /// It is over, nothing outside remains to be done.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Something may have been changed outside.
    pub fn has_touched(&self) -> bool {
        self.stage(Stage::Execute).any(|step| self.steps.get(&step.id).is_some_and(|state| state.attempt > 0))
    }
}
