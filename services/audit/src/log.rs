//! The log on disk: what is accepted goes to the journal with one fsync per batch, and from there into the tiles.
//!
//! A kill between any two steps loses nothing that was acknowledged and repeats nothing: the journal's frames carry the
//! counts of their sources, and the tiles' state carries those as of its own size.

use std::{borrow::Borrow, path::Path, sync::Arc};

use ledger::{Frame, Journal, SignedCheckpoint, SigningKey, Store};

use crate::{
    Error,
    heart::admit::{Admission, Counted},
};

/// Called at every point where the process may be killed, with the point's name; an error ends there. For tests.
pub type Points = Arc<dyn Fn(&'static str) -> Result<(), Error> + Send + Sync>;

/// No point is special.
pub fn no_points() -> Points {
    Arc::new(|_| Ok(()))
}

/// Accepts batches.
#[derive(Debug)]
pub struct Writer {
    journal: Journal,
    next: u64,
}

/// Puts accepted batches into the tiles and signs.
#[derive(Debug)]
pub struct Integrator {
    store: Store,
    counted: Counted,
    origin: String,
    keys: Arc<Vec<SigningKey>>,
}

/// An opened log.
#[derive(Debug)]
pub struct Opened {
    /// Accepts.
    pub writer: Writer,
    /// Integrates and signs.
    pub integrator: Integrator,
    /// What is kept so far.
    pub admission: Admission,
    /// What was accepted and is not integrated.
    pub pending: Vec<Frame>,
}

/// Opens or begins the log in a folder.
pub fn open(folder: &Path, origin: &str, keys: Vec<SigningKey>) -> Result<Opened, Error> {
    let (store, counted) = Store::open::<Counted>(folder)?;
    let (journal, frames) = Journal::open(folder.join("journal"))?;
    let mut next = store.size();
    let mut all = counted.clone();
    let mut pending = Vec::new();
    for frame in frames {
        let end = frame.start + frame.entries.len() as u64;
        if end <= store.size() && !(frame.entries.is_empty() && frame.start == next) {
            continue;
        }
        if frame.start != next {
            let why = format!("the journal goes on at entry {}, the tiles end at {next}", frame.start);
            return Err(ledger::Error::Inconsistent(why).into());
        }
        all.merge(delta_of(&frame)?);
        next = end;
        pending.push(frame);
    }
    Ok(Opened {
        writer: Writer { journal, next },
        integrator: Integrator { store, counted, origin: origin.to_owned(), keys: Arc::new(keys) },
        admission: Admission::new(all),
        pending,
    })
}

fn delta_of(frame: &Frame) -> Result<Counted, Error> {
    let read = serde_json::from_slice(&frame.state);
    read.map_err(|error| {
        ledger::Error::Inconsistent(format!("the counts at entry {} cannot be read: {error}", frame.start))
            .into()
    })
}

impl Writer {
    /// The index of the next leaf.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The batch that these leaves and counts will be.
    pub fn frame(&self, leaves: Vec<Vec<u8>>, delta: &Counted) -> Frame {
        Frame { start: self.next, entries: leaves, state: serde_json::to_vec(delta).unwrap_or_default() }
    }

    /// Keeps a batch: it is on disk when this returns.
    pub fn accept(&mut self, frame: &Frame, points: &Points) -> Result<(), Error> {
        points("before the journal")?;
        self.journal.append(frame)?;
        points("after the journal")?;
        self.next = frame.start + frame.entries.len() as u64;
        Ok(())
    }

    /// What is accepted from now on stands apart from what is integrated next.
    pub fn rotate(&mut self) -> Result<(), Error> {
        Ok(self.journal.rotate(self.next)?)
    }

    /// What stood apart is in the tiles.
    pub fn forget(&self, points: &Points) -> Result<(), Error> {
        points("before the journal is dropped")?;
        self.journal.drop_older()?;
        points("after the journal is dropped")
    }
}

impl Integrator {
    /// How many leaves are in the tiles.
    pub fn size(&self) -> u64 {
        self.store.size()
    }

    /// The tiles.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The keys that sign.
    pub fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// Puts batches into the tiles. After an error nothing of it counts; see [`Integrator::reopen`].
    pub fn integrate<F: Borrow<Frame>>(&mut self, frames: &[F], points: &Points) -> Result<(), Error> {
        points("before the tiles")?;
        let mut counted = self.counted.clone();
        let mut entries = Vec::new();
        for frame in frames.iter().map(Borrow::borrow) {
            counted.merge(delta_of(frame)?);
            entries.extend(&frame.entries);
        }
        self.store.integrate(&entries, &counted)?;
        self.counted = counted;
        points("after the tiles")
    }

    /// Reads what is on disk again, after a failed write.
    pub fn reopen(&mut self, folder: &Path) -> Result<(), Error> {
        (self.store, self.counted) = Store::open::<Counted>(folder)?;
        Ok(())
    }

    /// Signs what is in the tiles and shows it. `time`: seconds since 1970.
    pub fn publish(&self, time: u64, points: &Points) -> Result<SignedCheckpoint, Error> {
        points("before signing")?;
        let signed = self.store.publish(&self.origin, &self.keys, time)?;
        points("after signing")?;
        Ok(signed)
    }
}
