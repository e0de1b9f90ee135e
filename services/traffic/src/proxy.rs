//! The data plane itself: ports, tables in force, and the way of requests between them.
//!
//! It knows nothing of NATS. [`Plane::apply`] puts a table in force at once: requests that begin afterwards follow
//! it, requests in flight end where they are.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::client::conn::http1;
use hyper_util::server::conn::auto;
use model::{
    Timestamp, Token,
    plan::Revision,
    route::{RouteTable, TrafficCount},
};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    count::{ModuleCounts, RevisionCounts},
    eject::Rules,
    route::BadTable,
};

mod activity;
mod alarm;
mod answer;
mod assign;
mod body;
mod check;
mod endpoint;
mod forward;
mod forwarded;
mod head;
mod listen;
mod live;
mod module;
mod pass;
mod ports;
mod upgrade;
mod upstream;

pub use head::{DOOR, INSTANCE, REVISION, ROUTE};

use activity::{Directory, Order};
use endpoint::Endpoint;
use listen::State;
use module::Module;

/// How often idle connections on both sides are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a connection may overstay before it is cut off.
const OVERSTAY: Duration = Duration::from_secs(10);
/// How often a plane that leaves looks whether all connections have ended.
const LEAVING: Duration = Duration::from_millis(50);
/// Refusals being said at a time.
const REFUSALS: usize = 64;
/// What is read of an instance's answer at once, at most. hyper's own default.
const LEAST_BUFFER: usize = 8192 + 4096 * 100;

/// The bounds of a plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where ports are opened.
    pub listen_address: IpAddr,
    /// Client connections at a time, over all ports. More are answered 503.
    pub max_connections: usize,
    /// Connections to instances at a time, over all of them. A request that would need one more is answered 503.
    pub max_instance_connections: usize,
    /// Largest body of a request in bytes. Larger ones are answered 413.
    pub max_body: u64,
    /// Largest head of a request in bytes, at least 8192. Larger ones are answered 431. Measured as HTTP/2 does (RFC
    /// 9113 section 6.5.2) on both versions: names and values of all fields, the method, the target and the host among
    /// them, and 32 bytes for each; so the number of fields has no limit of its own. An instance's answer has the
    /// same limit; a larger one is a 502.
    pub max_head: usize,
    /// Bound of opening one connection to an instance.
    pub connect_timeout: Duration,
    /// Further instances a request may be sent to. 0 to 3.
    pub retries: u32,
    /// Retries per hundred requests of a revision. 0 to 100.
    pub retry_percent: u8,
    /// Idle connections kept per instance.
    pub idle_per_instance: usize,
    /// How long an idle connection to an instance is kept.
    pub idle_timeout: Duration,
    /// How long a client may keep a connection without a request, or take to send a request's head.
    pub client_idle: Duration,
    /// How long nothing may be said on a connection of another module.
    pub peer_idle: Duration,
    /// When instances are ejected.
    pub ejection: Rules,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            max_connections: 10_000,
            max_instance_connections: 10_000,
            max_body: 1 << 30,
            max_head: 64 << 10,
            connect_timeout: Duration::from_secs(1),
            retries: 2,
            retry_percent: 20,
            idle_per_instance: 256,
            idle_timeout: Duration::from_secs(30),
            client_idle: Duration::from_secs(60),
            peer_idle: Duration::from_secs(3600),
            ejection: Rules::default(),
        }
    }
}

impl Settings {
    /// Fields that a head within the limit may have at most.
    fn most_fields(&self) -> usize {
        self.max_head / check::FIELD + 1
    }

    /// The same within a budget of open files: half for clients, half for instances. Says so when that is less than asked.
    pub fn within(mut self, files: u64) -> Settings {
        let half = usize::try_from(files / 2).unwrap_or(usize::MAX).max(1);
        for (what, asked) in
            [("clients", &mut self.max_connections), ("instances", &mut self.max_instance_connections)]
        {
            if *asked > half {
                tracing::warn!(
                    what,
                    asked,
                    bound = half,
                    "fewer connections at a time: open files are limited"
                );
                *asked = half;
            }
        }
        self
    }

