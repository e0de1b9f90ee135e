//! What the log holds. Nothing of openraft leaves this crate.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Longest text of one command, as JSON.
pub(crate) const MAX_COMMAND: usize = 32 * 1024;
/// Longest batch, which is one entry of the log and fits into one window of the store.
pub(crate) const MAX_BATCH: usize = 40 * 1024;
/// Most proposals in one batch.
pub(crate) const MAX_PROPOSALS: usize = 64;
/// Longest name of a member, of the cluster, of an address, of an idempotency key.
pub(crate) const MAX_NAME: usize = 200;

openraft::declare_raft_types!(
    /// openraft's view of us: entries are batches, answers are one outcome per proposal.
    pub(crate) Types:
        D = Batch,
        R = Outcomes,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<Types>,
        SnapshotData = tokio::fs::File,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Membership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// Where a member is spoken to, and what people call it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// For people only.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// A member's number as people read it. It is made up when its folder is made, so that a folder that was wiped is
/// another member: whoever forgot its votes can not give them again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is proposed, with what tells a retry from a new wish.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Proposal {
    pub key: String,
    pub after: u64,
    pub level: u32,
    pub wish: Wish,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wish {
    /// A command of the application, as JSON.
    Command(Box<RawValue>),
    /// Commands of this level are allowed from now on.
    Raise(u32),
}

impl Wish {
    /// About as many bytes as it takes in the log.
    pub fn size(&self) -> usize {
        match self {
            Wish::Command(text) => text.get().len(),
            Wish::Raise(_) => 16,
        }
    }
}

impl Proposal {
    pub fn size(&self) -> usize {
        self.key.len() + self.wish.size() + 80
    }
}

/// One entry of the log: proposals that came together share one flush.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub proposals: Vec<Proposal>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The command's reply, as JSON, and the index of the entry that applied it (an earlier one for a retry).
    Applied { reply: String, index: u64 },
    /// So old that its first try may have been forgotten: not applied now, unknown whether before.
    Expired,
    /// The cluster does not stand at the command's level: not applied.
    TooNew { level: u32, cluster: u32 },
}

/// One outcome per proposal; none for entries of openraft's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcomes(pub Vec<Outcome>);
