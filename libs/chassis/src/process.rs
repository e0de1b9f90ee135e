//! One process: what the services in it share. `run` puts one service in it, `codectl up` several.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bus::Bus;
use ground::Clock;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
};
use tokio::time::Instant;

use crate::{
    admin::{self, Board},
    config::{Common, Config},
    error::{BoxError, Error},
    files,
    health::Health,
    metrics::Metrics,
    service::Service,
    tasks::{Failed, Tasks},
    telemetry::Telemetry,
};

/// A service's `start`: builds and subscribes, then returns.
pub trait Start<C>: Send {
    /// What `start` returns.
    type Future: Future<Output = Result<(), Self::Error>> + Send;
    /// Why it may fail.
    type Error: Into<BoxError>;
    /// Starts.
    fn start(self, service: Service<C>) -> Self::Future;
}

impl<C, F, R, E> Start<C> for F
where
    F: FnOnce(Service<C>) -> R + Send,
    R: Future<Output = Result<(), E>> + Send,
    E: Into<BoxError>,
{
    type Future = R;
    type Error = E;
    fn start(self, service: Service<C>) -> R {
        self(service)
    }
}

/// What the services of one process share: telemetry, the endpoint for health and metrics, the clock.
#[derive(Debug)]
pub struct Process {
    /// The state of all services.
    pub board: Board,
    /// What time it is.
    pub clock: Clock,
    tasks: Tasks,
    telemetry: Arc<Telemetry>,
}

impl Default for Process {
    /// Without telemetry: for tests.
    fn default() -> Process {
        Process {
            board: Board::default(),
            clock: Clock::system(),
            tasks: Tasks::new("process"),
            telemetry: Arc::default(),
        }
    }
}

impl Process {
    /// Log lines, traces and the crypto provider for this process, and as many open files as it may have ([`files`]).
    /// Within a tokio runtime, once.
    pub fn begin(name: &str, common: &Common) -> Result<Process, Error> {
        install_crypto();
        let telemetry = Arc::new(Telemetry::start(name, common)?);
        files::raise()?;
        let process = Process { telemetry, ..Process::default() };
        let about = Metrics::default();
        about.collect(About { began: Instant::now() });
        process.board.page.add(&about);
        Ok(process)
    }

    /// The same with another clock.
    pub fn with_clock(self, clock: Clock) -> Process {
        Process { clock, ..self }
    }

    /// Serves `/live`, `/ready` and `/metrics`; says where.
    pub async fn serve(&self, listen: SocketAddr) -> Result<SocketAddr, Error> {
        let address = admin::serve(listen, self.board.clone(), &self.tasks)
            .await
            .map_err(|source| Error::Listen { listen, source })?;
        tracing::info!(%address, "serving /live, /ready and /metrics");
        Ok(address)
    }

    /// Starts a service; it is ready when this returns and no component holds a latch.
    pub async fn start<C: Config>(
        &self,
        config: C,
        bus: Bus,
        start: impl Start<C>,
    ) -> Result<Running, Error> {
        self.start_as(model::ReplicaId::new(), config, bus, start).await
    }

    /// The same as a copy that is known already, because `bus` speaks in its name.
    pub async fn start_as<C: Config>(
        &self,
        replica: model::ReplicaId,
        config: C,
        bus: Bus,
        start: impl Start<C>,
    ) -> Result<Running, Error> {
        let metrics = Metrics::labelled(&self.labels(C::SERVICE));
        metrics.collect(BusCounts(bus.clone()));
        let mut service = Service::new(config, bus, self.clock.clone(), metrics.clone());
        service.replica = replica;
        let starting = service.health.latch("starting");
        self.board.add(service.name, &service.health);
        self.board.page.add(&metrics);
        let running = Running { service: service.clone().erased(), board: self.board.clone() };
        watch_health(&running.service, C::READY_WITHOUT_NATS);
        tracing::info!(service = service.name, replica = %service.replica, "starting");
        if let Err(error) = start.start(service).await {
            running.crash();
            return Err(Error::Start { service: C::SERVICE.to_owned(), source: error.into() });
        }
        if let Err(error) = unrefused(&running.service.bus).await {
            running.crash();
            return Err(error.into());
        }
        if C::READY_WITHOUT_NATS {
            check_later(&running.service);
        }
        starting.release();
        tracing::info!(service = running.service.name, "started");
        Ok(running)
    }

    /// Returns when the endpoint for health and metrics has failed.
    pub async fn failed(&self) -> Failed {
        self.tasks.failed().await
    }

