//! Who belongs to the cluster: founding it, taking in, promoting, replacing, removing, handing over.
//!
//! A change goes through joint consensus and takes effect one at a time. The leader refuses one after which fewer than a
//! majority of voters would be alive and near the end of the log, so that no single command stops the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ServerState,
    error::{ClientWriteError, InitializeError, RaftError},
};
use tokio::time::Instant;

use crate::{
    error::Error,
    replicated::Replicated,
    state::State,
    types::{MAX_NAME, MemberId, Peer, Wish},
    wire::{Answer, Ask},
};

/// Most members, learners among them.
const MOST: usize = 15;
/// Entries by which a voter may be behind and still counts.
const NEAR: u64 = 1_000;
/// How long to wait between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Who is at an address.
struct There {
    id: u64,
    peer: Peer,
    level: u32,
    fresh: bool,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub id: MemberId,
    /// Its name and address.
    pub peer: Peer,
    /// Whether it votes; else it learns.
    pub votes: bool,
    /// The last entry that it is known to have. Only the leader knows.
    pub has: Option<u64>,
    /// How long ago it last answered. Only the leader knows; none for the leader itself.
    pub answered: Option<Duration>,
}

impl<S: State> Replicated<S> {
    /// Founds the cluster with this member and those at the addresses. Done once, at one member, while all are new;
    /// doing it again with the same ones changes nothing.
    pub async fn found(&self, others: &[String], within: Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        let refused = |why: String| Error::Refused { change: "founding the cluster".to_owned(), why };
        let mut members = BTreeMap::from([(self.core.id, self.core.peer.clone())]);
        for address in others {
            let there = self.who_is(address, until).await?;
            if members.insert(there.id, there.peer).is_some() {
                return Err(refused(format!("{address} is a member that was named already")));
            }
            if !there.fresh && !self.core.raft.is_initialized().await.unwrap_or(false) {
                return Err(refused(format!(
                    "{address} belongs to a cluster already; add this member there"
                )));
            }
        }
        if members.len() > MOST {
            return Err(refused(format!("{} members, at most {MOST} are taken", members.len())));
        }
        let asked: BTreeSet<u64> = members.keys().copied().collect();
        match self.core.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) if self.voters() == asked => Ok(()),
            Err(error) => Err(refused(error.to_string())),
        }
    }

    /// Takes in the new member at the address as a learner, and returns its number once it has nearly all entries.
    /// Only the leader does it. Again: waits for the one that was taken in.
    pub async fn add(&self, address: &str, within: Duration) -> Result<MemberId, Error> {
        let until = Instant::now() + within;
        let change = || format!("adding {address}");
        self.must_lead()?;
        let there = self.who_is(address, until).await?;
        let id = MemberId(there.id);
        let known = self.members();
        if !known.iter().any(|one| one.id == id) {
            if known.len() >= MOST {
                let why = format!("there are {} members, at most {MOST} are taken", known.len());
                return Err(Error::Refused { change: change(), why });
            }
            if !there.fresh {
                let why = format!(
                    "member {id} was a member before; a member that was removed comes back with an empty folder"
                );
                return Err(Error::Refused { change: change(), why });
            }
            if there.level < self.machine.position().0 {
                let (level, why) = (there.level, "this cluster stands at a newer one: upgrade its program");
                return Err(Error::Refused {
                    change: change(),
                    why: format!("it knows level {level}; {why}"),
                });
            }
            let added = self.core.raft.add_learner(there.id, there.peer, false);
            self.changed(&change(), until, added).await?;
        }
        loop {
            self.must_lead()?;
            let last = self.core.raft.metrics().borrow().last_log_index.unwrap_or_default();
            let seen = self.members().into_iter().find(|one| one.id == id);
            let has = seen.and_then(|one| one.has);
            if has.is_some_and(|has| has + NEAR >= last) {
                return Ok(id);
            }
            if Instant::now() >= until {
                let last = format!("member {id} has {} of {last} entries", has.unwrap_or_default());
                return Err(Error::Unknown { what: "waiting for a learner", last });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets a learner vote. Only the leader does it.
    pub async fn promote(&self, id: MemberId, within: Duration) -> Result<(), Error> {
        let mut voters = self.voters();
        voters.insert(id.0);
        self.vote_by(format!("promoting member {id}"), voters, within).await
    }

    /// Takes a member out, dead or alive. Only the leader does it, and not with itself: hand over first.
    pub async fn remove(&self, id: MemberId, within: Duration) -> Result<(), Error> {
        let change = format!("removing member {id}");
        if self.voters().contains(&id.0) {
            let mut voters = self.voters();
            voters.remove(&id.0);
            return self.vote_by(change, voters, within).await;
        }
        self.must_lead()?;
        let learners = openraft::ChangeMembers::RemoveNodes(BTreeSet::from([id.0]));
        let until = Instant::now() + within;
        self.changed(&change, until, self.core.raft.change_membership(learners, false)).await
    }

    /// Lets a learner vote in place of a voter, in one change. Only the leader does it, and not with itself.
    pub async fn replace(&self, old: MemberId, new: MemberId, within: Duration) -> Result<(), Error> {
        let mut voters = self.voters();
        let change = format!("replacing member {old} by {new}");
        if !voters.remove(&old.0) {
            return Err(Error::Refused { change, why: format!("{old} does not vote; name one that does") });
        }
        voters.insert(new.0);
        self.vote_by(change, voters, within).await
    }

    /// Hands the leadership to another voter. Only the leader does it. For about the time of an election nothing is
    /// written; proposals wait. When another member wins instead, this is an error although the leader has changed.
    pub async fn transfer(&self, to: MemberId, within: Duration) -> Result<(), Error> {
        let change = || format!("handing over to member {to}");
        let refused = |why: String| Error::Refused { change: change(), why };
        self.must_lead()?;
        let all = self.members();
        let Some(heir) = all.into_iter().find(|one| one.id == to && one.votes) else {
            return Err(refused("it is no voter; promote it first".to_owned()));
        };
        if heir.id == self.id() {
            return Ok(());
        }
        if std::mem::replace(&mut *self.core.handing_over.lock(), true) {
            return Err(refused("another hand-over is under way".to_owned()));
        }
        let result = self.hand_over(&heir, within).await;
        self.core.raft.runtime_config().heartbeat(true);
        *self.core.handing_over.lock() = false;
        result.map_err(refused)
    }

    async fn hand_over(&self, heir: &Seen, within: Duration) -> Result<(), String> {
        let until = Instant::now() + within;
        let late = |what: &str| format!("{what} within {within:?}");
        let mut metrics = self.core.raft.metrics();
        let has_all = |has: Option<u64>, last: Option<u64>| has >= last;
        loop {
            let last = metrics.borrow().last_log_index;
            let has = self.members().into_iter().find(|one| one.id == heir.id).and_then(|one| one.has);
            if has_all(has, last) {
                break;
            }
            if Instant::now() >= until {
                return Err(late("it has not got all entries"));
            }
            tokio::time::sleep(LOOK).await;
        }
        // Nobody votes for another while it hears a leader.
        self.core.raft.runtime_config().heartbeat(false);
        tokio::time::sleep(self.core.timing.lease() + self.core.timing.heartbeat).await;
        let left = until.saturating_duration_since(Instant::now());
        let asked = self.core.courier.ask(heir.id.0, &heir.peer, &Ask::Stand, Vec::new(), left).await;
        match asked {
            Ok(Answer::Done) => {}
            Ok(Answer::Refused(why)) => return Err(format!("it refuses: {why}")),
            Ok(other) => return Err(format!("it answers {other:?}")),
            Err(lost) => return Err(format!("it {lost}")),
        }
        let own = self.core.id;
        let changed = metrics.wait_for(|now| now.current_leader.is_some_and(|leader| leader != own));
        match tokio::time::timeout_at(until, changed).await {
            Ok(Ok(now)) if now.current_leader == Some(heir.id.0) => Ok(()),
            Ok(Ok(_)) => Err("another member was elected".to_owned()),
            Ok(Err(_)) => Err("this member has stopped".to_owned()),
            Err(_) => Err(late("it was not elected")),
        }
    }

    /// Raises the level of commands that the cluster takes, once every member's program knows it.
    pub async fn raise(&self, to: u32, within: Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        for one in self.members() {
            let level = if one.id == self.id() {
                S::LEVEL
            } else {
                self.who_is(&one.peer.address, until).await?.level
            };
            if level < to {
                let why = format!("member {} ({}) knows level {level}: upgrade it", one.id, one.peer.name);
                return Err(Error::Refused { change: format!("raising the level to {to}"), why });
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        self.put(&self.ticket(), 1, Wish::Raise(to), left).await.map(drop)
    }

    /// All members as this one sees them.
    pub fn members(&self) -> Vec<Seen> {
        let metrics = self.core.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let leads = metrics.state == ServerState::Leader;
        membership
            .nodes()
            .map(|(id, peer)| Seen {
                id: MemberId(*id),
                peer: peer.clone(),
                votes: voters.contains(id),
                has: metrics
                    .replication
                    .as_ref()
                    .and_then(|all| all.get(id).copied().flatten())
                    .map(|at| at.index),
                answered: if leads { self.core.courier.ack_age(*id) } else { None },
            })
            .collect()
    }

    fn voters(&self) -> BTreeSet<u64> {
        self.core.raft.metrics().borrow().membership_config.membership().voter_ids().collect()
    }

    fn must_lead(&self) -> Result<(), Error> {
        self.not_halted()?;
        if self.core.is_leader() {
            return Ok(());
        }
        Err(Error::NotLeader { leader: self.core.leader().map(|(_, peer)| peer.address) })
    }

    /// Changes who votes, when enough of them are well.
    async fn vote_by(&self, change: String, voters: BTreeSet<u64>, within: Duration) -> Result<(), Error> {
        self.must_lead()?;
        let refused = |why: String| Err(Error::Refused { change: change.clone(), why });
        if !voters.contains(&self.core.id) {
            return refused("this member leads; hand over to another, and ask that one".to_owned());
        }
        let members = self.members();
        let last = self.core.raft.metrics().borrow().last_log_index.unwrap_or_default();
        let fresh = self.core.timing.patience * 4;
        let is_well = |id: &u64| {
            *id == self.core.id
                || members.iter().any(|one| {
                    one.id.0 == *id
                        && one.answered.is_some_and(|ago| ago < fresh)
                        && one.has.is_some_and(|has| has + NEAR >= last)
                })
        };
        for id in &voters {
            if !members.iter().any(|one| one.id.0 == *id) {
                return refused(format!("{} is no member; add it first", MemberId(*id)));
            }
            if !self.voters().contains(id) && !is_well(id) {
                return refused(format!("{} does not answer or is far behind; wait for it", MemberId(*id)));
            }
        }
        let well = voters.iter().filter(|id| is_well(id)).count();
        if well <= voters.len() / 2 {
            return refused(format!(
                "only {well} of the {} voters that there would be are well, which is no majority; bring more back first",
                voters.len()
            ));
        }
        let until = Instant::now() + within;
        self.changed(&change, until, self.core.raft.change_membership(voters, false)).await
    }

    async fn changed<T>(
        &self,
        change: &str,
        until: Instant,
        doing: impl Future<Output = Result<T, RaftError<u64, ClientWriteError<u64, Peer>>>>,
    ) -> Result<(), Error> {
        match tokio::time::timeout_at(until, doing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(Error::NotLeader { leader: forward.leader_node.map(|peer| peer.address) })
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(Error::Refused { change: change.to_owned(), why: error.to_string() })
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(Error::Halted { id: self.id(), why: fatal.to_string() }),
            Err(_) => Err(Error::Unknown { what: "changing the membership", last: change.to_owned() }),
        }
    }

    async fn who_is(&self, address: &str, until: Instant) -> Result<There, Error> {
        let failed = |why: String| Error::Peer { address: address.to_owned(), why };
        if address.is_empty() || address.len() > MAX_NAME {
            return Err(Error::Setting {
                field: "address",
                value: address.to_owned(),
                cure: "host:port of a member",
            });
        }
        let peer = Peer { name: String::new(), address: address.to_owned() };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let asked =
                self.core.courier.ask(0, &peer, &Ask::Hello, Vec::new(), left.min(Duration::from_secs(2)));
            let why = match asked.await {
                Ok(Answer::Hello { id, peer: said, level, fresh }) => {
                    let peer = Peer { name: said.name, address: address.to_owned() };
                    return Ok(There { id, peer, level, fresh });
                }
                Ok(Answer::Refused(why)) => return Err(failed(format!("it refuses: {why}"))),
                Ok(other) => return Err(failed(format!("it answers {other:?}"))),
                Err(lost) => lost.to_string(),
            };
            // It may be starting still.
            if Instant::now() + LOOK * 4 >= until {
                return Err(failed(why));
            }
            tokio::time::sleep(LOOK * 4).await;
        }
    }
}
