//! What is known of one instance, whichever table names it: its idle connections, what it is answering, its failures.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use model::route;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};
use tower::{BoxError, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

use super::{Settings, upstream::Upstream};

/// Connections being opened to one instance at a time; more are refused at once rather than heaped up on an
/// instance that does not answer.
const MOST_CONNECTING: usize = 256;

pub(crate) struct Endpoint {
    /// Tells instances apart where a name would have to be copied.
    pub(crate) id: u64,
    pub(crate) is: route::Endpoint,
    in_flight: AtomicU32,
    /// Milliseconds since the plane began; 0 is not ejected.
    ejected_until: AtomicU64,
    /// It failed since it last succeeded, so a success is news.
    pub(crate) suspect: AtomicBool,
    /// No table names it any more: connections are not kept.
    retired: AtomicBool,
    idle: Mutex<Vec<Idle>>,
    most_idle: usize,
    idle_timeout: Duration,
    slots: Arc<Semaphore>,
    /// With fewer slots left than this none is kept for an idle connection.
    scarce: usize,
    connect: BoxCloneSyncService<(), Box<Upstream>, BoxError>,
}

struct Idle {
    upstream: Box<Upstream>,
    since: Instant,
}

impl Endpoint {
    /// `slots` are those of all instances together.
    pub(crate) fn new(id: u64, is: route::Endpoint, settings: &Settings, slots: &Arc<Semaphore>) -> Endpoint {
        let address: Arc<str> = is.address.as_str().into();
        let rules = settings.towards_instances();
        let free = Arc::clone(slots);
        let connect = ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(MOST_CONNECTING)
            .timeout(settings.connect_timeout)
            .service_fn(move |()| {
                let (address, rules) = (Arc::clone(&address), rules.clone());
                let slot = Arc::clone(&free).try_acquire_owned().map_err(|_| Full);
                async move { Ok::<_, BoxError>(Upstream::open(&address, &rules, slot?).await?) }
            });
        Endpoint {
            id,
            is,
            in_flight: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
            most_idle: settings.idle_per_instance,
            idle_timeout: settings.idle_timeout,
            slots: Arc::clone(slots),
            scarce: settings.max_instance_connections / 4,
            connect: BoxCloneSyncService::new(connect),
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        self.ejected_until.load(Relaxed) > now_ms
    }

    pub(crate) fn eject(&self, until_ms: u64) {
        self.ejected_until.store(until_ms, Relaxed);
    }

    /// An idle connection that seems alive, the one used last first.
    pub(crate) async fn idle_connection(&self) -> Option<Box<Upstream>> {
        loop {
            let Idle { mut upstream, since } = self.locked().pop()?;
            if since.elapsed() > self.idle_timeout {
                continue;
            }
            poll_fn(|cx| {
                upstream.drive(cx);
                Poll::Ready(())
            })
            .await;
            if upstream.is_ready() {
                upstream.reused = true;
                return Some(upstream);
            }
        }
    }

    pub(crate) async fn new_connection(&self) -> Result<Box<Upstream>, BoxError> {
        self.connect.clone().oneshot(()).await
    }

    /// Keeps a connection for the next request. When enough are kept it is closed.
    pub(crate) fn give_back(&self, upstream: Box<Upstream>) {
        if self.retired.load(Relaxed) || self.slots.available_permits() < self.scarce {
            return;
        }
        let mut idle = self.locked();
        if idle.len() < self.most_idle {
            idle.push(Idle { upstream, since: Instant::now() });
        }
    }

    /// Closes idle connections that the other side closed or that nobody wanted for long.
    pub(crate) fn sweep(&self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.locked().retain_mut(|idle| {
            idle.upstream.drive(&mut cx);
            idle.upstream.is_ready() && idle.since.elapsed() <= self.idle_timeout
        });
    }

    /// No table names it any more. Requests in flight end where they are.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Relaxed);
        self.locked().clear();
    }

    /// A table names it again.
    pub(crate) fn enlist(&self) {
        self.retired.store(false, Relaxed);
    }

    fn locked(&self) -> parking_lot::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock()
    }
}

/// Shows that an instance is answering a request, from the choice to the last byte.
pub(crate) struct Held(Arc<Endpoint>);

impl Held {
    pub(crate) fn new(endpoint: &Arc<Endpoint>) -> Held {
        endpoint.in_flight.fetch_add(1, Relaxed);
        Held(Arc::clone(endpoint))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// All connections that may be open to instances are.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("all connections to instances are taken")]
pub(crate) struct Full;

/// What a failure to connect means in words.
pub(crate) fn describe(error: &BoxError) -> String {
    if error.is::<tower::timeout::error::Elapsed>() {
        return "connecting took too long".to_owned();
    }
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}