    /// Stops the endpoint and sends the last traces. After the services have stopped.
    pub async fn end(self) {
        self.tasks.stop(Duration::from_secs(1)).await;
        let telemetry = Arc::clone(&self.telemetry);
        if ground::blocking(move || telemetry.flush()).await.is_err() {
            tracing::warn!("sending the last traces panicked");
        }
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// A second copy of a service in one process must not show the same metrics with the same labels.
    fn labels(&self, name: &'static str) -> Vec<(&'static str, String)> {
        let mut labels = vec![("service", name.to_owned())];
        match self.board.count(name) {
            0 => {}
            others => labels.push(("copy", (others + 1).to_string())),
        }
        labels
    }
}

/// Starts a service beside others in this process, with an endpoint and telemetry of nobody: for tests.
pub async fn start_in_process<C: Config>(
    config: C,
    bus: Bus,
    start: impl Start<C>,
) -> Result<Running, Error> {
    Process::default().start(config, bus, start).await
}

/// A service that was started. Dropping it without [`Running::stop`] ends it as a crash would.
#[derive(Debug)]
#[must_use = "the service ends when this is dropped"]
pub struct Running {
    service: Service<()>,
    board: Board,
}

impl Running {
    /// The service's name.
    pub fn name(&self) -> &'static str {
        self.service.name
    }

    /// Which copy this is.
    pub fn replica(&self) -> &model::ReplicaId {
        &self.service.replica
    }

    /// Whether it is ready, and why not.
    pub fn health(&self) -> &Health {
        &self.service.health
    }

    /// Returns when a critical task has failed. The service is not alive from then on, and must be stopped.
    pub async fn failed(&self) -> Failed {
        self.service.failed().await
    }

    /// The orderly stop, at most `grace` long. Names what did not finish and was ended.
    pub async fn stop(self, grace: Duration) -> Vec<String> {
        tracing::info!(service = self.service.name, ?grace, "stopping");
        let unfinished = self.service.stop(grace).await;
        if !unfinished.is_empty() {
            tracing::warn!(service = self.service.name, ?unfinished, "ended what did not finish in time");
        }
        unfinished
    }

    /// Ends it where it stands, as a killed process would.
    pub fn crash(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After an orderly stop nothing is left, and this only takes it off the board.
        self.service.crash();
        self.board.remove(&self.service.health);
        self.board.page.remove(&self.service.metrics);
    }
}

/// What a service subscribes to and asks for while it starts must be allowed to it: a refusal is silence, so the start fails.
async fn unrefused(bus: &Bus) -> Result<(), bus::Error> {
    match bus.refused().await {
        Some(subject) => Err(bus::Error::Refused { user: bus.user().to_owned(), subject }),
        None => Ok(()),
    }
}

/// For a service that starts before NATS is reached.
fn check_later(service: &Service<()>) {
    let (bus, stopping) = (service.bus.clone(), service.stopping());
    service.tasks.critical("look what NATS allows", async move {
        let checked = async {
            while !bus.is_connected() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            if let Err(error) = bus.check().await {
                tracing::error!(cause = crate::chain(&error), "NATS is not set up for this service");
            }
        };
        stopping.run_until_cancelled(checked).await;
        Ok::<(), BoxError>(())
    });
}

/// Not ready while NATS cannot be reached, not alive once a critical task has failed.
fn watch_health(service: &Service<()>, ready_without_nats: bool) {
    let (bus, health, stopping) = (service.bus.clone(), service.health.clone(), service.stopping());
    let failed = service.tasks.failed();
    service.tasks.critical("watch health", async move {
        let mut failed = std::pin::pin!(failed);
        let mut lost = None;
        loop {
            match (bus.is_connected() || ready_without_nats, lost.is_some()) {
                (true, true) => lost = None,
                (false, false) => lost = Some(health.latch("not connected to NATS")),
                (true, false) | (false, true) => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok::<(), BoxError>(()),
                failed = &mut failed => {
                    health.die(failed.to_string());
                    return Ok(());
                }
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    });
}

/// One crypto provider for all TLS; a second call changes nothing.
pub fn install_crypto() {
    // Fails only when a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What this process is and how long it runs.
#[derive(Debug)]
struct About {
    began: Instant,
}

impl Collector for About {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let into = encoder.encode_descriptor("code_process_build", "what runs", None, MetricType::Info)?;
        build.encode(into)?;
        let uptime = ConstGauge::new(self.began.elapsed().as_secs_f64());
        let help = "how long this process runs";
        uptime.encode(encoder.encode_descriptor(
            "code_process_uptime_seconds",
            help,
            None,
            MetricType::Gauge,
        )?)
    }
}

/// What happened on the connection to NATS.
struct BusCounts(Bus);

impl fmt::Debug for BusCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusCounts")
    }
}

impl Collector for BusCounts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counts = self.0.counts();
        let connected = ConstGauge::new(i64::from(self.0.is_connected()));
        let help = "whether NATS is reached now";
        connected.encode(encoder.encode_descriptor(
            "code_bus_connected",
            help,
            None,
            MetricType::Gauge,
        )?)?;
        for (name, help, count) in [
            ("code_bus_disconnects", "times the connection to NATS was lost", counts.disconnects),
            (
                "code_bus_dropped",
                "times messages were dropped because we read too slowly",
                counts.slow_consumers,
            ),
            ("code_bus_errors", "errors that NATS told us", counts.errors),
            ("code_bus_refused", "times NATS refused what this user may not do", counts.violations),
            ("code_bus_dead_letters", "messages this process gave up on", counts.dead_letters),
            ("code_bus_redelivered", "messages this process was given again", counts.redelivered),
        ] {
            let into = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(into)?;
        }
        Ok(())
    }
}
