//! A deployment's journal: the events, and the phases and verdicts that follow from them.

mod phase;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    DeploymentId, DeploymentSpec, Digest, Fence, GateResult, Plan, Principal, ReplicaId, Span, Step, StepId,
    Timestamp,
    approval::{Signed, Terms},
    expert::PlanAdvice,
    journal::Skip,
    plan::Snapshot,
    spec::GateMode,
    step::{Stage, StepResult},
};

pub use phase::{Cause, CauseKind, Mode, Phase, Verdict};

/// One fact about a deployment. The order in the journal is the only truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Someone asked for it.
    Received {
        /// What is asked for.
        spec: Box<DeploymentSpec>,
        /// Its digest.
        spec_digest: Digest,
        /// Through all gates, or back.
        mode: Mode,
        /// Who asked.
        initiator: Principal,
        /// The plan this must be, when the initiator saw one.
        expected_plan: Option<Digest>,
        /// Why a quarantine is overruled.
        force: Option<String>,
    },
    /// The spec is valid.
    Validated {},
    /// This orchestrator drives it from now on.
    OwnerClaimed {
        /// Which.
        owner: ReplicaId,
        /// One more than the last.
        epoch: u64,
    },
    /// The owner lets go, so that another may claim at once.
    OwnerReleased {
        /// Which.
        owner: ReplicaId,
    },
    /// What will be done, and from where.
    Planned {
        /// The plan.
        plan: Box<Plan>,
        /// What runs now and is returned to.
        baseline: Option<Box<Snapshot>>,
    },
    /// Experts are asked from here on. Durable before they are.
    AdviceAsked {
        /// What the gate does with the answer: the stricter of spec and policy.
        gate: GateMode,
        /// When it goes on without one.
        until: Timestamp,
    },
    /// What the experts say.
    Advised {
        /// `off` when nobody was asked, `none` when no opinion came in time; else who answered.
        source: String,
        /// One line.
        summary: String,
        /// What they said, when they did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        advice: Option<Box<PlanAdvice>>,
    },
    /// People must approve from here.
    ApprovalAwaited {
        /// Until when.
        until: Timestamp,
        /// Whose signatures are waited for; without any, whoever says a name approves, unauthenticated. Told again when
        /// other terms are in force: then what was approved before is void.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terms: Option<Box<Terms>>,
    },
    /// One person approved exactly this plan.
    Approved {
        /// Who.
        by: Principal,
        /// The plan's digest.
        plan: Digest,
        /// What they signed; without it counts for nothing where signatures are waited for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Box<Signed>>,
    },
    /// One person who may approve said no to exactly this plan.
    Denied {
        /// Who.
        by: Principal,
        /// The plan's digest.
        plan: Digest,
        /// Why.
        reason: String,
        /// What they signed; without it counts for nothing where signatures are waited for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signed: Option<Box<Signed>>,
    },
    /// Waits for the target's lock.
    LockAwaited {
        /// Until when.
        until: Timestamp,
    },
    /// Holds the lock.
    Locked {
        /// The fencing token.
        token: u64,
    },
    /// The change begins.
    ExecutionBegan {
        /// When the total deadline passes.
        until: Timestamp,
    },
    /// The change is made; looking at it.
    VerificationBegan {},
    /// A step will be done. Durable before the job is sent.
    StepScheduled {
        /// Which step.
        step: StepId,
        /// 1 for the first.
        attempt: u32,
        /// The same for all attempts of the step.
        idem_key: String,
        /// The fence of this attempt.
        fence: Fence,
        /// When it counts as failed.
        until: Timestamp,
    },
    /// A runner took it.
    StepStarted {
        /// Which step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// Who.
        runner: String,
    },
    /// It ended.
    StepFinished {
        /// Which step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// Who did it; `orchestrator` for pauses and skipped steps.
        runner: String,
        /// How.
        result: StepResult,
    },
    /// Nothing new is begun until resumed.
    Paused {
        /// Who.
        by: Principal,
    },
    /// Goes on.
    Resumed {
        /// Who.
        by: Principal,
    },
    /// Someone lets a waiting step go on, or skips what is left.
    PromoteRequested {
        /// Who.
        by: Principal,
        /// Skip all remaining pauses and analyses.
        full: bool,
    },
    /// Goes back from here.
    RollbackBegan {
        /// Why.
        cause: Cause,
        /// The epoch rises, so that what is still under way is fenced off.
        epoch: u64,
        /// The way back.
        steps: Vec<Step>,
        /// When a human is called.
        until: Timestamp,
    },
    /// A person asks to try the way back again.
    RollbackRetried {
        /// Who.
        by: Principal,
        /// The epoch rises.
        epoch: u64,
        /// When a human is called again.
        until: Timestamp,
    },
    /// The new release is the good one.
    Promoted {},
    /// The old release is back.
    RolledBack {},
    /// The way back failed.
    HumanNeeded {
        /// Why.
        cause: Cause,
    },
    /// The verdict is final; the lock is given back next.
    Decided {
        /// How.
        verdict: Verdict,
        /// Why, when it is not `Promoted`.
        cause: Option<Cause>,
    },
    /// A record of this journal is passed over from now on: it cannot be used, and a person has said so. Changes nothing
    /// else.
    RecordSkipped(Skip),
    /// Over.
    Closed {
        /// How.
        verdict: Verdict,
        /// Why, when it is not `Promoted`.
        cause: Option<Cause>,
        /// For lists: what a reader needs without the rest of the journal.
        summary: Box<crate::view::Summary>,
    },
}

