//! What runs: one task hears each stream, one puts everything into an order and on disk, one signs, one makes it
//! searchable, one asks witnesses.

mod fence;
mod follow;
mod fork;
mod recent;
mod sequence;
mod sign;
pub(crate) mod witnesses;

use std::{path::PathBuf, sync::Arc};

use bus::Bus;
use chassis::{Backoff, Clock, Health, Service};
use ground::blocking;
use ledger::{Policy, SignedCheckpoint, VerifyingKey};
use model::audit::{AuditReceipt, AuditRecord};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    AuditConfig, Error,
    heart::admit::{Content, Counted},
    index::Index,
    keys, log, metrics,
};

pub(crate) use recent::Recent;

/// Messages that wait for the sequencer; more make their sender wait.
const WAITING: usize = 4096;

/// Something for the sequencer.
pub(crate) enum Input {
    /// A message of a stream.
    Heard { stream: String, seq: u64, content: Content },
    /// A stream says something else after the count `same` than is kept under the name `from`; answered when that is on
    /// disk.
    Forked { stream: String, from: String, same: u64, done: oneshot::Sender<()> },
    /// What a service hands over.
    Told { records: Vec<AuditRecord>, reply: Reply },
    /// What this service says itself, unless the log has it: by its cause.
    Own(Box<AuditRecord>),
}

/// Answers whoever handed facts over, when they are on disk.
pub(crate) type Reply = oneshot::Sender<Result<Vec<AuditReceipt>, Error>>;

/// What the parts share.
#[derive(Clone)]
pub(crate) struct Ctx(Arc<Shared>);

impl std::ops::Deref for Ctx {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

pub(crate) struct Shared {
    pub config: Arc<AuditConfig>,
    pub bus: Bus,
    pub clock: Clock,
    pub health: Health,
    pub tasks: chassis::Tasks,
    pub stopping: CancellationToken,
    pub counts: metrics::Counts,
    pub index: Index,
    pub keys: Vec<VerifyingKey>,
    pub policy: Option<Policy>,
    pub inputs: mpsc::Sender<Input>,
    /// Leaves that are on disk.
    pub accepted: watch::Sender<u64>,
    /// Leaves that a signed checkpoint covers.
    pub included: watch::Sender<u64>,
    /// Leaves that can be searched.
    pub searchable: watch::Sender<u64>,
    /// Someone waits for a checkpoint.
    pub sign: Notify,
    pub recent: Mutex<Recent>,
    pub counted: Mutex<Counted>,
    /// Why nothing is taken now, and what says so to whoever asks for readiness.
    pub trouble: Mutex<Option<(String, chassis::Latch)>>,
    /// When it was last sure that this copy is the writer.
    pub sure: Mutex<tokio::time::Instant>,
    /// Why a person should look.
    pub alarms: Mutex<std::collections::BTreeMap<&'static str, String>>,
    /// Held while the checkpoint's file is written.
    pub showing: Mutex<()>,
    /// The newest checkpoint that met the policy, which asks for witnesses.
    pub cosigned: watch::Sender<Option<SignedCheckpoint>>,
}

impl Shared {
    /// There are witnesses that are asked to cosign.
    pub fn asks_witnesses(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.witnesses().any(|(_, _, url)| url.is_some()))
    }

    /// The folder a web server may show.
    pub fn public_folder(&self) -> PathBuf {
        self.config.state_dir.join("log")
    }

    /// Reads what is signed.
    pub fn reader(&self) -> ledger::store::Reader {
        ledger::store::Reader::new(self.public_folder(), *self.included.borrow())
    }

    /// Why nothing is taken now.
    pub fn refuses(&self) -> Option<String> {
        let unsure = self.sure.lock().elapsed();
        if unsure > fence::LEASE {
            return Some(format!("for {} s nobody confirmed that this copy is the writer", unsure.as_secs()));
        }
        self.trouble.lock().as_ref().map(|(why, _)| why.clone())
    }

    /// This copy is the writer, as of now.
    pub fn confirmed(&self) {
        *self.sure.lock() = tokio::time::Instant::now();
    }

    /// Sets or clears an alarm.
    pub fn alarm(&self, about: &'static str, why: Option<String>) {
        let mut alarms = self.alarms.lock();
        match why {
            Some(why) => {
                if alarms.insert(about, why.clone()).is_none() {
                    tracing::error!(about, why, "the audit log needs a person");
                }
            }
            None => {
                alarms.remove(about);
            }
        }
    }
}

