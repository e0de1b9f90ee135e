//! What the audit log keeps, and what it is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Timestamp};

/// The action of a leaf that tells how a step ended of which nobody asked its runner any more: `subject` is the deployment,
/// `actor` the runner, `detail` has `step`, `attempt`, `fence` and `outcome`.
pub const UNTOLD: &str = "step.untold";

/// One fact as the audit log keeps it: its canonical JSON is one leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// The version of this shape: 1.
    pub v: u32,
    /// Who counted it: a stream of the bus such as `LOG_deployment_2`, or the copy of a service that said it.
    pub source: String,
    /// The source's own count, 1 for its first, without a gap. A hole is an alarm.
    pub counter: u64,
    /// Which of the `parts` leaves of this count it is, from 1. Events that were decided together share a count.
    pub part: u32,
    /// How many leaves share the count.
    pub parts: u32,
    /// When it happened, as its source says.
    pub at: Timestamp,
    /// Who did it: a person, an agent, a replica.
    pub actor: String,
    /// What was done, such as `deployment.approved` or `call.denied`.
    pub action: String,
    /// To what, such as `dep-…`.
    pub subject: String,
    /// How it came out.
    pub outcome: AuditOutcome,
    /// Why, in words, where it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What caused it, such as the journal entry `dep-…:7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The fact itself when it is small.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")]
    pub detail: serde_json::Value,
    /// The fact itself when it is large: by digest, so that it can be erased without breaking the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<AuditPayload>,
}

impl AuditRecord {
    /// A fact in one leaf that nobody has counted yet, told with nothing but what every fact has. Whoever hands it to
    /// the log sets source and counter; the rest is set by name: `AuditRecord { reason, ..AuditRecord::new(…) }`.
    pub fn new(
        at: Timestamp,
        actor: impl Into<String>,
        action: impl Into<String>,
        subject: impl Into<String>,
        outcome: AuditOutcome,
    ) -> AuditRecord {
        AuditRecord {
            v: 1,
            source: String::new(),
            counter: 0,
            part: 1,
            parts: 1,
            at,
            actor: actor.into(),
            action: action.into(),
            subject: subject.into(),
            outcome,
            reason: None,
            cause: None,
            trace: None,
            detail: serde_json::Value::Null,
            payload: None,
        }
    }

    /// The bytes of its leaf.
    pub fn to_leaf(&self) -> Vec<u8> {
        crate::digest::canonical_json(self)
    }
}

/// A large fact that is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPayload {
    /// What it is known by in the object store for evidence.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

/// How an act came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was not allowed.
    Denied,
    /// It was tried and failed.
    Failed,
}

impl AuditOutcome {
    /// The name in JSON and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Done => "done",
            AuditOutcome::Denied => "denied",
            AuditOutcome::Failed => "failed",
        }
    }
}

/// How sure a receipt is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditLevel {
    /// It is on disk and its index is fixed.
    #[default]
    Accepted,
    /// A signed checkpoint covers it.
    Included,
}

/// Keep these facts. Safe to send again: each count of a source is kept once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditAppend {
    /// At most 1000; of any sources.
    pub records: Vec<AuditRecord>,
    /// What to wait for.
    #[serde(default)]
    pub level: AuditLevel,
}

/// They are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditReceipts {
    /// In the order of the request.
    pub receipts: Vec<AuditReceipt>,
    /// How sure they are.
    pub level: AuditLevel,
}

/// One fact is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditReceipt {
    /// Where it stands in the log, for ever.
    pub index: u64,
    /// It was kept before.
    pub repeated: bool,
}

/// Wait until what a journal says is in the log: for steps that must not begin before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditAwait {
    /// What the journal is of: `deployment`, `target` or `consultation`, which may have the same id.
    pub noun: String,
    /// The journal's id, such as `dep-…`.
    pub journal: String,
    /// The entry's version.
    pub version: u64,
    /// What to wait for.
    #[serde(default)]
    pub level: AuditLevel,
}

/// It is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditAwaited {
    /// The first leaf of the entry.
    pub index: u64,
    /// How many leaves it has.
    pub leaves: u32,
}

