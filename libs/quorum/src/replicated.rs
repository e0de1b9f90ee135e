//! One member of a cluster that replicates a state.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use chassis::Tasks;
use ground::Backoff;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use rand::{Rng, distr::Alphanumeric};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    core::{Core, Led, WAITING, collect},
    error::Error,
    grpc::{Client, serve},
    machine::{Machine, Unread},
    network::{Courier, Links},
    settings::{Compaction, Settings},
    state::State,
    store::{Opening, Store, system},
    tend,
    transport::{Lost, Transport},
    types::{LogId, MAX_COMMAND, MemberId, Outcome, Peer, Proposal, Raft, Wish},
    wire::{Answer, Ask, CHUNK},
};

/// How long to wait before asking for a leader again.
const AGAIN: Backoff = Backoff::millis(10, 200);
/// One try to reach the leader takes no longer; the ticket makes another harmless.
const ONE_TRY: Duration = Duration::from_secs(2);

/// What makes a proposal the same when it is made again. Take one before the first try, keep it for every retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Nobody else's.
    pub key: String,
    /// What the member had applied when it was taken.
    pub after: u64,
}

/// A state as it is here, which may be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale<R> {
    /// What was read.
    pub value: R,
    /// The index up to which it holds.
    pub index: u64,
    /// How long ago this member was last in touch with a leader, or as a leader with a majority: what was acknowledged
    /// before that may be seen; none when it never was.
    pub age: Option<Duration>,
}

/// One member. Cheap to clone; clones are the same member. Dropping it does not stop it: see [`Replicated::stop`].
pub struct Replicated<S> {
    pub(crate) core: Arc<Core>,
    pub(crate) machine: Machine<S>,
    _state: PhantomData<S>,
}

impl<S> Clone for Replicated<S> {
    fn clone(&self) -> Replicated<S> {
        Replicated { core: Arc::clone(&self.core), machine: self.machine.clone(), _state: PhantomData }
    }
}

/// What a member is made of; tests put something else in their place.
pub(crate) struct Parts<S> {
    pub opening: Opening,
    pub transport: Arc<dyn Transport>,
    pub peer: Peer,
    pub prepare: Prepare<S>,
}

/// What is done to a machine before it runs.
pub(crate) type Prepare<S> = Box<dyn FnOnce(Machine<S>) -> Machine<S> + Send>;

impl<S: State> Replicated<S> {
    /// Opens the folder, examines it, and begins to listen. A new folder waits to be taken in: see
    /// [`Replicated::found`] and [`Replicated::add`].
    pub async fn open(settings: Settings, tasks: &Tasks) -> Result<Replicated<S>, Error> {
        settings.check()?;
        let refused =
            |source: std::io::Error| Error::Listen { address: settings.listen, source: source.into() };
        let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let parts = Parts {
            opening: Opening {
                folder: settings.folder.clone(),
                cluster: settings.cluster.clone(),
                disk: system(),
                #[cfg(test)]
                bug: None,
            },
            transport: Arc::new(Client::new(settings.tls.clone())),
            peer: settings.peer(address),
            prepare: Box::new(|machine| machine),
        };
        let member = Replicated::begin(parts, &settings, tasks).await?;
        let stopping = tasks.stopping();
        let served = serve(listener, settings.tls, Arc::clone(&member.core) as _, async move {
            stopping.cancelled().await;
        });
        tasks.critical("quorum: serve members", served);
        Ok(member)
    }

    pub(crate) async fn begin(
        parts: Parts<S>,
        settings: &Settings,
        tasks: &Tasks,
    ) -> Result<Replicated<S>, Error> {
        let Parts { opening, transport, peer, prepare } = parts;
        let (store, machine) = Replicated::examined(opening, prepare, settings).await?;
        let id = store.member.id.0;
        let courier = Arc::new(Courier::new(store.member.cluster.clone(), id, transport));
        let last =
            store.log.last().map_err(|error| Error::Halted { id: MemberId(id), why: error.to_string() })?;
        let opened = (store.log.vote(), last);
        let raft = start(&store, &machine, Arc::clone(&courier), settings).await?;
        let (proposals, waiting) = mpsc::channel(WAITING);
        let core = Arc::new(Core {
            raft: raft.clone(),
            id,
            log: store.log.clone(),
            opened,
            peer,
            courier,
            timing: settings.timing,
            newest: S::LEVEL,
            heard: Mutex::new(None),
            handing_over: Mutex::new(false),
            proposals,
            receiving: Core::receiving(),
        });
        let batches = ending(tasks.stopping().cancelled_owned(), collect(raft, waiting));
        tasks.critical("quorum: batch proposals", batches);
        let member = Replicated { core, machine, _state: PhantomData };
        member.tended(settings.compaction, tasks);
        Ok(member)
    }