impl Event {
    /// The event's name, as in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Event::Received { .. } => "received",
            Event::Validated { .. } => "validated",
            Event::OwnerClaimed { .. } => "owner_claimed",
            Event::OwnerReleased { .. } => "owner_released",
            Event::Planned { .. } => "planned",
            Event::AdviceAsked { .. } => "advice_asked",
            Event::Advised { .. } => "advised",
            Event::ApprovalAwaited { .. } => "approval_awaited",
            Event::Approved { .. } => "approved",
            Event::Denied { .. } => "denied",
            Event::LockAwaited { .. } => "lock_awaited",
            Event::Locked { .. } => "locked",
            Event::ExecutionBegan { .. } => "execution_began",
            Event::VerificationBegan { .. } => "verification_began",
            Event::StepScheduled { .. } => "step_scheduled",
            Event::StepStarted { .. } => "step_started",
            Event::StepFinished { .. } => "step_finished",
            Event::Paused { .. } => "paused",
            Event::Resumed { .. } => "resumed",
            Event::PromoteRequested { .. } => "promote_requested",
            Event::RollbackBegan { .. } => "rollback_began",
            Event::RollbackRetried { .. } => "rollback_retried",
            Event::Promoted { .. } => "promoted",
            Event::RolledBack { .. } => "rolled_back",
            Event::HumanNeeded { .. } => "human_needed",
            Event::Decided { .. } => "decided",
            Event::RecordSkipped(_) => crate::journal::RECORD_SKIPPED,
            Event::Closed { .. } => "closed",
        }
    }
}

/// One entry of a journal. `version` counts from 1 without a gap; the writer, the epoch and the time are evidence,
/// the decision is in the events. Several events that were decided together are one entry, so they are durable
/// together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record<E = Event> {
    /// Which aggregate, by its id.
    pub id: String,
    /// 1 for the first record.
    pub version: u64,
    /// The replica that wrote it.
    pub writer: String,
    /// When it was decided.
    pub at: Timestamp,
    /// W3C trace context of the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What happened, at least one.
    pub events: Vec<E>,
}

/// What an agent is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepJob {
    /// For which deployment.
    pub deployment: DeploymentId,
    /// The step.
    pub step: Step,
    /// 1 for the first.
    pub attempt: u32,
    /// The same for all attempts.
    pub idem_key: String,
    /// The fence of this attempt.
    pub fence: Fence,
    /// When the orchestrator stops waiting.
    pub until: Timestamp,
    /// What is asked for.
    pub spec: Box<DeploymentSpec>,
    /// What ran before, and is returned to.
    pub baseline: Option<Box<DeploymentSpec>>,
    /// The plan's digest.
    pub plan: Digest,
    /// Further room for the step, such as the extension of an inconclusive analysis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extend: Option<Span>,
}

impl StepJob {
    /// The step is part of the way back.
    pub fn goes_back(&self) -> bool {
        self.step.stage == Stage::Rollback
    }

    /// What runs when this step and those around it are done: on the way back what ran before, else what is asked for.
    /// None: nothing did.
    pub fn leads_to(&self) -> Option<&DeploymentSpec> {
        if self.goes_back() { self.baseline.as_deref() } else { Some(&self.spec) }
    }
}

/// What a runner says about a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// For which deployment.
    pub deployment: DeploymentId,
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: u32,
    /// The fence it worked under.
    pub fence: Fence,
    /// Who.
    pub runner: String,
    /// None: it started. Some: it ended.
    pub result: Option<StepResult>,
}

/// Asks a runner how one attempt of a step goes. The runner holds the answer until there is something to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepQuestion {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: u32,
    /// The key that all attempts share.
    pub idem_key: String,
    /// The fence of the attempt.
    pub fence: Fence,
    /// For how long the answer may be held while the step runs. At most 10 s; zero means at once.
    pub hold: Span,
}

/// What a runner answers about one attempt of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepAnswer {
    /// Who answers; further questions go to it by this name.
    pub runner: String,
    /// How the attempt goes.
    pub state: StepState,
}

/// How an attempt of a step goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// The runner has it: it waits for its turn or runs.
    Running,
    /// It ended so.
    Ended(Box<StepResult>),
    /// The runner neither has it nor has its end: it is to be sent again.
    Unknown,
    /// The runner will not do it: it was stopped, its time is over, or a higher fence was seen.
    Dropped,
}

/// What a running step shows of itself; at most once a second, never decided on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepProgress {
    /// For which deployment.
    pub deployment: DeploymentId,
    /// Which step.
    pub step: StepId,
    /// One line for a person.
    pub text: String,
    /// 0 to 1 when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Traffic share that was measured per revision, in percent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<(String, f64)>,
    /// Gates as they stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
}

/// Tells the runner of a step to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// The step no longer matters: stop at the next safe point, report nothing.
    Cancel,
    /// A background analysis has run long enough: judge what is there and report.
    Finish,
}

/// Tells the runner of a step to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStop {
    /// For which deployment.
    pub deployment: DeploymentId,
    /// Which step; none means every step of the deployment below this fence.
    pub step: Option<StepId>,
    /// Steps under a lower fence are meant; for [`StopKind::Finish`] the step's own fence counts too.
    pub below: Fence,
    /// How.
    pub kind: StopKind,
}
