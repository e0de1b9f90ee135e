//! The deployment predicate: everything a certificate says. Every field is required; what does not apply is `null` or
//! empty, so that leaving something out never reads as its absence. One is not: the evidence of a gate, which certificates
//! from before it was kept do not have. The journal says whether it may be absent.

use std::fmt;

use model::{
    DeploymentId, Digest, Outcome, Principal, Severity, StepId, TargetId, Token,
    deployment::{CauseKind, Mode},
    expert::{Action, AnswerStatus, Stance},
    plan::Revision,
    spec::GateMode,
    step::{Agent, Stage},
};
use serde::{Deserialize, Serialize};

use crate::{
    At,
    at::{present, required},
};

/// The predicate type. A name, not an address: it is documented in `docs/certificate.md`.
pub const TYPE: &str = "https://code.example/attestation/deployment/v1";

/// How the deployment ended, as far as it can be proven. Only `PROMOTED` is a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ending {
    /// The new release runs, and all that had to be shown was shown.
    Promoted,
    /// The new release runs, but the evidence for it has gaps; `missing` names them.
    Unproven,
    /// The old release runs again.
    RolledBack,
    /// A check or gate said no before anything was touched.
    Rejected,
    /// Someone withdrew it before anything was touched.
    Cancelled,
    /// Another deployment took its place.
    Superseded,
    /// It could neither go on nor back.
    NeedsHuman,
}

impl Ending {
    /// The name in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ending::Promoted => "PROMOTED",
            Ending::Unproven => "UNPROVEN",
            Ending::RolledBack => "ROLLED_BACK",
            Ending::Rejected => "REJECTED",
            Ending::Cancelled => "CANCELLED",
            Ending::Superseded => "SUPERSEDED",
            Ending::NeedsHuman => "NEEDS_HUMAN",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployment {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// Where.
    pub target: TargetId,
    /// Through all gates, or back to an older release.
    pub mode: Mode,
    /// How it ended.
    pub ending: Ending,
    /// Why it is not `PROMOTED`.
    #[serde(deserialize_with = "required")]
    pub cause: Option<Cause>,
    /// Evidence that is missing from a promotion.
    pub missing: Vec<String>,
    /// Who asked for it.
    pub initiator: Principal,
    /// Why a quarantine was overruled.
    #[serde(deserialize_with = "required")]
    pub forced: Option<String>,
    /// When it was asked for.
    pub received: At,
    /// When its ending was decided.
    pub ended: At,
    /// When this certificate was made.
    pub issued: At,
    /// Digest of the spec, which is enclosed.
    pub spec: Digest,
    /// Digest of the plan, which is enclosed; `null` when it never came to one.
    #[serde(deserialize_with = "required")]
    pub plan: Option<Digest>,
    /// Digest of what ran before and would be returned to.
    #[serde(deserialize_with = "required")]
    pub baseline: Option<Digest>,
    /// By which rules it was judged.
    pub policy: Policy,
    /// Who approved the plan.
    pub approvals: Vec<Approval>,
    /// What was deployed.
    pub artifacts: Vec<Artifact>,
    /// Every step, those of the way back last; of each its last attempt.
    pub steps: Vec<Step>,
    /// Every gate that was judged, of every attempt.
    pub gates: Vec<Gate>,
    /// What the agents found.
    pub findings: Vec<Found>,
    /// What experts said.
    pub experts: Experts,
    /// What people did on the way.
    pub interventions: Vec<Intervention>,
    /// What really ran at the end; `null` when nobody looked.
    #[serde(deserialize_with = "required")]
    pub observed: Option<Observed>,
    /// Reports and attestations that were looked at, by digest.
    pub inputs: Vec<Input>,
    /// The journal that all of this was read from.
    pub journal: JournalDigest,
    /// Where the journal stands in the audit log; `null` when no log was kept.
    #[serde(deserialize_with = "required")]
    pub audit: Option<Audit>,
    /// Who made this certificate.
    pub certifier: Certifier,
}

/// Why a deployment was not promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cause {
    /// What kind of cause.
    pub kind: CauseKind,
    /// The step that ended so.
    #[serde(deserialize_with = "required")]
    pub step: Option<StepId>,
    /// The gate, with measured value and limit.
    #[serde(deserialize_with = "required")]
    pub gate: Option<String>,
    /// One line for a person.
    pub text: String,
    /// When.
    pub at: At,
}

/// By which rules it was judged. All of it follows from the enclosed spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Digest of gates, analyses, waivers and smoke tests of the spec.
    pub digest: Digest,
    /// How many people had to approve.
    pub approvals: u8,
    /// Who may; empty for anyone but the initiator.
    pub approvers: Vec<String>,
    /// Whether experts had to approve: the stricter of the spec and the engine's policy.
    pub experts: GateMode,
}

/// One person's approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// Who.
    pub by: Principal,
    /// Of exactly this plan.
    pub plan: Digest,
    /// When.
    pub at: At,
    /// Until when approvals were taken.
    #[serde(deserialize_with = "required")]
    pub until: Option<At>,
}

