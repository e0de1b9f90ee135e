//! openraft's messages as frames.

use std::{collections::HashMap, sync::Arc, time::Duration};

use openraft::{
    RaftNetwork, RaftNetworkFactory,
    error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
        VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    transport::{Lost, Transport},
    types::{Peer, Types},
    wire::{Answer, Ask, Frame, PROTOCOL},
};

/// How long an unreachable member is left alone: short, because it may come back to elect somebody.
const LEFT_ALONE: Duration = Duration::from_millis(150);

/// Speaks for one member.
pub(crate) struct Courier {
    pub cluster: String,
    pub id: u64,
    pub transport: Arc<dyn Transport>,
    /// When each member last took entries or a heartbeat of ours.
    acks: Mutex<HashMap<u64, Instant>>,
}

impl Courier {
    pub fn new(cluster: String, id: u64, transport: Arc<dyn Transport>) -> Courier {
        Courier { cluster, id, transport, acks: Mutex::default() }
    }

    /// Asks a member. `to` is zero when it is not known who is at the address.
    pub async fn ask(
        &self,
        to: u64,
        peer: &Peer,
        ask: &Ask,
        data: Vec<u8>,
        within: Duration,
    ) -> Result<Answer, Lost> {
        let body = serde_json::to_vec(ask).map_err(|error| Lost::Unreachable(error.to_string()))?;
        let frame =
            Frame { protocol: PROTOCOL, cluster: self.cluster.clone(), from: self.id, to, body, data };
        let answer = self.transport.ask(peer, frame, within).await?;
        if answer.protocol != PROTOCOL || answer.cluster != self.cluster || answer.to != self.id {
            return Err(Lost::Unanswered(format!(
                "{} answers with protocol {} for cluster {:?}",
                peer.address, answer.protocol, answer.cluster
            )));
        }
        if to != 0 && answer.from != to {
            return Err(Lost::Unanswered(format!("another member is at {}", peer.address)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| Lost::Unanswered(format!("its answer: {error}")))
    }

    /// How long ago a member last took something from us as a leader.
    pub fn ack_age(&self, id: u64) -> Option<Duration> {
        self.acks.lock().get(&id).map(Instant::elapsed)
    }
}

/// Makes a link to each member.
pub(crate) struct Links(pub Arc<Courier>);

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Link {
        Link { courier: Arc::clone(&self.0), target, peer: node.clone() }
    }
}

/// The way to one member.
pub(crate) struct Link {
    courier: Arc<Courier>,
    target: u64,
    peer: Peer,
}

impl Link {
    async fn ask<E: std::error::Error>(
        &self,
        ask: Ask,
        data: Vec<u8>,
        option: &RPCOption,
    ) -> Result<Answer, RPCError<u64, Peer, E>> {
        let answer = self.courier.ask(self.target, &self.peer, &ask, data, option.hard_ttl()).await;
        answer.map_err(|lost| match lost {
            Lost::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&lost)),
            Lost::Unanswered(_) => RPCError::Network(NetworkError::new(&lost)),
        })
    }

    fn remote<T, E: std::error::Error>(&self, answer: Result<T, E>) -> Result<T, RPCError<u64, Peer, E>> {
        answer.map_err(|error| {
            RPCError::RemoteError(RemoteError::new_with_node(self.target, self.peer.clone(), error))
        })
    }

    fn other<E: std::error::Error>(answer: &Answer) -> RPCError<u64, Peer, E> {
        let said = match answer {
            Answer::Refused(why) => format!("refused: {why}"),
            other => format!("an answer to something else: {other:?}"),
        };
        // Not worth asking again at once.
        RPCError::Unreachable(Unreachable::new(&std::io::Error::other(said)))
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, Peer, RaftError<u64>>> {
        match self.ask(Ask::Append(rpc), Vec::new(), &option).await? {
            Answer::Append(answer) => {
                let answer = self.remote(answer)?;
                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                    self.courier.acks.lock().insert(self.target, Instant::now());
                }
                Ok(answer)
            }
            other => Err(Link::other(&other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RPCError<u64, Peer, RaftError<u64, InstallSnapshotError>>> {
        let ask = Ask::Snapshot { vote: rpc.vote, meta: rpc.meta, offset: rpc.offset, done: rpc.done };
        match self.ask(ask, rpc.data, &option).await? {
            Answer::Snapshot(answer) => {
                let answer = self.remote(answer)?;
                self.courier.acks.lock().insert(self.target, Instant::now());
                Ok(answer)
            }
            other => Err(Link::other(&other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, Peer, RaftError<u64>>> {
        match self.ask(Ask::Vote(rpc), Vec::new(), &option).await? {
            Answer::Vote(answer) => self.remote(answer),
            other => Err(Link::other(&other)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(LEFT_ALONE))
    }
}
