//! A table in force: what the hot path reads. Never changed; a new table is a new one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hyper::header::HeaderValue;
use model::{Token, plan::Revision};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{endpoint::Endpoint, millis_since};
use crate::{
    budget::Budget,
    count::{ModuleCounts, RevisionCounts},
    eject::Outliers,
    route::{Router, pick},
};

pub(crate) struct Live {
    pub(crate) version: u64,
    /// The table's key and version, ready to be sent.
    pub(crate) route: HeaderValue,
    pub(crate) router: Router,
    /// In the order of [`Router::revisions`].
    pub(crate) revisions: Vec<LiveRevision>,
    pub(crate) timeout: Duration,
    pub(crate) counts: Arc<ModuleCounts>,
    /// At which ports other modules speak HTTP.
    pub(crate) http: BTreeSet<Token>,
}

pub(crate) struct LiveRevision {
    pub(crate) name: Revision,
    /// The name, ready to be sent.
    pub(crate) header: HeaderValue,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) counts: Arc<RevisionCounts>,
    pub(crate) health: Arc<Mutex<Health>>,
    pub(crate) epoch: Instant,
}

/// What is known of a revision's failures; outlives tables. Looked at only when something fails.
pub(crate) struct Health {
    pub(crate) outliers: Outliers<u64>,
    pub(crate) budget: Budget,
}

/// The instances one request was sent to, at most one more than it may be retried.
#[derive(Default)]
pub(crate) struct Tried {
    ids: [u64; 4],
    count: usize,
}

impl Tried {
    pub(crate) fn add(&mut self, id: u64) {
        if let Some(place) = self.ids.get_mut(self.count) {
            *place = id;
            self.count += 1;
        }
    }

    fn has(&self, id: u64) -> bool {
        self.ids[..self.count].contains(&id)
    }
}

impl LiveRevision {
    /// An instance for the next try: one not tried yet and not ejected, else one not tried yet, else any.
    pub(crate) fn pick(&self, tried: &Tried, now_ms: u64, random: u64) -> Option<usize> {
        let all = &self.endpoints;
        let in_flight = |at: usize| all[at].in_flight();
        let fresh = |at: usize| !tried.has(all[at].id);
        pick(all.len(), |at| fresh(at) && !all[at].is_ejected(now_ms), in_flight, random)
            .or_else(|| pick(all.len(), fresh, in_flight, random))
            .or_else(|| pick(all.len(), |_| true, in_flight, random))
    }

    pub(crate) fn failed(&self, endpoint: &Endpoint, now: Instant) {
        endpoint.suspect.store(true, std::sync::atomic::Ordering::Relaxed);
        let ejected = self.health().outliers.failed(&endpoint.id, self.endpoints.len(), now);
        if let Some(until) = ejected {
            endpoint.eject(millis_since(self.epoch, until));
            self.counts.ejected();
            let seconds = until.saturating_duration_since(now).as_secs();
            tracing::warn!(revision = %self.name, instance = endpoint.is.instance, seconds, "instance ejected");
        }
    }

    pub(crate) fn succeeded(&self, endpoint: &Endpoint) {
        // A plain load first: a store would take the cache line from the other cores with every request.
        if endpoint.suspect.load(std::sync::atomic::Ordering::Relaxed) {
            endpoint.suspect.store(false, std::sync::atomic::Ordering::Relaxed);
            self.health().outliers.succeeded(&endpoint.id);
        }
    }

    /// Takes one retry out of the budget.
    pub(crate) fn may_retry(&self, now: Instant) -> bool {
        self.health().budget.spend(self.counts.requests(), now)
    }

    fn health(&self) -> parking_lot::MutexGuard<'_, Health> {
        self.health.lock()
    }
}
