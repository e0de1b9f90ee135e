//! Journals of deployments and targets: load, append, and the targets as far as they were folded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bus::{AppendError, Bus, Entry, subjects};
use model::{DeploymentId, Event, Record, ReplicaId, TargetId, Timestamp, target::TargetEvent};
use tokio::sync::watch;

use crate::{
    error::{Attempt, Error},
    heart::{
        state::Deployment,
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

/// One record that says `events`, on top of what `deployment` folded.
pub fn record(deployment: &Deployment, events: Vec<Event>, writer: &ReplicaId, at: Timestamp) -> Record {
    Record {
        id: deployment.id.to_string(),
        version: deployment.version + 1,
        writer: writer.to_string(),
        at,
        trace: None,
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
    target: Arc<watch::Sender<Arc<Target>>>,
    /// One writer of this replica at a time; others are held off by compare-and-set.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Targets {
    /// No targets yet.
    pub fn new(bus: Bus, me: ReplicaId) -> Targets {
        Targets { bus, me, cells: Arc::default() }
    }

    fn cell(&self, token: &str) -> (Cell, bool) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cells.contains_key(token);
        let fresh = || Cell { target: Arc::new(watch::Sender::new(Arc::default())), writing: Arc::default() };
        (cells.entry(token.to_owned()).or_insert_with(fresh).clone(), known)
    }

    /// The target and its changes. Loaded from its journal when it was not known yet.
    pub async fn watch(&self, id: &TargetId) -> Result<watch::Receiver<Arc<Target>>, Error> {
        let token = id.token();
        let (cell, known) = self.cell(&token);
        if !known {
            self.reload(&token, &cell).await?;
        }
        Ok(cell.target.subscribe())
    }

    async fn reload(&self, token: &str, cell: &Cell) -> Result<(), Error> {
        let entries =
            self.bus.load(&subjects::target::JOURNAL, token).await.attempt("load a target's journal")?;
        let mut target = Target::default();
        for entry in &entries {
            fold_target(&mut target, entry);
        }
        cell.target.send_if_modified(|now| {
            let newer = target.version > now.version;
            if newer {
                *now = Arc::new(target);
            }
            newer
        });
        Ok(())
    }

    /// A record came by while following. A gap is healed by loading.
    pub async fn heard(&self, entry: &Entry<TargetEvent>) -> Result<(), Error> {
        let (cell, known) = self.cell(&entry.record.id);
        let mut gap = !known;
        cell.target.send_if_modified(|now| {
            if entry.record.version <= now.version {
                return false;
            }
            if entry.record.version != now.version + 1 {
                gap = true;
                return false;
            }
            let mut target = (**now).clone();
            fold_target(&mut target, entry);
            *now = Arc::new(target);
            true
        });
        if gap { self.reload(&entry.record.id, &cell).await } else { Ok(()) }
    }

    /// Makes the target's journal say so, if it does not yet.
    pub async fn wish(&self, id: &TargetId, wish: &Wish, now: Timestamp) -> Result<(), Error> {
        let mut watch = self.watch(id).await?;
        let token = id.token();
        let (cell, _) = self.cell(&token);
        let _writing = cell.writing.lock().await;
        for _ in 0..100 {
            let target = watch.borrow_and_update().clone();
            let events = target.decide(wish, now)?;
            if events.is_empty() {
                return Ok(());
            }
            let record = Record {
                id: token.clone(),
                version: target.version + 1,
                writer: self.me.to_string(),
                at: now,
                trace: None,
                events,
            };
            match self.bus.append(&subjects::target::JOURNAL, &token, &record, target.seq).await {
                Ok(seq) => return self.heard(&Entry { seq, record }).await,
                Err(AppendError::Raced) => self.reload(&token, &cell).await?,
                Err(source) => return Err(Error::Append { id: token, source }),
            }
        }
        Err(Error::Append { id: token, source: AppendError::Raced })
    }

    /// Every target that is held by a deployment, as far as known.
    pub fn held(&self) -> Vec<(String, DeploymentId)> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = |cell: &Cell| cell.target.borrow().holder.clone();
        cells.iter().filter_map(|(token, cell)| Some((token.clone(), holder(cell)?.0))).collect()
    }
}

fn fold_target(target: &mut Target, entry: &Entry<TargetEvent>) {
    for event in &entry.record.events {
        target.evolve(event);
    }
    target.version = entry.record.version;
    target.seq = entry.seq;
}
