//! Where a deployment is, how it ended, and why.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GateResult, StepId, Timestamp};

/// Where a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Journalled, not looked at.
    Received,
    /// Spec is valid.
    Validated,
    /// Plan is made; agents check it.
    Planned,
    /// Checked and advised.
    Advised,
    /// Waits for people.
    AwaitingApproval,
    /// Waits for the target's lock.
    Queued,
    /// Holds the lock.
    Locked,
    /// Changes what runs.
    Executing,
    /// Looks at what runs.
    Verifying,
    /// The new release is the good one; cleaning up.
    Promoted,
    /// Goes back.
    RollingBack,
    /// Is back; cleaning up.
    RolledBack,
    /// Could not go back: a person must act. The lock is kept.
    NeedsHuman,
    /// The verdict is final; gives the lock back.
    Decided,
    /// Over; see the verdict.
    Closed,
}

impl Phase {
    /// The name in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Received => "received",
            Phase::Validated => "validated",
            Phase::Planned => "planned",
            Phase::Advised => "advised",
            Phase::AwaitingApproval => "awaiting_approval",
            Phase::Queued => "queued",
            Phase::Locked => "locked",
            Phase::Executing => "executing",
            Phase::Verifying => "verifying",
            Phase::Promoted => "promoted",
            Phase::RollingBack => "rolling_back",
            Phase::RolledBack => "rolled_back",
            Phase::NeedsHuman => "needs_human",
            Phase::Decided => "decided",
            Phase::Closed => "closed",
        }
    }
}

/// As a sentence says it; its name is [`Phase::as_str`].
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The new release runs.
    Promoted,
    /// The old release runs.
    RolledBack,
    /// Another deployment took its place.
    Superseded,
    /// A gate or check before the change said no; nothing was touched.
    Rejected,
    /// Someone withdrew it before anything was touched.
    Cancelled,
    /// Neither: a person must look.
    NeedsHuman,
}

impl Verdict {
    /// The name in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Promoted => "promoted",
            Verdict::RolledBack => "rolled_back",
            Verdict::Superseded => "superseded",
            Verdict::Rejected => "rejected",
            Verdict::Cancelled => "cancelled",
            Verdict::NeedsHuman => "needs_human",
        }
    }
}

/// As a sentence says it; its name is [`Verdict::as_str`].
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}

/// What kind of deployment this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Through all gates.
    #[default]
    Apply,
    /// Back to an older release: no canary, no analysis, no approval.
    Rollback,
}

/// Why a deployment turned back or was refused: enough to explain it without reading anything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// What kind of cause.
    pub kind: CauseKind,
    /// The step that ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// The gate, with measured value and limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateResult>,
    /// One line for a person.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// What kind of cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// The spec is not valid.
    Invalid,
    /// A step or gate said no.
    Failed,
    /// A step kept erring.
    Errored,
    /// The measurements did not say, twice.
    Inconclusive,
    /// A deadline passed.
    Deadline,
    /// A person said so.
    Operator,
    /// A newer deployment takes over.
    Superseded,
    /// The spec's digest is quarantined.
    Quarantined,
    /// The target changed since the plan was made.
    PlanChanged,
    /// The target is busy and the spec says reject.
    Busy,
    /// The gate for experts requires an approval and there is none.
    Advice,
}
