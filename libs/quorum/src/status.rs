//! How a member is.

use std::time::Duration;

use openraft::ServerState;

use crate::{
    members::Seen,
    replicated::Replicated,
    state::State,
    types::{MemberId, Peer},
};

/// Entries that a member may be behind its own log and still be ready.
const BEHIND: u64 = 10_000;

/// What a member is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It decides the order.
    Leader,
    /// It stands for election.
    Candidate,
    /// It follows a leader and votes.
    Follower,
    /// It follows without a vote, or belongs to nothing yet.
    Learner,
    /// It has stopped.
    Halted,
}

/// How a member is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub id: MemberId,
    /// Its name and address.
    pub peer: Peer,
    /// What it is.
    pub role: Role,
    /// The election it knows of last.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<MemberId>,
    /// The last entry in its log.
    pub last: u64,
    /// The last entry that is in its state.
    pub applied: u64,
    /// The last entry in its newest snapshot.
    pub snapshot: u64,
    /// The last entry that is no longer in its log.
    pub purged: u64,
    /// The level of commands that the cluster takes, as far as it knows.
    pub level: u32,
    /// How long ago it heard a leader; for a leader, how long ago a majority answered.
    pub in_touch: Option<Duration>,
    /// What its log takes on disk, in bytes.
    pub log_bytes: u64,
    /// All members.
    pub members: Vec<Seen>,
    /// Why it cannot serve now, for people; empty when it can.
    pub not_ready: Vec<String>,
}

impl<S: State> Replicated<S> {
    /// How this member is.
    pub fn status(&self) -> Status {
        let members = self.members();
        let log_bytes = self.core.log.disk_bytes();
        let halted = self.halted();
        let metrics = self.core.raft.metrics();
        let metrics = metrics.borrow();
        let role = match metrics.state {
            _ if halted.is_some() => Role::Halted,
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Follower => Role::Follower,
            ServerState::Learner => Role::Learner,
            ServerState::Shutdown => Role::Halted,
        };
        let in_touch = match role {
            Role::Leader => metrics.millis_since_quorum_ack.map(Duration::from_millis),
            _ => self.core.heard_ago(),
        };
        let (level, applied) = self.machine.position();
        let last = metrics.last_log_index.unwrap_or_default();
        let mut status = Status {
            id: self.id(),
            peer: self.core.peer.clone(),
            role,
            term: metrics.current_term,
            leader: metrics.current_leader.map(MemberId),
            last,
            applied,
            snapshot: metrics.snapshot.map_or(0, |id| id.index),
            purged: metrics.purged.map_or(0, |id| id.index),
            level,
            in_touch,
            log_bytes,
            members,
            not_ready: Vec::new(),
        };
        status.not_ready = reasons(&status, halted, self.core.timing.patience * 4);
        status
    }
}

/// Why a member cannot serve.
fn reasons(status: &Status, halted: Option<String>, long: Duration) -> Vec<String> {
    if let Some(why) = halted {
        return vec![format!("it has stopped: {why}")];
    }
    let mut reasons = Vec::new();
    let is_member = status.members.iter().any(|one| one.id == status.id);
    if status.members.is_empty() {
        reasons.push("it belongs to no cluster yet; found one, or add it to one".to_owned());
    } else if !is_member {
        reasons.push("it is no longer a member; give it an empty folder and add it again".to_owned());
    }
    if is_member && status.leader.is_none() {
        reasons.push("no leader is known; a majority of the voters must reach each other".to_owned());
    }
    let alone = status.members.iter().filter(|one| one.votes).count() == 1 && status.role == Role::Leader;
    let is_out_of_touch = status.in_touch.is_none_or(|ago| ago > long);
    if is_member && status.leader.is_some() && !alone && is_out_of_touch {
        let whom = if status.role == Role::Leader { "a majority" } else { "the leader" };
        let ago = status.in_touch.map_or("never".to_owned(), |ago| format!("{} ms ago", ago.as_millis()));
        reasons.push(format!("it was last in touch with {whom} {ago}"));
    }
    if status.last.saturating_sub(status.applied) > BEHIND {
        reasons.push(format!("its state is at entry {}, its log at {}", status.applied, status.last));
    }
    reasons
}
