//! What members say to each other: one frame asks, one answers. Each carries the version of the protocol, the cluster,
//! and from whom to whom, and is refused when one of them is wrong.

use openraft::{
    error::{InstallSnapshotError, RaftError},
    raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotResponse, VoteRequest, VoteResponse},
};
use serde::{Deserialize, Serialize};

use crate::types::{LogId, Outcome, Peer, Proposal, SnapshotMeta, Types, Vote};

/// The version of this protocol. A member that speaks another one is refused by name.
pub(crate) const PROTOCOL: u32 = 1;
/// Largest frame: entries of 1 MiB and one batch more, or a part of a snapshot.
pub(crate) const MAX_FRAME: usize = 2 << 20;
/// How much of a snapshot travels at once.
pub(crate) const CHUNK: u64 = 512 << 10;

/// A frame, as on the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    #[prost(string, tag = "2")]
    pub cluster: String,
    #[prost(fixed64, tag = "3")]
    pub from: u64,
    /// Zero when the sender does not know yet who is there: only [`Ask::Hello`] may be asked so.
    #[prost(fixed64, tag = "4")]
    pub to: u64,
    /// [`Ask`] or [`Answer`] as JSON.
    #[prost(bytes = "vec", tag = "5")]
    pub body: Vec<u8>,
    /// Bytes of a snapshot.
    #[prost(bytes = "vec", tag = "6")]
    pub data: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta,
        offset: u64,
        done: bool,
    },
    /// Would you vote for me, whose log ends here?
    Canvass {
        last: Option<LogId>,
    },
    /// Who are you?
    Hello,
    Propose(Proposal),
    /// Up to where must a reader have applied, to see all that was acknowledged?
    ReadIndex,
    /// Stand for election at once: the leader steps back.
    Stand,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    Snapshot(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
    Canvass {
        granted: bool,
    },
    Hello {
        id: u64,
        peer: Peer,
        level: u32,
        fresh: bool,
    },
    Propose(Outcome),
    ReadIndex(Option<LogId>),
    Done,
    /// Not the leader; who is, if that is known.
    Forward(Option<u64>),
    /// Not taken: why. Nothing was done.
    Refused(String),
    /// Perhaps done.
    Unknown(String),
}
