//! What is counted per revision. Counting is a handful of atomic additions; reading goes on beside it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use model::{
    TargetId, Timestamp, Token,
    plan::Revision,
    route::{RevisionCount, TrafficCount},
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Revisions no table names any more are forgotten, once drained, when a module has more than this many.
const REMEMBERED: usize = 32;

/// Counts of one revision since the plane began. Cumulative.
pub(crate) struct RevisionCounts {
    requests: AtomicU64,
    errors: AtomicU64,
    retried: AtomicU64,
    in_flight: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
    connected: AtomicU64,
    ejections: AtomicU64,
    microseconds: AtomicU64,
    latency: Box<[AtomicU64]>,
}

impl RevisionCounts {
    fn new() -> RevisionCounts {
        RevisionCounts {
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            microseconds: AtomicU64::new(0),
            latency: (0..stats::histogram::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    /// No instance took a connection.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn ejected(&self) {
        self.ejections.fetch_add(1, Relaxed);
    }

    /// Instances ejected so far.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// Time spent on all requests together, in microseconds.
    pub(crate) fn microseconds(&self) -> u64 {
        self.microseconds.load(Relaxed)
    }

    pub(crate) fn read(&self) -> RevisionCount {
        let filled = |(index, count): (usize, &AtomicU64)| match count.load(Relaxed) {
            0 => None,
            count => Some((index as u32, count)),
        };
        RevisionCount {
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            retried: self.retried.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            connections: self.connections.load(Relaxed),
            refused: self.refused.load(Relaxed),
            connected: self.connected.load(Relaxed),
            latency: self.latency.iter().enumerate().filter_map(filled).collect(),
        }
    }
}

/// One request being counted: in flight until this is dropped, which is when the answer's last byte was handed on.
///
/// A client that gives up before it is answered counts as a request that took as long as it waited, and not as an
/// error: a revision so slow that clients give up shows in the latency rather than nowhere.
pub(crate) struct Tally {
    /// None: it is not counted.
    counts: Option<Arc<RevisionCounts>>,
    began: Instant,
    failed: bool,
}

impl Tally {
    pub(crate) fn new(counts: &Arc<RevisionCounts>, began: Instant) -> Tally {
        counts.in_flight.fetch_add(1, Relaxed);
        Tally { counts: Some(Arc::clone(counts)), began, failed: false }
    }

    /// For a question of the engine's own: what is measured is what clients meet.
    pub(crate) fn nowhere(began: Instant) -> Tally {
        Tally { counts: None, began, failed: false }
    }

    /// It ends in an error.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let took = self.began.elapsed().as_micros().min(u128::from(u64::MAX)) as u64;
        let Some(counts) = &self.counts else { return };
        counts.requests.fetch_add(1, Relaxed);
        counts.errors.fetch_add(u64::from(self.failed), Relaxed);
        counts.microseconds.fetch_add(took, Relaxed);
        if let Some(bucket) = counts.latency.get(stats::histogram::bucket_of(took) as usize) {
            bucket.fetch_add(1, Relaxed);
        }
        counts.in_flight.fetch_sub(1, Relaxed);
    }
}

/// One connection of another module being counted: open until this is dropped.
pub(crate) struct Carried(Arc<RevisionCounts>);

impl Carried {
    pub(crate) fn new(counts: &Arc<RevisionCounts>) -> Carried {
        counts.connections.fetch_add(1, Relaxed);
        counts.connected.fetch_add(1, Relaxed);
        Carried(Arc::clone(counts))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Relaxed);
    }
}

/// Counts of one module.
pub(crate) struct ModuleCounts {
    pub(crate) target: TargetId,
    pub(crate) module: Token,
    unroutable: AtomicU64,
    revisions: Mutex<BTreeMap<Revision, Arc<RevisionCounts>>>,
}

impl ModuleCounts {
    pub(crate) fn new(target: TargetId, module: Token) -> ModuleCounts {
        ModuleCounts { target, module, unroutable: AtomicU64::new(0), revisions: Mutex::default() }
    }

    pub(crate) fn unroutable(&self) {
        self.unroutable.fetch_add(1, Relaxed);
    }

    /// The counts of a revision, from zero if it is new here.
    pub(crate) fn of(&self, revision: &Revision) -> Arc<RevisionCounts> {
        let mut revisions = self.revisions.lock();
        Arc::clone(revisions.entry(revision.clone()).or_insert_with(|| Arc::new(RevisionCounts::new())))
    }

    /// Forgets what is neither named, nor in flight, nor recent enough to be asked for.
    pub(crate) fn forget_but(&self, named: &[Revision]) {
        let mut revisions = self.revisions.lock();
        if revisions.len() > REMEMBERED {
            revisions.retain(|revision, counts| named.contains(revision) || counts.read().under_way().0 > 0);
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<Revision, Arc<RevisionCounts>> {
        self.revisions.lock().clone()
    }

    pub(crate) fn unroutable_so_far(&self) -> u64 {
        self.unroutable.load(Relaxed)
    }

    /// What is said on the bus.
    pub(crate) fn said(
        &self,
        plane: &str,
        version: u64,
        at: Timestamp,
        closed: Option<String>,
    ) -> TrafficCount {
        TrafficCount {
            plane: plane.to_owned(),
            target: self.target.clone(),
            module: self.module.clone(),
            version,
            at,
            revisions: self.all().into_iter().map(|(revision, counts)| (revision, counts.read())).collect(),
            unroutable: self.unroutable_so_far(),
            closed,
        }
    }
}
