//! One running member: openraft, what it answers to others, and the way proposals and reads take to the leader.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use openraft::{
    ServerState,
    error::{CheckIsLeaderError, ClientWriteError, RaftError},
    raft::{AppendEntriesResponse, InstallSnapshotRequest},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

use crate::{
    network::Courier,
    settings::Timing,
    snapshot,
    store::Log,
    transport::Serve,
    types::{
        Batch, LogId, MAX_BATCH, MAX_NAME, MAX_PROPOSALS, MemberId, Outcome, Peer, Proposal, Raft, Types,
        Vote,
    },
    wire::{Answer, Ask, Frame, PROTOCOL},
};

/// Proposals that may wait for a batch; more are held up at their callers.
pub(crate) const WAITING: usize = 1024;
/// Batches that are under way at once: one is flushed here while another travels.
const BATCHES: usize = 4;
/// Snapshots that are received at once.
const RECEIVED: usize = 1;

/// What became of something that only the leader does.
#[derive(Clone, Debug)]
pub(crate) enum Led<T> {
    Done(T),
    /// Ask this member, or wait until there is a leader.
    Elsewhere(Option<u64>),
    /// May be done or not, or nobody could be asked.
    Unknown(String),
}

impl<T> Led<T> {
    /// As an answer to another member.
    fn told(self, done: impl FnOnce(T) -> Answer) -> Answer {
        match self {
            Led::Done(outcome) => done(outcome),
            Led::Elsewhere(leader) => Answer::Forward(leader),
            Led::Unknown(why) => Answer::Unknown(why),
        }
    }
}

/// A proposal, and who waits for what becomes of it.
pub(crate) struct Waiting(Proposal, oneshot::Sender<Led<Outcome>>);

/// A running member.
pub(crate) struct Core {
    pub raft: Raft,
    pub id: u64,
    pub log: Log,
    /// What was in the folder when it was opened: the vote, and where the log ended.
    pub opened: (Option<Vote>, Option<LogId>),
    pub peer: Peer,
    pub courier: Arc<Courier>,
    pub timing: Timing,
    /// The newest level that this program knows.
    pub newest: u32,
    /// When a leader was last heard, and when something else gave reason not to stand for election.
    pub heard: Mutex<Option<Instant>>,
    /// Set while the leadership is handed over: nothing new is taken.
    pub handing_over: Mutex<bool>,
    pub proposals: mpsc::Sender<Waiting>,
    pub receiving: Semaphore,
}

impl Core {
    pub fn receiving() -> Semaphore {
        Semaphore::new(RECEIVED)
    }

    /// How long ago a leader was heard.
    pub fn heard_ago(&self) -> Option<Duration> {
        self.heard.lock().map(|at| at.elapsed())
    }

    pub fn is_leader(&self) -> bool {
        self.raft.metrics().borrow().state == ServerState::Leader
    }

