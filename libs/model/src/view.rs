//! How a deployment is shown: the same for every client.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    DeploymentId, Digest, Finding, GateResult, Phase, Plan, Principal, TargetId, Timestamp, Verdict,
    approval::Standing,
    deployment::{Cause, Mode},
    plan::Versions,
    step::{Agent, Stage, StepId},
};

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Which.
    pub deployment: DeploymentId,
    /// Where.
    pub target: TargetId,
    /// The spec's digest.
    pub spec: Digest,
    /// Who asked.
    pub initiator: Principal,
    /// Where it is.
    pub phase: Phase,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// Why, in one line.
    pub reason: String,
    /// When it was asked for.
    pub received: Timestamp,
    /// When it ended.
    pub closed: Option<Timestamp>,
    /// Modules and their versions, such as `web 1.2.0`.
    pub modules: Vec<String>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not begun.
    Waiting,
    /// In the journal, not taken by a runner yet.
    Scheduled,
    /// A runner works on it.
    Running,
    /// Done.
    Succeeded,
    /// Said no.
    Failed,
    /// Ran into trouble; may be tried again.
    Errored,
    /// Does not know; may be extended.
    Inconclusive,
    /// No longer needed.
    Skipped,
}

/// One step as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Which.
    pub id: StepId,
    /// Part of the life.
    pub stage: Stage,
    /// Who does it.
    pub agent: Agent,
    /// In words.
    pub text: String,
    /// How far.
    pub status: StepStatus,
    /// How often it was tried.
    pub attempt: u32,
    /// Who took it.
    pub runner: Option<String>,
    /// When it was scheduled.
    pub scheduled: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Why it ended so.
    pub reason: String,
    /// What was judged.
    pub gates: Vec<GateResult>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// One deployment as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    /// The short form.
    pub summary: Summary,
    /// The version of the journal; give it to `--expect`.
    pub version: u64,
    /// Through all gates, or back.
    pub mode: Mode,
    /// Who drives it, and the epoch.
    pub owner: Option<(String, u64)>,
    /// The token of the target's lock.
    pub lock: Option<u64>,
    /// The plan and its digest.
    pub plan: Option<(Digest, Plan)>,
    /// All steps, those of the way back last.
    pub steps: Vec<StepView>,
    /// Nothing new is begun.
    pub paused: bool,
    /// Who approved.
    pub approvals: Vec<Principal>,
    /// How it stands with signed approvals; none where nobody has to sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Standing>,
    /// What experts said about the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<crate::expert::PlanAdvice>,
    /// Why it turned back.
    pub cause: Option<Cause>,
    /// Why it is where it is.
    pub explanation: Explanation,
    /// What the revisions in it are called in front of people.
    #[serde(default)]
    pub versions: Versions,
}

/// Why a deployment is where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// One line: what it does or why it ended.
    pub headline: String,
    /// Further lines: gate, value, limit, times.
    pub details: Vec<String>,
    /// What or who can move it on.
    pub unblocked_by: Vec<String>,
    /// The next deadline and what happens then.
    pub next_deadline: Option<(Timestamp, String)>,
}
