//! Journals of deployments and targets: load, append, and the targets as far as they were folded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bus::{AppendError, Bus, Entry, subjects};
use futures::{StreamExt, stream};
use model::{DeploymentId, Event, Record, ReplicaId, TargetId, Timestamp, target::TargetEvent};
use tokio::sync::{OnceCell, watch};

use crate::{
    error::{Attempt, Error},
    heart::{
        state::{BadJournal, Deployment},
        target::{Target, Wish},
    },
};

/// Folds a deployment from its journal; none when there is no journal.
pub async fn load(bus: &Bus, id: &DeploymentId) -> Result<Option<Deployment>, Error> {
    let entries =
        bus.load(&subjects::deployment::JOURNAL, id.as_str()).await.attempt("load a deployment's journal")?;
    fold(&entries)
}

fn fold(entries: &[Entry<Event>]) -> Result<Option<Deployment>, Error> {
    let Some((first, rest)) = entries.split_first() else { return Ok(None) };
    let mut deployment = Deployment::begin(&first.record, first.seq)?;
    for entry in rest {
        deployment.fold(&entry.record, entry.seq)?;
    }
    Ok(Some(deployment))
}

/// Folds what the journal holds beyond what was folded; one look when there is nothing.
pub async fn catch_up(bus: &Bus, deployment: &mut Deployment) -> Result<(), Error> {
    let journal = &subjects::deployment::JOURNAL;
    let entries = bus.load_after(journal, deployment.id.as_str(), deployment.seq).await;
    for entry in entries.attempt("catch up with a deployment's journal")? {
        deployment.fold(&entry.record, entry.seq)?;
    }
    Ok(())
}

/// One record that says `events`, on top of what `deployment` folded.
pub fn record(deployment: &Deployment, events: Vec<Event>, writer: &ReplicaId, at: Timestamp) -> Record {
    Record {
        id: deployment.id.to_string(),
        version: deployment.version + 1,
        writer: writer.to_string(),
        at,
        trace: deployment.trace.clone(),
        events,
    }
}

/// All targets, folded as their journals are followed. A cell is made when a target is first named.
#[derive(Clone)]
pub struct Targets {
    bus: Bus,
    me: ReplicaId,
    cells: Arc<Mutex<HashMap<String, Cell>>>,
}

#[derive(Clone)]
struct Cell {
    token: Arc<str>,
    target: Arc<watch::Sender<Arc<Target>>>,
    /// Its journal was read once. Until then nobody is shown the target.
    loaded: Arc<OnceCell<()>>,
    /// One writer of this replica at a time; others are held off by compare-and-set.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Targets {
    /// No targets yet.
    pub fn new(bus: Bus, me: ReplicaId) -> Targets {
        Targets { bus, me, cells: Arc::default() }
    }

    async fn cell(&self, token: &str) -> Result<Cell, Error> {
        let cell = {
            let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Cell {
                token: token.into(),
                target: Arc::new(watch::Sender::new(Arc::default())),
                loaded: Arc::default(),
                writing: Arc::default(),
            };
            cells.entry(token.to_owned()).or_insert_with(fresh).clone()
        };
        cell.loaded.get_or_try_init(|| self.catch_up(&cell)).await?;
        Ok(cell)
    }

    /// The target and its changes, from its journal.
    pub async fn watch(&self, id: &TargetId) -> Result<watch::Receiver<Arc<Target>>, Error> {
        Ok(self.cell(&id.token()).await?.target.subscribe())
    }

    /// The target as its journal has it now, also for those who watch it.
    pub async fn fresh(&self, id: &TargetId) -> Result<Arc<Target>, Error> {
        let cell = self.cell(&id.token()).await?;
        self.catch_up(&cell).await?;
        let target = cell.target.borrow().clone();
        Ok(target)
    }

    /// Folds what the target's journal holds beyond what was folded.
    async fn catch_up(&self, cell: &Cell) -> Result<(), Error> {
        let seq = cell.target.borrow().seq;
        let entries = self.bus.load_after(&subjects::target::JOURNAL, &cell.token, seq).await;
        for entry in entries.attempt("load a target's journal")? {
            if !fold_into(cell, &entry) {
                let (last, found) = (cell.target.borrow().version, entry.record.version);
                return Err(BadJournal::Gap { id: cell.token.to_string(), last, found }.into());
            }
        }
        Ok(())
    }

    /// A record came by while following. A gap is healed by loading.
    pub async fn heard(&self, entry: &Entry<TargetEvent>) -> Result<(), Error> {
        let cell = self.cell(&entry.record.id).await?;
        if fold_into(&cell, entry) { Ok(()) } else { self.catch_up(&cell).await }
    }

    /// Looks at the journal of every target that is known. What cannot be read is logged.
    pub async fn look_again(&self) {
        let cells: Vec<Cell> = {
            let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            cells.values().cloned().collect()
        };
        let look = |cell: Cell| async move {
            if let Err(error) = self.catch_up(&cell).await {
                let cause = chassis::chain(&error);
                tracing::warn!(target = %cell.token, cause, "a target was left out of this sweep");
            }
        };
        stream::iter(cells).for_each_concurrent(16, look).await;
    }

    /// Makes the target's journal say so, if it does not yet.
    pub async fn wish(
        &self,
        id: &TargetId,
        wish: &Wish,
        now: Timestamp,
        trace: Option<&str>,
    ) -> Result<(), Error> {
        let token = id.token();
        let cell = self.cell(&token).await?;
        let _writing = cell.writing.lock().await;
        for _ in 0..100 {
            let target = cell.target.borrow().clone();
            let events = target.decide(wish, now)?;
            if events.is_empty() {
                return Ok(());
            }
            let record = Record {
                id: token.clone(),
                version: target.version + 1,
                writer: self.me.to_string(),
                at: now,
                trace: trace.map(str::to_owned),
                events,
            };
            match self.bus.append(&subjects::target::JOURNAL, &token, &record, target.seq).await {
                Ok(seq) => return self.heard(&Entry { seq, record }).await,
                Err(AppendError::Raced) => self.catch_up(&cell).await?,
                Err(source) => return Err(Error::Append { id: token, source }),
            }
        }
        Err(Error::Append { id: token, source: AppendError::Raced })
    }

    /// Every deployment that holds a target or waits for one, as far as known.
    pub fn waiting(&self) -> Vec<DeploymentId> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let targets = cells.values().map(|cell| cell.target.borrow().clone());
        targets
            .flat_map(|target| {
                let holder = target.holder.iter().map(|(holder, _)| holder.clone());
                holder.chain(target.queue.iter().cloned()).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// False: records are missing in between. One that was folded before changes nothing.
fn fold_into(cell: &Cell, entry: &Entry<TargetEvent>) -> bool {
    let mut gap = false;
    cell.target.send_if_modified(|now| {
        gap = entry.record.version > now.version + 1;
        if gap || entry.record.version <= now.version {
            return false;
        }
        let mut target = (**now).clone();
        for event in &entry.record.events {
            target.evolve(event);
        }
        target.version = entry.record.version;
        target.seq = entry.seq;
        *now = Arc::new(target);
        true
    });
    !gap
}