    /// The folder's log and state, once all that is in it was examined.
    async fn examined(
        opening: Opening,
        prepare: Prepare<S>,
        settings: &Settings,
    ) -> Result<(Store, Machine<S>), Error> {
        let folder = settings.folder.clone();
        let broken = |broken: ground::Broken| -> Error {
            Error::io("opening", &settings.folder)(std::io::Error::other(broken))
        };
        let opened = ground::blocking(move || {
            let store = Store::open(opening)?;
            let machine = Machine::open(&store.folder, store.snapshot_path()).map_err(|unread| {
                store.log.close();
                match unread {
                    Unread::Broken(why) => Error::Damaged { folder, why },
                    newer @ Unread::TooNew(..) => {
                        Error::Halted { id: store.member.id, why: newer.to_string() }
                    }
                }
            })?;
            Ok::<_, Error>((store, prepare(machine)))
        });
        opened.await.map_err(broken)?
    }

    /// What goes on for as long as the member does.
    fn tended(&self, compaction: Compaction, tasks: &Tasks) {
        let core = || Arc::clone(&self.core);
        let stopping = || tasks.stopping().cancelled_owned();
        tasks.critical("quorum: elections", ending(stopping(), tend::elections(core())));
        tasks.critical("quorum: silence", ending(stopping(), tend::silence(core())));
        tasks.critical("quorum: compact", ending(stopping(), tend::compact(core(), compaction)));
        let (watched, stopped) = (self.clone(), tasks.stopping());
        tasks.critical("quorum: be well", async move {
            tokio::select! {
                why = watched.ends() => Err(why),
                () = stopped.cancelled() => Ok(()),
            }
        });
    }

    /// This member's number.
    pub fn id(&self) -> MemberId {
        MemberId(self.core.id)
    }

    /// A ticket for one proposal and its retries.
    pub fn ticket(&self) -> Ticket {
        let key = rand::rng().sample_iter(Alphanumeric).take(20).map(char::from).collect();
        Ticket { key, after: self.machine.position().1 }
    }

    /// Has the command applied once, by whichever member leads, and gives back its reply. When it returns, a majority
    /// has it on disk. After [`Error::Unknown`] ask again with the same ticket, within the next 16,384 commands.
    pub async fn propose(
        &self,
        ticket: &Ticket,
        command: &S::Command,
        within: Duration,
    ) -> Result<S::Reply, Error> {
        let text = serde_json::value::to_raw_value(command)
            .map_err(|source| Error::Json { what: "writing a command", source })?;
        let size = text.get().len();
        if size > MAX_COMMAND {
            return Err(Error::TooLong { size });
        }
        let reply = self.put(ticket, S::level(command), Wish::Command(text), within).await?;
        serde_json::from_str(&reply).map_err(|source| Error::Json { what: "reading a reply", source })
    }

    pub(crate) async fn put(
        &self,
        ticket: &Ticket,
        level: u32,
        wish: Wish,
        within: Duration,
    ) -> Result<String, Error> {
        let proposal = Proposal { key: ticket.key.clone(), after: ticket.after, level, wish };
        let here = || self.core.submit(proposal.clone());
        let there = Ask::Propose(proposal.clone());
        let outcome = self
            .led("proposing", within, here, &there, |answer| match answer {
                Answer::Propose(outcome) => Ok(outcome),
                other => Err(other),
            })
            .await?;
        match outcome {
            Outcome::Applied { reply, .. } => Ok(reply),
            Outcome::Expired => Err(Error::Expired { key: ticket.key.clone() }),
            Outcome::TooNew { level, cluster } => Err(Error::TooNew { level, cluster }),
        }
    }

    /// Reads the state with everything in it that was acknowledged to anybody before this call.
    pub async fn read<R>(&self, within: Duration, read: impl FnOnce(&S) -> R) -> Result<R, Error> {
        let until = Instant::now() + within;
        let here = || self.core.read_index();
        let index: Option<LogId> = self
            .led("reading", within, here, &Ask::ReadIndex, |answer| match answer {
                Answer::ReadIndex(index) => Ok(index),
                other => Err(other),
            })
            .await?;
        let index = index.map_or(0, |id| id.index);
        let mut applied = self.machine.applied();
        let reached = tokio::time::timeout_at(until, applied.wait_for(|at| *at >= index)).await;
        if !matches!(reached, Ok(Ok(_))) {
            self.not_halted()?;
            let last =
                format!("entry {index} is not applied here, the last one is {}", self.machine.position().1);
            return Err(Error::Unknown { what: "reading", last });
        }
        Ok(self.machine.read(read))
    }

    /// Reads the state as it is here, without asking anybody: it may be behind, and says by how much.
    pub fn stale<R>(&self, read: impl FnOnce(&S) -> R) -> Stale<R> {
        let lead = self.core.raft.metrics().borrow().millis_since_quorum_ack.map(Duration::from_millis);
        let age = if self.core.is_leader() { lead } else { self.core.heard_ago() };
        // First the index: what is read may be newer than it says, never older.
        let index = self.machine.position().1;
        Stale { value: self.machine.read(read), index, age }
    }

