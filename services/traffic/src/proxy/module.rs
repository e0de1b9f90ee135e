//! One module: its table in force, and what outlives tables.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hyper::header::HeaderValue;
use model::{plan::Revision, route::RouteTable};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Shared,
    endpoint::Endpoint,
    live::{Health, Live, LiveRevision},
    ports::Ports,
};
use crate::{
    budget::Budget,
    count::ModuleCounts,
    eject::Outliers,
    route::{BadTable, Router},
};

/// Retries per 10 s and revision that need not be earned.
const FREE_RETRIES: u64 = 10;
/// Longer request timeouts are taken as this one: a bound that is no bound holds connections for ever.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// A module that is served.
pub(crate) struct Module {
    pub(crate) table: RouteTable,
    pub(crate) live: Arc<Live>,
    pub(crate) counts: Arc<ModuleCounts>,
    health: BTreeMap<Revision, Arc<Mutex<Health>>>,
    pub(crate) endpoints: Vec<(Revision, Arc<Endpoint>)>,
    /// Assigned by [`super::ports::assign`] after every change.
    pub(crate) ports: Ports,
}

impl Module {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        table: RouteTable,
        owners: &[Revision],
    ) -> Result<Module, BadTable> {
        let router = Router::new(&table, owners)?;
        let counts = Arc::new(ModuleCounts::new(table.target.clone(), table.module.clone()));
        let (mut health, mut endpoints) = (BTreeMap::new(), Vec::new());
        let live = enliven(shared, &table, router, &counts, &mut health, &mut endpoints);
        Ok(Module { table, live, counts, health, endpoints, ports: Ports::default() })
    }

    pub(crate) fn replace(&mut self, shared: &Arc<Shared>, table: RouteTable) -> Result<(), BadTable> {
        let router = Router::new(&table, &self.live.router.owners())?;
        self.counts.forget_but(router.revisions());
        self.live = enliven(shared, &table, router, &self.counts, &mut self.health, &mut self.endpoints);
        self.table = table;
        Ok(())
    }

    fn is_named(&self, revision: &Revision, endpoint: &Endpoint) -> bool {
        self.table.endpoints.get(revision).is_some_and(|all| all.contains(&endpoint.is))
    }

    pub(crate) fn forget_drained(&mut self) {
        let mut endpoints = std::mem::take(&mut self.endpoints);
        endpoints
            .retain(|(revision, endpoint)| endpoint.in_flight() > 0 || self.is_named(revision, endpoint));
        self.endpoints = endpoints;
        let kept: Vec<u64> = self.endpoints.iter().map(|(_, endpoint)| endpoint.id).collect();
        self.health.retain(|revision, health| {
            health.lock().outliers.retain(|id| kept.contains(id));
            self.endpoints.iter().any(|(of, _)| of == revision)
        });
    }
}

/// Makes a table ready for the hot path, with what is known already of its instances.
fn enliven(
    shared: &Arc<Shared>,
    table: &RouteTable,
    router: Router,
    counts: &Arc<ModuleCounts>,
    health: &mut BTreeMap<Revision, Arc<Mutex<Health>>>,
    endpoints: &mut Vec<(Revision, Arc<Endpoint>)>,
) -> Arc<Live> {
    let settings = &shared.settings;
    let mut revisions = Vec::new();
    for revision in router.revisions() {
        let mut live = Vec::new();
        for is in table.endpoints.get(revision).into_iter().flatten() {
            let known = endpoints.iter().find(|(of, endpoint)| of == revision && endpoint.is == *is);
            let endpoint = known.map(|(_, endpoint)| Arc::clone(endpoint)).unwrap_or_else(|| {
                let new = Arc::new(Endpoint::new(shared.number(), is.clone(), settings, &shared.upstreams));
                endpoints.push((revision.clone(), Arc::clone(&new)));
                new
            });
            endpoint.enlist();
            live.push(endpoint);
        }
        let fresh = || Health {
            outliers: Outliers::new(settings.ejection),
            budget: Budget::new(settings.retry_percent, FREE_RETRIES, Instant::now()),
        };
        revisions.push(LiveRevision {
            name: revision.clone(),
            header: HeaderValue::try_from(revision.as_str())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            endpoints: live,
            counts: counts.of(revision),
            health: Arc::clone(
                health.entry(revision.clone()).or_insert_with(|| Arc::new(Mutex::new(fresh()))),
            ),
            epoch: shared.epoch,
        });
    }
    for (revision, endpoint) in endpoints.iter() {
        if !table.endpoints.get(revision).is_some_and(|all| all.contains(&endpoint.is)) {
            endpoint.retire();
        }
    }
    let timeout = table.request_timeout.0.min(LONGEST_TIMEOUT);
    let route = format!("{}@{}", RouteTable::key(&table.target, &table.module), table.version);
    let route = HeaderValue::try_from(route).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
    Arc::new(Live { version: table.version, route, router, revisions, timeout, counts: Arc::clone(counts) })
}
