//! Records of journals that cannot be used: foreign bytes, what a newer version of the engine wrote, or what a disk has
//! damaged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Principal, Timestamp};

/// The name, in JSON, of the event that says that a record of the same journal is to be passed over. Every log that can
/// be repaired has an event of this name with the fields of [`Skip`].
pub const RECORD_SKIPPED: &str = "record_skipped";

/// A person's word that one record of a journal counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skip {
    /// Its place in its shard's stream.
    pub seq: u64,
    /// The digest of its bytes, so that no other record is passed over in its place.
    pub digest: Digest,
    /// Who says so.
    pub by: Principal,
    /// Why.
    pub reason: String,
}

/// A stored message that stands where a journal's record should, and cannot be used as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unreadable {
    /// `deployment`, `target` or `consultation`.
    pub log: String,
    /// The journal's name: a deployment's id or a target's token. What follows the shard in the subject.
    pub id: String,
    /// Where it was published.
    pub subject: String,
    /// The stream.
    pub stream: String,
    /// Its place there.
    pub seq: u64,
    /// When it was stored; the zero of time when nobody can say, because the server counts it and cannot give it.
    pub at: Timestamp,
    /// Who wrote it, when it says who.
    pub by: Option<Principal>,
    /// The digest of its bytes; of no bytes when the server cannot give it.
    pub digest: Digest,
    /// Its size in bytes; 0 when the server cannot give it.
    pub size: u64,
    /// Its first bytes, at most 200, with everything that is not printable replaced.
    pub begins: String,
    /// Why it cannot be used.
    pub why: String,
    /// It belongs to a journal, on which nothing is decided until the record can be read or is passed over. False: no
    /// journal can stand at this subject, and it holds up nothing.
    pub holds_up: bool,
}

/// What to do about records that cannot be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum JournalAction {
    /// Name all that are known.
    List {},
    /// Show those of one journal.
    Show {
        /// A deployment's id or a target's token.
        id: String,
    },
    /// Record in the journal that these are to be passed over. Refused unless they are exactly those that cannot be
    /// used: afterwards the journal is whole.
    Skip {
        /// A deployment's id or a target's token.
        id: String,
        /// Place and digest of each, as shown.
        records: Vec<(u64, Digest)>,
        /// Why.
        reason: String,
    },
}

/// Do this about records that cannot be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalRequest {
    /// What.
    #[serde(flatten)]
    pub action: JournalAction,
}

/// Records that cannot be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalReply {
    /// By log, journal and place, at most 256 of a list; after a skip, what is left of that journal.
    pub unreadable: Vec<Unreadable>,
    /// How many more there are.
    pub more: u64,
}