    /// How clients are spoken to. What hyper itself refuses lies beyond what [`check`] refuses, so that a head gets
    /// the same answer over both versions.
    fn towards_clients(&self, tracker: &TaskTracker) -> auto::Builder<Spawner> {
        let mut server = auto::Builder::new(Spawner(tracker.clone()));
        server.http1().max_buf_size(self.max_head.max(8192)).max_headers(self.most_fields());
        server
            .http2()
            .max_header_list_size(u32::try_from(self.max_head.saturating_mul(2)).unwrap_or(u32::MAX))
            .max_concurrent_streams(250);
        server
    }

    /// How instances are spoken to.
    pub(crate) fn towards_instances(&self) -> http1::Builder {
        let mut client = http1::Builder::new();
        client.max_buf_size(self.max_head.max(LEAST_BUFFER)).max_headers(self.most_fields());
        client
    }
}

/// What became of a table that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is in force.
    Taken,
    /// It was in force already.
    Known,
    /// The one in force is newer or fenced higher; this one is ignored.
    Stale,
}

/// A table in force and who owns its slots: what a plane needs to go on where it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// The table.
    pub table: RouteTable,
    /// See [`crate::route::Router::owners`].
    pub owners: Vec<Revision>,
}

/// A data plane. Cheap to clone; clones are the same plane.
#[derive(Clone)]
pub struct Plane(Arc<Shared>);

pub(crate) struct Shared {
    settings: Settings,
    epoch: Instant,
    server: auto::Builder<Spawner>,
    modules: Mutex<BTreeMap<String, Module>>,
    numbers: AtomicU64,
    directory: Arc<Directory>,
    slots: Arc<Semaphore>,
    upstreams: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    refused: AtomicU64,
    tracker: TaskTracker,
    stopping: CancellationToken,
    /// Its end closes all ports and nothing else.
    accepting: CancellationToken,
    /// Another plane has the ports.
    leaving: AtomicBool,
    /// Open ports of the plane whose place this one takes.
    inherited: Mutex<Vec<TcpListener>>,
    abort: CancellationToken,
    changed: watch::Sender<u64>,
}