/// Show the state of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditStatusRequest {
    /// Sign what was accepted first, and wait for it.
    pub sign: bool,
}

/// The state of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditStatus {
    /// Which log.
    pub origin: String,
    /// How many leaves are accepted.
    pub accepted: u64,
    /// How many a signed checkpoint covers.
    pub included: u64,
    /// The checkpoint that is shown, a signed note; empty before the first.
    pub checkpoint: String,
    /// The log's public keys.
    pub keys: Vec<String>,
    /// How many leaves can be searched.
    pub searchable: u64,
    /// The sources and how far each was counted.
    pub sources: Vec<AuditSource>,
    /// Why a person should look; empty when all is well.
    pub alarms: Vec<String>,
}

/// How far a source was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditSource {
    /// Its name.
    pub source: String,
    /// Every count up to here is in the log, or its hole is.
    pub counted: u64,
    /// Counts that are in the log beyond a hole.
    pub ahead: u64,
    /// Counts that are missing for good, each range told by a leaf `audit.hole`.
    pub lost: u64,
}

/// Prove that a leaf is in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum AuditProofRequest {
    /// By its index.
    Index {
        /// From 0.
        index: u64,
    },
    /// By its source's count: its first part.
    Count {
        /// The source.
        source: String,
        /// The count.
        counter: u64,
    },
}

/// The proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditProof {
    /// Where it stands.
    pub index: u64,
    /// The leaf, byte for byte: what the proof is about.
    pub leaf: String,
    /// A `tlog-proof` file.
    pub proof: String,
}

/// Prove that an older state is the beginning of the signed one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditConsistencyRequest {
    /// The size of the older state.
    pub old: u64,
}

/// The proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditConsistency {
    /// In base64, in the order of RFC 6962.
    pub hashes: Vec<String>,
    /// The newer state, a signed note.
    pub checkpoint: String,
}

/// Read leaves in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEntriesRequest {
    /// The first index.
    pub from: u64,
    /// At most so many, 1 to 1000. Default 256. Fewer come when they are long.
    pub limit: Option<u32>,
}

/// Leaves in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntries {
    /// In order.
    pub entries: Vec<AuditEntry>,
    /// How many leaves a signed checkpoint covers: there is more when the last entry is before it.
    pub size: u64,
}

/// A leaf and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// From 0.
    pub index: u64,
    /// The fact.
    pub record: AuditRecord,
}

/// Search the log; every given field must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditSearch {
    /// Who did it.
    pub actor: Option<String>,
    /// What was done; with a `*` at the end, all that begin so.
    pub action: Option<String>,
    /// To what.
    pub subject: Option<String>,
    /// How it came out.
    pub outcome: Option<AuditOutcome>,
    /// A part of the reason.
    pub text: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Only indices below: the `next` of the page before.
    pub before: Option<u64>,
    /// At most so many, 1 to 1000. Default 50.
    pub limit: Option<u32>,
}

/// What was found, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins; none on the last.
    pub next: Option<u64>,
    /// How many leaves were searched.
    pub searched: u64,
}

/// Count what happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditReportRequest {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// What happened, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// How many leaves.
    pub total: u64,
    /// By action and outcome, most frequent first.
    pub actions: Vec<AuditCount>,
    /// By actor, most active first; at most 50.
    pub actors: Vec<AuditCount>,
    /// Security events that the rules found, newest first; at most 100.
    pub alerts: Vec<AuditEntry>,
}

/// How often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditCount {
    /// What is counted.
    pub name: String,
    /// How it came out; none when that is not told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AuditOutcome>,
    /// How often.
    pub count: u64,
}

/// Who sequences the log, shared by compare-and-set: a writer that lost it signs nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditFence {
    /// One more with every writer.
    pub epoch: u64,
    /// The copy of the service that writes.
    pub owner: String,
    /// Which log.
    pub origin: String,
    /// The size that is or will be signed next.
    pub size: u64,
    /// Its root, in base64.
    pub root: String,
    /// The folder on its machine: whoever goes on there needs not wait until the owner is surely silent.
    pub place: String,
}