    /// The index of the last entry that was applied here, and word whenever it grows. Who is slow sees only the newest.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.machine.applied()
    }

    /// Stops this member and lets go of its folder. The tasks that were given to [`Replicated::open`] are to be stopped
    /// first, so that others see a member that is gone and not one that fails.
    pub async fn stop(self) {
        if let Err(error) = self.core.raft.shutdown().await {
            tracing::warn!(%error, "openraft did not stop well");
        }
        let log = self.core.log.clone();
        drop(self);
        if let Err(error) = ground::blocking(move || log.close()).await {
            tracing::warn!(%error, "the log did not close well");
        }
    }

    /// Returns when this member does nothing any more, with the reason.
    async fn ends(&self) -> Error {
        let mut metrics = self.core.raft.metrics();
        // It is an error when openraft is gone, which is an end too.
        drop(metrics.wait_for(|now| now.running_state.is_err()).await);
        let nothing = || Error::Halted { id: self.id(), why: "openraft is gone".to_owned() };
        self.not_halted().err().unwrap_or_else(nothing)
    }

    /// Why this member does nothing any more, if so.
    pub(crate) fn not_halted(&self) -> Result<(), Error> {
        match self.halted() {
            Some(why) => Err(Error::Halted { id: self.id(), why }),
            None => Ok(()),
        }
    }

    pub(crate) fn halted(&self) -> Option<String> {
        let metrics = self.core.raft.metrics();
        let fatal = metrics.borrow().running_state.as_ref().err().map(ToString::to_string);
        // One that panicked says nothing any more.
        let gone = || metrics.has_changed().is_err().then(|| "openraft is gone".to_owned());
        self.machine.halted().or(fatal).or_else(gone)
    }

    /// Asks the leader, whoever it is, until it answers or the time is over.
    async fn led<T, F>(
        &self,
        what: &'static str,
        within: Duration,
        here: impl Fn() -> F,
        there: &Ask,
        answer: impl Fn(Answer) -> Result<T, Answer>,
    ) -> Result<T, Error>
    where
        F: Future<Output = Led<T>>,
    {
        let until = Instant::now() + within;
        let mut failures = 0;
        let mut last;
        loop {
            self.not_halted()?;
            let left = until.saturating_duration_since(Instant::now());
            let leader = self.core.leader();
            let led = match leader {
                Some((id, _)) if id == self.core.id => {
                    // It is tried once and to its end: what waits here is in the log already, perhaps.
                    let late = || Led::Unknown(format!("not within {within:?}"));
                    tokio::time::timeout(left, here()).await.unwrap_or_else(|_| late())
                }
                Some((id, peer)) => {
                    match self.core.courier.ask(id, &peer, there, Vec::new(), left.min(ONE_TRY)).await {
                        Ok(Answer::Forward(leader)) => Led::Elsewhere(leader),
                        Ok(Answer::Refused(why)) => Led::Unknown(format!("{} refuses: {why}", peer.address)),
                        Ok(Answer::Unknown(why)) => Led::Unknown(format!("{}: {why}", peer.address)),
                        Ok(other) => match answer(other) {
                            Ok(found) => Led::Done(found),
                            Err(other) => Led::Unknown(format!("{} answers {other:?}", peer.address)),
                        },
                        Err(lost @ (Lost::Unreachable(_) | Lost::Unanswered(_))) => {
                            Led::Unknown(format!("{} {lost}", peer.address))
                        }
                    }
                }
                None => Led::Elsewhere(None),
            };
            last = match led {
                Led::Done(found) => return Ok(found),
                Led::Elsewhere(Some(id)) => format!("the leader is {}", MemberId(id)),
                Led::Elsewhere(None) => "no leader is known".to_owned(),
                Led::Unknown(why) => why,
            };
            failures += 1;
            let again = Instant::now() + AGAIN.wait(failures);
            if again >= until {
                return Err(Error::Unknown { what, last });
            }
            tokio::time::sleep_until(again).await;
        }
    }
}

/// Runs until it ends or everything stops.
async fn ending(
    stopping: impl Future<Output = ()> + Send,
    task: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    tokio::select! {
        () = task => {}
        () = stopping => {}
    }
    Ok(())
}

async fn start<S: State>(
    store: &Store,
    machine: &Machine<S>,
    courier: Arc<Courier>,
    settings: &Settings,
) -> Result<Raft, Error> {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let patience = millis(settings.timing.patience);
    let config = Config {
        cluster_name: store.member.cluster.clone(),
        heartbeat_interval: millis(settings.timing.heartbeat),
        // Only the longest of them counts, as the lease of a leader: elections are ours.
        election_timeout_min: patience - 1,
        election_timeout_max: patience,
        enable_elect: false,
        install_snapshot_timeout: millis(ONE_TRY),
        max_payload_entries: 512,
        replication_lag_threshold: settings.compaction.keep.saturating_add(settings.compaction.entries),
        // Snapshots are made by the size of the log.
        snapshot_policy: SnapshotPolicy::Never,
        snapshot_max_chunk_size: CHUNK,
        max_in_snapshot_log_to_keep: settings.compaction.keep,
        ..Config::default()
    };
    let id = store.member.id;
    let config = config.validate().map_err(|error| Error::Halted { id, why: error.to_string() })?;
    Raft::new(id.0, Arc::new(config), Links(courier), store.log.clone(), machine.clone())
        .await
        .map_err(|fatal| Error::Halted { id, why: fatal.to_string() })
}