/// Opens the log, claims it, and starts all parts. What was accepted before is signed when this returns.
pub(crate) async fn begin(service: &Service<AuditConfig>) -> Result<Ctx, Error> {
    let config = Arc::clone(&service.config);
    let folder = config.state_dir.clone();
    let held = hold(&folder)?;
    let keys = keys::of_log(&folder.join("keys"), &config.origin)?;
    let public: Vec<VerifyingKey> = keys.iter().map(|key| key.verifying_key().clone()).collect();
    write_policy(&folder, &public)?;
    let policy = config.policy.as_deref().map(keys::read_policy).transpose()?;
    let index = Index::open(&config.database, &folder, &config.origin).await?;
    let opened = {
        let (folder, origin) = (folder.clone(), config.origin.clone());
        blocking(move || log::open(&folder, &origin, keys)).await??
    };

    let (inputs, waiting) = mpsc::channel(WAITING);
    let included = opened.integrator.store().shown()?.map_or(0, |shown| shown.unverified().size);
    let searchable = index.size().await?;
    let ctx = Ctx(Arc::new(Shared {
        bus: service.bus.clone(),
        clock: service.clock.clone(),
        health: service.health.clone(),
        tasks: service.tasks.clone(),
        stopping: service.stopping(),
        counts: metrics::Counts::new(&service.metrics),
        index,
        keys: public,
        policy,
        inputs,
        accepted: watch::Sender::new(opened.writer.next()),
        included: watch::Sender::new(included),
        searchable: watch::Sender::new(searchable),
        sign: Notify::new(),
        recent: Mutex::default(),
        counted: Mutex::new(opened.admission.counted().clone()),
        trouble: Mutex::default(),
        sure: Mutex::new(tokio::time::Instant::now()),
        alarms: Mutex::default(),
        showing: Mutex::default(),
        cosigned: watch::Sender::new(None),
        config,
    }));

    let signer = sign::Signer::claim(ctx.clone(), opened.integrator, service.replica.as_str()).await?;
    let streams = bus::heard_streams();
    let tasks = &service.tasks;
    let sequencer =
        sequence::Sequencer::new(ctx.clone(), opened.writer, opened.admission, opened.pending, signer);
    tasks.critical("sequence", async move {
        let ended = sequencer.run(waiting).await;
        drop(held);
        ended
    });
    for stream in streams {
        let ctx = ctx.clone();
        tasks.restarted(format!("hear {stream}"), Backoff::default(), move || {
            follow::hear(ctx.clone(), stream.clone())
        });
    }
    tasks.restarted("make searchable", Backoff::default(), with(&ctx, follow::index));
    if ctx.asks_witnesses() {
        tasks.restarted("ask witnesses", Backoff::default(), with(&ctx, witnesses::ask_all));
    }
    Ok(ctx)
}

fn with<F>(ctx: &Ctx, task: fn(Ctx) -> F) -> impl Fn() -> F + Send + 'static
where
    F: 'static,
{
    let ctx = ctx.clone();
    move || task(ctx.clone())
}

/// Keeps a second writer on this machine out for as long as it lives.
fn hold(folder: &std::path::Path) -> Result<nix::fcntl::Flock<std::fs::File>, Error> {
    let failed = |source| Error::File { what: format!("making {}", folder.display()), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = std::fs::File::create(folder.join("lock")).map_err(failed)?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|_| Error::Fenced(format!("it runs in {} already", folder.display())))
}

/// For whoever checks the log: its public keys as a policy without witnesses.
fn write_policy(folder: &std::path::Path, keys: &[VerifyingKey]) -> Result<(), Error> {
    let path = folder.join("log.policy");
    let lines: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    let text =
        format!("# who signs this log; add witnesses and a quorum to trust it less\n{lines}quorum none\n");
    if std::fs::read_to_string(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    std::fs::write(&path, text)
        .map_err(|source| Error::File { what: format!("writing {}", path.display()), source })
}

/// The fact in a leaf.
pub(crate) fn parse(index: u64, leaf: &[u8]) -> Result<AuditRecord, Error> {
    serde_json::from_slice(leaf)
        .map_err(|error| ledger::Error::Inconsistent(format!("entry {index} is not a fact: {error}")).into())
}
