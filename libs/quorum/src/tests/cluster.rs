//! Several members in one process, each on a disk that may lose power.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chassis::Tasks;
use rand::{SeedableRng, rngs::StdRng};
use testkit::eventually;

use super::{Bug, disk::Power, kv::Numbers, net::Net};
use crate::{
    Compaction, Error, Replicated, Role, Settings, Timing, replicated::Parts, state::State, store::Opening,
    types::Peer,
};

pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Leaders are missed soon: for storms.
pub(crate) const HASTY: Timing =
    Timing { heartbeat: Duration::from_millis(40), patience: Duration::from_millis(200) };
/// Leaders are not missed because the machine is busy.
pub(crate) const PATIENT: Timing =
    Timing { heartbeat: Duration::from_millis(100), patience: Duration::from_millis(800) };

/// Snapshots are made often.
const COMPACTION: Compaction = Compaction { bytes: 1 << 20, entries: 60, keep: 10 };

/// One member, alive or not.
pub(crate) struct Slot<S> {
    pub address: String,
    folder: PathBuf,
    lives: u32,
    power: Power,
    pub alive: Option<(Replicated<S>, Tasks)>,
}

pub(crate) struct Cluster<S> {
    root: tempfile::TempDir,
    pub net: Net,
    pub slots: Vec<Slot<S>>,
    pub random: StdRng,
    bug: Option<Bug>,
    compaction: Compaction,
    timing: Timing,
}

impl<S: State> Cluster<S> {
    /// As many members, founded.
    pub async fn of(many: usize, seed: u64, bug: Option<Bug>) -> Cluster<S> {
        Cluster::with(many, seed, PATIENT, bug).await
    }

    /// The same with another patience.
    pub async fn with(many: usize, seed: u64, timing: Timing, bug: Option<Bug>) -> Cluster<S> {
        let mut cluster = Cluster {
            root: tempfile::tempdir().unwrap(),
            net: Net::new(seed),
            slots: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            bug,
            compaction: COMPACTION,
            timing,
        };
        for _ in 0..many {
            cluster.grow().await;
        }
        let others: Vec<String> = cluster.slots[1..].iter().map(|slot| slot.address.clone()).collect();
        cluster.at(0).found(&others, LONG).await.unwrap();
        cluster.leader().await;
        cluster
    }

    /// One more member with an empty folder, which belongs to nothing.
    pub async fn grow(&mut self) -> usize {
        let at = self.slots.len();
        let folder = self.root.path().join(format!("{at}-0"));
        let slot =
            Slot { address: format!("m{at}:1"), folder, lives: 0, power: Power::default(), alive: None };
        self.slots.push(slot);
        self.start(at).await.unwrap();
        at
    }

    pub async fn start(&mut self, at: usize) -> Result<(), Error> {
        let (bug, compaction, timing) = (self.bug, self.compaction, self.timing);
        let slot = &mut self.slots[at];
        let settings = Settings {
            folder: slot.folder.clone(),
            cluster: "test".to_owned(),
            name: format!("m{at}"),
            listen: ([127, 0, 0, 1], 1).into(),
            advertise: Some(slot.address.clone()),
            tls: None,
            timing,
            compaction,
        };
        settings.check()?;
        let parts = Parts {
            opening: Opening {
                folder: slot.folder.clone(),
                cluster: "test".to_owned(),
                disk: Arc::new(slot.power.clone()),
                bug,
            },
            transport: self.net.wire(&slot.address),
            peer: Peer { name: format!("m{at}"), address: slot.address.clone() },
            prepare: Box::new(move |machine| machine.with(bug, None)),
        };
        let tasks = Tasks::new("quorum");
        let member = Replicated::begin(parts, &settings, &tasks).await?;
        self.net.join(&slot.address, Arc::clone(&member.core) as _);
        slot.alive = Some((member, tasks));
        Ok(())
    }

    /// The member loses power: its folder is what the disk kept.
    pub async fn kill(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some((member, tasks)) = slot.alive.take() else { return };
        slot.lives += 1;
        let next = self.root.path().join(format!("{at}-{}", slot.lives));
        self.net.leave(&slot.address);
        slot.power.lose(&slot.folder, &next, &mut self.random);
        tasks.abort();
        member.stop().await;
        slot.folder = next;
        slot.power = Power::default();
    }

    /// The member's disk takes nothing any more.
    pub fn fill_disk(&self, at: usize) {
        self.slots[at].power.fill();
    }

    /// The folder of a dead member is emptied.
    pub fn wipe(&mut self, at: usize) {
        std::fs::remove_dir_all(&self.slots[at].folder).unwrap();
    }

    /// The folder, disk and address of a dead member, for another program to go on with.
    pub fn take(&self, at: usize) -> (PathBuf, Power, String) {
        let slot = &self.slots[at];
        (slot.folder.clone(), slot.power.clone(), slot.address.clone())
    }

    /// One member that is there already, not yet started.
    pub fn alone(net: Net, folder: PathBuf, power: Power, address: String) -> Cluster<S> {
        Cluster {
            root: tempfile::tempdir().unwrap(),
            net,
            slots: vec![Slot { address, folder, lives: 0, power, alive: None }],
            random: StdRng::seed_from_u64(0),
            bug: None,
            compaction: COMPACTION,
            timing: PATIENT,
        }
    }

    pub fn at(&self, at: usize) -> &Replicated<S> {
        &self.slots[at].alive.as_ref().unwrap().0
    }

    pub fn alive(&self) -> Vec<Replicated<S>> {
        self.slots.iter().filter_map(|slot| Some(slot.alive.as_ref()?.0.clone())).collect()
    }

    /// Who leads, as soon as all that live agree.
    pub async fn leader(&self) -> usize {
        let members = self.alive();
        let leader = eventually("a leader that all know", LONG, async || {
            let seen: Vec<_> = members.iter().map(|member| member.status()).collect();
            let first = seen[0].leader;
            let agreed = first.is_some()
                && seen.iter().all(|one| one.leader == first)
                && seen.iter().any(|one| one.role == Role::Leader && Some(one.id) == first);
            if agreed { Ok(first) } else { Err(format!("{seen:#?}")) }
        });
        let leader = leader.await;
        let is_it = |slot: &Slot<S>| slot.alive.as_ref().map(|(member, _)| member.id()) == leader;
        self.slots.iter().position(is_it).unwrap()
    }

    /// Has the leader do something, whoever it is by then.
    pub async fn led<T>(&self, deed: impl AsyncFn(&Replicated<S>) -> Result<T, Error>) -> T {
        eventually("the leader does it", LONG, async || {
            let members = self.alive();
            let leader = members.iter().find(|member| member.status().role == Role::Leader);
            let Some(leader) = leader else { return Err("nobody leads".to_owned()) };
            deed(leader).await.map_err(|error| error.to_string())
        })
        .await
    }

    pub async fn stop(mut self) {
        for slot in &mut self.slots {
            if let Some((member, tasks)) = slot.alive.take() {
                self.net.leave(&slot.address);
                tasks.abort();
                member.stop().await;
            }
        }
    }
}

pub(crate) type NumbersCluster = Cluster<Numbers>;
