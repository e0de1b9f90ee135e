//! One module: its table in force, and what outlives tables.

use std::{collections::BTreeMap, os::fd::OwnedFd, sync::Arc, time::Duration};

use hyper::header::HeaderValue;
use model::{Token, plan::Revision, route::RouteTable};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Shared,
    endpoint::Endpoint,
    listen::{Door, Listener, State},
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
    /// Assigned by [`super::assign::to`] after every change.
    pub(crate) ports: Ports,
    /// Where other modules reach it, by the name of its port.
    pub(crate) peers: BTreeMap<Token, Listener>,
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
        let (ports, peers) = (Ports::default(), BTreeMap::new());
        Ok(Module { table, live, counts, health, endpoints, ports, peers })
    }

    pub(crate) fn replace(&mut self, shared: &Arc<Shared>, table: RouteTable) -> Result<(), BadTable> {
        let router = Router::new(&table, &self.live.router.owners())?;
        self.counts.forget_but(router.revisions());
        self.live = enliven(shared, &table, router, &self.counts, &mut self.health, &mut self.endpoints);
        self.table = table;
        Ok(())
    }

    /// Opens what the table names for other modules, closes what it no longer does, and answers there with the table.
    pub(crate) fn open_to_peers(&mut self, shared: &Arc<Shared>) {
        let wanted = &self.table.peers;
        self.peers.retain(|name, open| wanted.get(name).is_some_and(|peer| peer.listen == open.port));
        for (name, peer) in wanted {
            let door = Door::Peers(name.clone());
            let open = || Listener::open(shared, peer.listen, shared.number(), door);
            self.peers.entry(name.clone()).or_insert_with(open).publish(Some(Arc::clone(&self.live)));
        }
    }

    /// From now on nobody is served here.
    pub(crate) fn close(&self) {
        self.ports.publish(None);
        self.peers.values().for_each(|open| open.publish(None));
    }

    fn states(&self) -> impl Iterator<Item = State> {
        let clients = (!self.table.internal).then(|| self.ports.state());
        clients.into_iter().chain(self.peers.values().map(Listener::state))
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.states().any(|state| state == State::Opening)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.states().any(|state| matches!(state, State::Failed(_)))
    }

    /// Further handles of the ports that are open.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = OwnedFd> {
        self.ports.sockets().chain(self.peers.values().filter_map(Listener::socket))
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
    let peers = table.peers.iter().filter(|(_, peer)| peer.http);
    Arc::new(Live {
        version: table.version,
        route,
        router,
        revisions,
        timeout,
        counts: Arc::clone(counts),
        http: peers.map(|(name, _)| name.clone()).collect(),
    })
}