    /// The leader and where it is, if it is known.
    pub fn leader(&self) -> Option<(u64, Peer)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let id = metrics.current_leader?;
        Some((id, metrics.membership_config.membership().get_node(&id)?.clone()))
    }

    /// Puts a proposal to the log, if this is the leader.
    pub async fn submit(&self, proposal: Proposal) -> Led<Outcome> {
        if *self.handing_over.lock() {
            return Led::Elsewhere(None);
        }
        let (tell, told) = oneshot::channel();
        let gone = || Led::Unknown("the member is stopping".to_owned());
        if self.proposals.send(Waiting(proposal, tell)).await.is_err() {
            return gone();
        }
        told.await.unwrap_or_else(|_| gone())
    }

    /// Up to where a reader must have applied to see everything that was acknowledged before now.
    pub async fn read_index(&self) -> Led<Option<LogId>> {
        match self.raft.get_read_log_id().await {
            Ok((index, _)) => Led::Done(index.max(self.left_behind())),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
                Led::Elsewhere(forward.leader_id)
            }
            Err(error) => Led::Unknown(error.to_string()),
        }
    }

    /// A leader that comes back before another was elected leads on, and openraft 0.9 then takes the first entry of its
    /// term for the one up to which a reader must have applied. But it acknowledged more before it went: all of that is
    /// in the log it came back with.
    fn left_behind(&self) -> Option<LogId> {
        let (vote, last) = self.opened;
        let now = self.raft.metrics().borrow().vote;
        last.filter(|_| vote.is_some_and(|vote| vote.leader_id == now.leader_id))
    }

    /// What a frame asks of this member; else why it is refused.
    fn read(&self, frame: &Frame) -> Result<Ask, String> {
        if frame.protocol != PROTOCOL {
            return Err(format!("protocol {}, this program speaks {PROTOCOL}", frame.protocol));
        }
        if frame.cluster != self.courier.cluster {
            return Err("this is a member of another cluster".to_owned());
        }
        let ask = serde_json::from_slice::<Ask>(&frame.body)
            .map_err(|error| format!("it does not read: {error}"))?;
        let knows_us = frame.to == self.id || (frame.to == 0 && matches!(ask, Ask::Hello));
        if !knows_us {
            return Err(format!("this is member {}, not {}", MemberId(self.id), MemberId(frame.to)));
        }
        Ok(ask)
    }

    async fn take(&self, frame: Frame) -> Answer {
        let ask = match self.read(&frame) {
            Ok(ask) => ask,
            Err(why) => return Answer::Refused(why),
        };
        match ask {
            Ask::Hello => Answer::Hello {
                id: self.id,
                peer: self.peer.clone(),
                level: self.newest,
                fresh: !self.raft.is_initialized().await.unwrap_or(true),
            },
            Ask::Append(request) => {
                let answer = self.raft.append_entries(request).await;
                if answer.as_ref().is_ok_and(|answer| !matches!(answer, AppendEntriesResponse::HigherVote(_)))
                {
                    self.heard_now();
                }
                Answer::Append(answer)
            }
            Ask::Vote(request) => {
                let answer = self.raft.vote(request).await;
                if answer.as_ref().is_ok_and(|answer| answer.vote_granted) {
                    // Whoever was given a vote is given time to win.
                    self.heard_now();
                }
                Answer::Vote(answer)
            }
            Ask::Snapshot { vote, meta, offset, done } => {
                self.receive(InstallSnapshotRequest { vote, meta, offset, data: frame.data, done }).await
            }
            Ask::Canvass { last } => Answer::Canvass { granted: self.would_vote(last).await },
            Ask::Propose(proposal) if proposal.key.len() > MAX_NAME || proposal.size() > MAX_BATCH => {
                Answer::Refused("a proposal that is too long".to_owned())
            }
            Ask::Propose(proposal) => self.submit(proposal).await.told(Answer::Propose),
            Ask::ReadIndex => self.read_index().await.told(Answer::ReadIndex),
            Ask::Stand => self.stand(frame.from).await,
        }
    }

    fn heard_now(&self) {
        *self.heard.lock() = Some(Instant::now());
    }

    /// A part of a snapshot; one snapshot is received at a time.
    async fn receive(&self, request: InstallSnapshotRequest<Types>) -> Answer {
        let end = request.offset.saturating_add(request.data.len() as u64);
        if end > snapshot::MAX_FILE {
            return Answer::Refused(format!("a snapshot of {end} bytes and more"));
        }
        let Ok(_one) = self.receiving.acquire().await else {
            return Answer::Refused("the member is stopping".to_owned());
        };
        let answer = self.raft.install_snapshot(request).await;
        if answer.is_ok() {
            self.heard_now();
        }
        Answer::Snapshot(answer)
    }

    /// Begins an election, when the leader asks for it.
    async fn stand(&self, asked_by: u64) -> Answer {
        if self.leader().is_none_or(|(leader, _)| leader != asked_by) {
            return Answer::Refused("only the leader asks somebody to stand".to_owned());
        }
        match self.raft.trigger().elect().await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    /// Whether this member would vote for one whose log ends at `last`: it hears no leader, and knows nothing newer.
    async fn would_vote(&self, last: Option<LogId>) -> bool {
        let hears = self.heard_ago().is_some_and(|ago| ago < self.timing.lease());
        let leads = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            metrics.state == ServerState::Leader
                && metrics
                    .millis_since_quorum_ack
                    .is_none_or(|ms| u128::from(ms) < self.timing.lease().as_millis())
        };
        !hears && !leads && self.log.last().is_ok_and(|own| own <= last)
    }
}

#[async_trait::async_trait]
impl Serve for Core {
    async fn answer(&self, frame: Frame) -> Frame {
        let to = frame.from;
        let answer = self.take(frame).await;
        let body = serde_json::to_vec(&answer).unwrap_or_default();
        Frame {
            protocol: PROTOCOL,
            cluster: self.courier.cluster.clone(),
            from: self.id,
            to,
            body,
            data: Vec::new(),
        }
    }
}

/// Puts what waits into batches, and tells each what became of it. Ends when nobody can propose any more.
pub(crate) async fn collect(raft: Raft, mut waiting: mpsc::Receiver<Waiting>) {
    let mut under_way = FuturesUnordered::new();
    let mut held: Option<Waiting> = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => tokio::select! {
                biased;
                Some(()) = under_way.next(), if !under_way.is_empty() => continue,
                next = waiting.recv(), if under_way.len() < BATCHES => match next {
                    Some(first) => first,
                    None => break,
                },
            },
        };
        let mut bytes = first.0.size();
        let mut batch = vec![first];
        while batch.len() < MAX_PROPOSALS
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.0.size();
            if bytes > MAX_BATCH {
                held = Some(next);
                break;
            }
            batch.push(next);
        }
        under_way.push(write(raft.clone(), batch));
        while held.is_some() && under_way.len() >= BATCHES {
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
}

async fn write(raft: Raft, batch: Vec<Waiting>) {
    let (proposals, tell): (Vec<_>, Vec<_>) = batch.into_iter().map(|Waiting(one, tell)| (one, tell)).unzip();
    let everyone = |led: Led<Outcome>| vec![led; tell.len()];
    let told = match raft.client_write(Batch { proposals }).await {
        Ok(answer) => answer.data.0.into_iter().map(Led::Done).collect(),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            everyone(Led::Elsewhere(forward.leader_id))
        }
        Err(error) => everyone(Led::Unknown(error.to_string())),
    };
    for (tell, led) in tell.into_iter().zip(told) {
        // Who no longer waits asks again with the same ticket.
        drop(tell.send(led));
    }
}