/// One thing that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Artifact {
    /// The module.
    pub module: Token,
    /// Its version.
    pub version: String,
    /// Its revision: what an instance is made of.
    pub revision: Revision,
    /// The image or program.
    pub name: String,
    /// Its digest; `null` when the spec did not pin it.
    #[serde(deserialize_with = "required")]
    pub digest: Option<Digest>,
}

/// One step and how its last attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Which.
    pub id: StepId,
    /// Part of the life.
    pub stage: Stage,
    /// Who does it.
    pub agent: Agent,
    /// In words.
    pub what: String,
    /// How often it was tried; 0 when it was never begun.
    pub attempts: u32,
    /// The same for all attempts.
    #[serde(deserialize_with = "required")]
    pub idempotency_key: Option<String>,
    /// Token of the target's lock and epoch of the owner, under which it was done.
    #[serde(deserialize_with = "required")]
    pub fence: Option<Fence>,
    /// Who did it.
    #[serde(deserialize_with = "required")]
    pub runner: Option<String>,
    /// When it was scheduled.
    #[serde(deserialize_with = "required")]
    pub scheduled: Option<At>,
    /// When it ended.
    #[serde(deserialize_with = "required")]
    pub finished: Option<At>,
    /// How it ended; `null` when it did not.
    #[serde(deserialize_with = "required")]
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: String,
    /// Who had it skipped, by promoting in full; `null` when it was done.
    #[serde(deserialize_with = "required")]
    pub skipped_by: Option<Principal>,
    /// Digest of its full evidence.
    #[serde(deserialize_with = "required")]
    pub evidence: Option<Digest>,
}

/// Token of the target's lock and epoch of the deployment's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// The lock.
    pub lock: u64,
    /// The epoch.
    pub epoch: u64,
}

/// One gate that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// The step it belongs to.
    pub step: StepId,
    /// The attempt of the step.
    pub attempt: u32,
    /// The gate.
    pub gate: String,
    /// How it was judged.
    pub outcome: Outcome,
    /// The value measured; `null` when there was none.
    #[serde(deserialize_with = "required")]
    pub measured: Option<f64>,
    /// The limit; empty when there was none.
    pub limit: String,
    /// Observations behind the value.
    pub samples: u64,
    /// One line for a person.
    pub text: String,
    /// When.
    pub at: At,
    /// Digest of the document of what was measured; absent when nothing was kept.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
}

/// One thing an agent found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Found {
    /// The step that found it.
    pub step: StepId,
    /// The rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Which module; `null` for the whole release.
    #[serde(deserialize_with = "required")]
    pub module: Option<Token>,
    /// What is wrong.
    pub message: String,
    /// Why it was accepted; `null` when it was not.
    #[serde(deserialize_with = "required")]
    pub waived: Option<String>,
}

/// What experts said about the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Experts {
    /// Who answered; `off` when nobody was asked.
    pub source: String,
    /// One line.
    pub summary: String,
    /// The computed opinion; `null` when there is none.
    #[serde(deserialize_with = "required")]
    pub opinion: Option<Opinion>,
}

/// The computed opinion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opinion {
    /// What it recommends.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Votes that counted.
    pub counted: u32,
    /// What they are worth as independent votes.
    pub effective: f64,
    /// Every expert's vote.
    pub votes: Vec<Vote>,
    /// Digest of the whole consultation, prompts and answers included.
    #[serde(deserialize_with = "required")]
    pub consultation: Option<Digest>,
}

/// One expert's vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vote {
    /// The expert.
    pub expert: String,
    /// Its family of models, or of rules.
    pub family: String,
    /// What became of asking it.
    pub status: AnswerStatus,
    /// Its vote; `null` when it has none.
    #[serde(deserialize_with = "required")]
    pub vote: Option<Stance>,
}

/// Something that a person did to the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Intervention {
    /// What: `paused`, `resumed`, `record_skipped`, `promoted`, `promoted_in_full`, `rollback_retried`.
    pub what: String,
    /// Who.
    pub by: Principal,
    /// When.
    pub at: At,
}

/// What really ran when somebody looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observed {
    /// When.
    pub at: At,
    /// Digest of the spec that should run; `null`: nothing should.
    #[serde(deserialize_with = "required")]
    pub expected: Option<Digest>,
    /// Every difference; empty when all is as it should be.
    pub differences: Vec<String>,
}

/// A report or an attestation that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Input {
    /// What it is: `sbom`, `provenance`, `vulnerabilities`, `test-result`, `security-review`, `measurements`, …
    pub kind: String,
    /// Its name: the step that made it, or the label that named it.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

/// The journal that the certificate was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JournalDigest {
    /// Version of its last record.
    pub version: u64,
    /// Digest of the canonical JSON of all records so far.
    pub digest: Digest,
}

/// Where the journal stands in the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audit {
    /// The log.
    pub origin: String,
    /// Index of the deployment's first record.
    pub first: u64,
    /// Index of its last record when the certificate was made.
    pub last: u64,
    /// How many of its records the log held.
    pub records: u64,
    /// Size of the log at the checkpoint.
    pub size: u64,
    /// Root of the log at the checkpoint, in base64.
    pub root: String,
}

/// Who made the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certifier {
    /// The replica.
    pub replica: String,
    /// Version of the engine.
    pub version: String,
}
