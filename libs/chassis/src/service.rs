//! What a service is given: its settings, the bus, and all that services do alike.

mod speech;

use std::{fmt, sync::Arc, time::Duration};

use bus::{Bus, Serving};
use futures::future::BoxFuture;
use ground::{Backoff, Clock};
use model::ReplicaId;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::{BoxError, chain},
    health::Health,
    metrics::Metrics,
    tasks::{Failed, Tasks},
};

/// One running copy of a service. Cheap to clone; clones are the same copy.
///
/// A service's `start` builds and subscribes with it, then returns: running, readiness and stopping belong to the
/// chassis. What is served stops when the last clone is dropped, as in a crash; [`Service::stop`] is the orderly
/// way.
pub struct Service<C> {
    /// The settings in force.
    pub config: Arc<C>,
    /// All speech over NATS.
    pub bus: Bus,
    /// Tasks, named and with a policy each.
    pub tasks: Tasks,
    /// What time it is.
    pub clock: Clock,
    /// Where metrics are registered, once, at start.
    pub metrics: Metrics,
    /// This copy. A restarted process is another.
    pub replica: ReplicaId,
    /// The service's name.
    pub name: &'static str,
    /// Whether it is ready; hold a latch for what is not ready yet.
    pub health: Health,
    held: Arc<Held>,
}

/// What must be let go of when the service stops.
#[derive(Default)]
struct Held {
    serving: Mutex<Vec<(String, Serving)>>,
    on_stop: Mutex<Vec<Hook>>,
}

type Hook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

impl<C: Config> Service<C> {
    /// A copy for a test: the system's clock, metrics that nobody shows, not ready or stopped by anyone but the
    /// test.
    pub fn for_tests(config: C, bus: Bus) -> Service<C> {
        Service::new(config, bus, Clock::system(), Metrics::default())
    }

    /// The same with a clock that the test turns.
    pub fn for_tests_with_clock(config: C, bus: Bus, clock: Clock) -> Service<C> {
        Service::new(config, bus, clock, Metrics::default())
    }

    pub(crate) fn new(config: C, bus: Bus, clock: Clock, metrics: Metrics) -> Service<C> {
        Service {
            config: Arc::new(config),
            bus,
            tasks: Tasks::new(C::SERVICE),
            clock,
            metrics,
            replica: ReplicaId::new(),
            name: C::SERVICE,
            health: Health::default(),
            held: Arc::default(),
        }
    }
}

impl<C> Service<C> {
    /// Runs `f` now and then again `period` after it ended, until the service stops. An error is logged and the
    /// next turn comes as usual; so `f` must be safe to run twice.
    pub fn every<X, F, E>(
        &self,
        name: &'static str,
        period: Duration,
        ctx: X,
        f: impl Fn(X) -> F + Send + Sync + 'static,
    ) where
        X: Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let (clock, stopping, f) = (self.clock.clone(), self.stopping(), Arc::new(f));
        self.tasks.restarted(name, Backoff::default(), move || {
            let (ctx, clock, stopping, f) = (ctx.clone(), clock.clone(), stopping.clone(), Arc::clone(&f));
            async move {
                while !stopping.is_cancelled() {
                    if let Err(error) = f(ctx.clone()).await {
                        tracing::warn!(task = name, cause = chain(error.into().as_ref()), "this turn failed");
                    }
                    tokio::select! {
                        () = stopping.cancelled() => {}
                        () = clock.sleep(period) => {}
                    }
                }
                Ok::<(), BoxError>(())
            }
        });
    }

    /// Cancelled when the service stops: take nothing new, finish what is held.
    pub fn stopping(&self) -> CancellationToken {
        self.tasks.stopping()
    }

    /// Runs `f` when the service stops, after nothing new is taken and before what is held is waited for. In the
    /// order of registration, all within the grace.
    pub fn on_stop<F: Future<Output = ()> + Send + 'static>(&self, f: impl FnOnce() -> F + Send + 'static) {
        self.held.on_stop.lock().push(Box::new(move || Box::pin(f())));
    }

    /// Returns when a critical task has failed.
    pub async fn failed(&self) -> Failed {
        self.tasks.failed().await
    }

    /// The orderly stop: not ready, take nothing new, finish what is held (at most `grace`), flush the bus.
    /// Names what did not finish and was ended.
    pub async fn stop(&self, grace: Duration) -> Vec<String> {
        let deadline = Instant::now() + grace;
        // Held for ever: a service that stopped does not become ready again.
        std::mem::forget(self.health.latch("stopping"));
        self.stopping().cancel();
        let serving = std::mem::take(&mut *self.held.serving.lock());
        for (_, serving) in &serving {
            serving.close();
        }
        let mut unfinished = Vec::new();
        let hooks = std::mem::take(&mut *self.held.on_stop.lock());
        for hook in hooks {
            if tokio::time::timeout_at(deadline, hook()).await.is_err() {
                unfinished.push("on stop".to_owned());
            }
        }
        let finishing = serving.into_iter().map(|(name, serving)| async move {
            let finished = tokio::time::timeout_at(deadline, serving.stop()).await;
            finished.err().map(|_| name)
        });
        unfinished.extend(futures::future::join_all(finishing).await.into_iter().flatten());
        unfinished.extend(self.tasks.stop(deadline.saturating_duration_since(Instant::now())).await);
        self.bus.flush().await;
        unfinished
    }

    /// Stops where it stands, as a killed process would: what was held is delivered again to someone else.
    pub fn crash(&self) {
        std::mem::forget(self.health.latch("crashed"));
        self.held.serving.lock().clear();
        self.held.on_stop.lock().clear();
        self.tasks.abort();
    }

    /// The same copy without its settings, for whoever only runs it.
    pub(crate) fn erased(self) -> Service<()> {
        Service {
            config: Arc::new(()),
            bus: self.bus,
            tasks: self.tasks,
            clock: self.clock,
            metrics: self.metrics,
            replica: self.replica,
            name: self.name,
            health: self.health,
            held: self.held,
        }
    }

    pub(crate) fn hold(&self, name: String, serving: Serving) {
        self.held.serving.lock().push((name, serving));
    }
}

impl<C> Clone for Service<C> {
    fn clone(&self) -> Service<C> {
        Service {
            config: Arc::clone(&self.config),
            bus: self.bus.clone(),
            tasks: self.tasks.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            replica: self.replica.clone(),
            name: self.name,
            health: self.health.clone(),
            held: Arc::clone(&self.held),
        }
    }
}

impl<C> fmt::Debug for Service<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({} {})", self.name, self.replica)
    }
}