/// Ends a plane where it stands when dropped, as a crash would. After [`Plane::stop`] nothing is left to end.
#[must_use = "the plane ends when this is dropped"]
pub struct Cut(Plane);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// Lets hyper put the streams of an HTTP/2 connection on tasks that the plane waits for.
#[derive(Clone)]
struct Spawner(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Whole milliseconds from `epoch` to `instant`; 0 when it is earlier.
pub(crate) fn millis_since(epoch: Instant, instant: Instant) -> u64 {
    instant.saturating_duration_since(epoch).as_millis().min(u128::from(u64::MAX)) as u64
}

impl Plane {
    /// A plane without tables. Must be called on a tokio runtime; its tasks live until
    /// [`Plane::stop`].
    pub fn new(settings: Settings) -> Plane {
        let (tracker, stopping) = (TaskTracker::new(), CancellationToken::new());
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            server: settings.towards_clients(&tracker),
            modules: Mutex::default(),
            numbers: AtomicU64::new(1),
            directory: Arc::default(),
            slots: Arc::new(Semaphore::new(settings.max_connections)),
            upstreams: Arc::new(Semaphore::new(settings.max_instance_connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            refused: AtomicU64::new(0),
            tracker,
            accepting: stopping.child_token(),
            stopping,
            leaving: AtomicBool::new(false),
            inherited: Mutex::default(),
            abort: CancellationToken::new(),
            changed: watch::Sender::new(0),
            settings,
        });
        let sweeping = Arc::clone(&shared);
        let stopping = shared.stopping.clone();
        shared.tracker.spawn(async move {
            while stopping.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
                sweeping.sweep();
            }
        });
        Plane(shared)
    }

    /// Puts a table in force, unless a newer one is. A table that makes no sense is refused and changes nothing.
    pub fn apply(&self, table: RouteTable) -> Result<Applied, BadTable> {
        self.put(table, &[])
    }

    /// As [`Plane::apply`], with the slots as they were when the table was in force before.
    pub fn restore(&self, saved: InForce) -> Result<Applied, BadTable> {
        self.put(saved.table, &saved.owners)
    }

    fn put(&self, table: RouteTable, owners: &[Revision]) -> Result<Applied, BadTable> {
        let shared = &self.0;
        let key = RouteTable::key(&table.target, &table.module);
        let mut modules = shared.modules();
        let applied = match modules.get_mut(&key) {
            Some(module) if module.table == table => Applied::Known,
            // The fence outranks the version: where the bucket was lost, or an older copy of it was put back, versions
            // begin anew below the one in force.
            Some(module) if (table.fence, table.version) <= (module.table.fence, module.table.version) => {
                Applied::Stale
            }
            Some(module) => {
                module.replace(shared, table)?;
                Applied::Taken
            }
            None => {
                modules.insert(key.clone(), Module::new(shared, table, owners)?);
                Applied::Taken
            }
        };
        if applied == Applied::Taken {
            assign::to(shared, &mut modules, &key);
            assign::waiting(shared, &mut modules);
        }
        drop(modules);
        if applied == Applied::Taken {
            shared.changed.send_modify(|change| *change += 1);
        }
        Ok(applied)
    }

    /// Closes the port of the module with this [`RouteTable::key`]. Requests in flight are answered.
    pub fn remove(&self, key: &str) {
        let mut modules = self.0.modules();
        if let Some(module) = modules.remove(key) {
            module.close();
            module.endpoints.iter().for_each(|(_, endpoint)| endpoint.retire());
            drop(module);
            assign::waiting(&self.0, &mut modules);
            drop(modules);
            self.0.changed.send_modify(|change| *change += 1);
        }
    }

    /// The tables in force.
    pub fn in_force(&self) -> Vec<InForce> {
        let modules = self.0.modules();
        let one =
            |module: &Module| InForce { table: module.table.clone(), owners: module.live.router.owners() };
        modules.values().map(one).collect()
    }

    /// Counts of every module, cumulative since the plane began.
    pub fn counts(&self, plane: &str, at: Timestamp) -> Vec<TrafficCount> {
        let modules = self.0.modules();
        let said = |module: &Module| {
            // Whose place is taken has no clients that could come in.
            let closed = assign::closed(&modules, module).filter(|_| !self.0.is_leaving());
            module.counts.said(plane, module.live.version, at, closed)
        };
        modules.values().map(said).collect()
    }

    /// Requests being answered per revision and instance, of instances that a table names or that have not drained.
    pub fn in_flight(&self, key: &str) -> BTreeMap<Revision, BTreeMap<String, u32>> {
        let mut all: BTreeMap<Revision, BTreeMap<String, u32>> = BTreeMap::new();
        for (revision, endpoint) in self.0.modules().get(key).into_iter().flat_map(|module| &module.endpoints)
        {
            let instances = all.entry(revision.clone()).or_default();
            *instances.entry(endpoint.is.instance.clone()).or_default() += endpoint.in_flight();
        }
        all
    }

    /// Where the module's port is open; none while it is not.
    pub fn address(&self, key: &str) -> Option<SocketAddr> {
        match self.0.modules().get(key)?.ports.state() {
            State::Open(address) => Some(address),
            State::Opening | State::Failed(_) | State::Waiting(_) => None,
        }
    }

    /// Returns when the module's port is open.
    pub async fn listening(&self, key: &str) -> SocketAddr {
        let mut changed = self.changed();
        loop {
            changed.borrow_and_update();
            if let Some(address) = self.address(key) {
                return address;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Where other modules reach the port of this name; none while it is not open.
    pub fn peer_address(&self, key: &str, port: &Token) -> Option<SocketAddr> {
        match self.0.modules().get(key)?.peers.get(port)?.state() {
            State::Open(address) => Some(address),
            State::Opening | State::Failed(_) | State::Waiting(_) => None,
        }
    }

    /// Why ports could not be opened, by module; empty when all could. A module that waits for a port of its own target
    /// is no trouble.
    pub fn troubles(&self) -> Vec<String> {
        let modules = self.0.modules();
        let trouble = |module: &Module| {
            let why = assign::closed(&modules, module).filter(|_| module.has_failed())?;
            Some(format!("{} of {}: {why}", module.table.module, module.table.target))
        };
        modules.values().filter_map(trouble).collect()
    }

    /// Changes whenever a table comes in force or goes, or a port opens or fails.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Client connections that are open.
    pub fn connections(&self) -> usize {
        self.0.directory.len()
    }

    /// Client connections refused so far because too many were open.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// The counts of every revision of every module, to be shown as metrics.
    pub(crate) fn each(&self, mut show: impl FnMut(&ModuleCounts, &BTreeMap<Revision, Arc<RevisionCounts>>)) {
        let counts: Vec<Arc<ModuleCounts>> =
            self.0.modules().values().map(|module| Arc::clone(&module.counts)).collect();
        counts.iter().for_each(|counts| show(counts, &counts.all()));
    }

    /// The ports to be opened are taken from these, which are open already, as far as they are among them.
    pub fn inherit(&self, ports: Vec<TcpListener>) {
        *self.0.inherited.lock() = ports;
    }

    /// Returns when no port is still being opened, or after `limit`.
    pub async fn opened(&self, limit: Duration) {
        let opened = async {
            let mut changed = self.changed();
            loop {
                changed.borrow_and_update();
                if !self.0.modules().values().any(Module::is_opening) || changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(limit, opened).await;
    }

    /// Closes what was inherited and nobody asked for.
    pub fn close_inherited(&self) {
        self.0.inherited.lock().clear();
    }

    /// Further handles of all ports that are open, for a plane that takes this one's place.
    pub fn sockets(&self) -> Vec<OwnedFd> {
        self.0.modules().values().flat_map(Module::sockets).collect()
    }

    /// Leaves the ports to the plane that was given them. Every connection ends with its next answer, or when it has none
    /// within half of `grace`; then all is as with [`Plane::stop`].
    pub async fn hand_over(&self, grace: Duration) -> bool {
        let shared = &self.0;
        shared.leaving.store(true, Relaxed);
        shared.accepting.cancel();
        let until = Instant::now() + grace / 2;
        while shared.directory.len() > 0 && Instant::now() < until {
            tokio::time::sleep(LEAVING).await;
        }
        self.stop(grace / 2).await
    }

    /// Cuts everything off when dropped. Tie it to whatever must not outlive its owner.
    pub fn cut_on_drop(&self) -> Cut {
        Cut(self.clone())
    }

    fn cut(&self) {
        self.0.stopping.cancel();
        self.0.tracker.close();
        self.0.abort.cancel();
        self.0.directory.tell(None, Order::Abort);
    }

    /// Closes all ports, lets requests in flight end for at most `grace`, then cuts off the rest. True when nothing
    /// had to be cut off.
    pub async fn stop(&self, grace: Duration) -> bool {
        let shared = &self.0;
        shared.stopping.cancel();
        shared.tracker.close();
        shared.directory.tell(None, Order::Finish);
        let finished = tokio::time::timeout(grace, shared.tracker.wait()).await.is_ok();
        if !finished {
            tracing::warn!(connections = shared.directory.len(), ?grace, "cutting off what has not ended");
            self.cut();
            // What was told to abort does so at its next poll; the bound is for what hyper itself may hold.
            let _ = tokio::time::timeout(Duration::from_secs(1), shared.tracker.wait()).await;
        }
        finished
    }
}

impl Shared {
    fn modules(&self) -> MutexGuard<'_, BTreeMap<String, Module>> {
        self.modules.lock()
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// The port of this address, if it was handed over open.
    fn inherited(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut ports = self.inherited.lock();
        let at = ports.iter().position(|port| port.local_addr().is_ok_and(|local| local == address))?;
        Some(ports.swap_remove(at))
    }

    fn sweep(&self) {
        let now_ms = millis_since(self.epoch, Instant::now());
        self.directory.sweep(now_ms, self.settings.client_idle, OVERSTAY);
        let endpoints: Vec<Arc<Endpoint>> = {
            let mut modules = self.modules();
            for module in modules.values_mut() {
                module.forget_drained();
                module.ports.settle();
            }
            modules
                .values()
                .flat_map(|module| &module.endpoints)
                .map(|(_, endpoint)| Arc::clone(endpoint))
                .collect()
        };
        endpoints.iter().for_each(|endpoint| endpoint.sweep());
    }
}
