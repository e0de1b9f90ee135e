//! The whole engine in one process: a NATS server of its own, orchestrator, agents, data plane, experts and a consensus
//! worker.

mod server;

use std::{fs, path::Path, process::Stdio, time::Duration};

use bus::{NatsServer, ServerSettings};
use chassis::{Health, Process, Running, Signals, config::Common, config::Config, config::Sources};
use model::ReplicaId;
use platform::{ProcessPlatform, process};

use crate::{
    cli::{Down, Global, Up},
    failure::Failure,
    home::{self, Home},
    output::{self, paint},
};

/// How long `down` waits for the engine: longer than its services may take to hand over.
const STOP: Duration = Duration::from_secs(40);

/// The log of a detached engine is put aside when it is larger than this: one older log is kept.
const LOG_BYTES: u64 = 10 << 20;

/// A started engine. Dropping it without [`Engine::stop`] ends it as a crash would.
pub struct Engine {
    process: Process,
    services: Vec<(&'static str, Running)>,
    server: NatsServer,
    /// Whether the server runs.
    serving: Health,
    health: std::net::SocketAddr,
}

/// Why an engine cannot go on.
enum Failed {
    Service(String),
    /// Without it nothing can be handed over or finished.
    Server(String),
}

/// Where the parts of an engine that were not configured keep their data.
struct Defaults<'a>(&'a Path);

impl Engine {
    /// Starts everything; all of it is ready when this returns.
    pub async fn start(home: &Path, port: u16, config: Option<&Path>) -> Result<Engine, Failure> {
        let sources = Sources::read(config).map_err(|error| Failure::invalid(chassis::chain(&error)))?;
        let mut common = load::<orchestrator::Config>(&sources)?.0;
        let settings = ServerSettings { port, ..ServerSettings::new(home.join("nats")) };
        let server =
            NatsServer::start(settings).await.map_err(|error| Failure::other(chassis::chain(&error)))?;

        common.nats_url = server.url();
        let process =
            Process::begin("codectl", &common).map_err(|error| Failure::other(chassis::chain(&error)))?;
        let health = process
            .serve(common.health_listen)
            .await
            .map_err(|error| Failure::other(chassis::chain(&error)))?;

        let defaults = Defaults(home);
        let serving = Health::default();
        process.board.add("nats-server", &serving);
        let mut engine = Engine { process, services: Vec::new(), server, serving, health };
        let audit = defaults.audit(load(&sources)?.1);
        engine.add(&common, audit, audit::start).await?;
        let traffic = defaults.traffic(load(&sources)?.1);
        engine.add(&common, traffic, traffic::start).await?;
        let agents = defaults.agents(load(&sources)?.1);
        engine.add(&common, agents, agents::start).await?;
        let consensus = load::<consensus::ConsensusConfig>(&sources)?.1;
        engine.add(&common, consensus, consensus::start).await?;
        let experts = defaults.experts(load(&sources)?.1);
        engine.add(&common, experts, experts::start).await?;
        let mut orchestrator = load::<orchestrator::Config>(&sources)?.1;
        // The audit log runs beside it here.
        orchestrator.audited = true;
        engine.add(&common, orchestrator, orchestrator::start).await?;
        Ok(engine)
    }

    async fn add<C: Config>(
        &mut self,
        common: &Common,
        config: C,
        start: impl chassis::Start<C>,
    ) -> Result<(), Failure> {
        let failed = |error: chassis::Error| Failure::other(chassis::chain(&error));
        let replica = ReplicaId::new();
        let bus = chassis::connect(common, C::SERVICE, &replica).await.map_err(failed)?;
        let running = self.process.start_as(replica, config, bus, start).await.map_err(failed)?;
        self.services.push((C::SERVICE, running));
        Ok(())
    }

    /// The NATS server's address.
    pub fn nats(&self) -> String {
        self.server.url()
    }

    /// The services and their replicas.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, &ReplicaId)> {
        self.services.iter().map(|(name, running)| (*name, running.replica()))
    }

    /// Keeps the NATS server running. Returns when the engine cannot go on, and says why.
    async fn failed(&mut self) -> Failed {
        let failures = self.services.iter().map(|(name, running)| {
            Box::pin(async move { format!("a service failed: {name}: {:?}", running.failed().await) })
        });
        tokio::select! {
            (service, ..) = futures::future::select_all(failures) => Failed::Service(service),
            server = server::keep(&mut self.server, &self.serving) => Failed::Server(server),
        }
    }

    /// In the order of a request: nothing new is decided, what is held is finished, traffic last.
    pub async fn stop(mut self) {
        while let Some((_, running)) = self.services.pop() {
            running.stop(Duration::from_secs(10)).await;
        }
        if let Err(error) = self.server.stop().await {
            output::note(format!("stopping nats-server: {error}"));
        }
        self.process.end().await;
    }
}

impl Defaults<'_> {
    fn audit(&self, mut config: audit::AuditConfig) -> audit::AuditConfig {
        if config.state_dir == audit::AuditConfig::default().state_dir {
            config.state_dir = self.0.join("audit");
        }
        config
    }

    fn traffic(&self, mut config: traffic::TrafficConfig) -> traffic::TrafficConfig {
        if config.state_dir == traffic::TrafficConfig::default().state_dir {
            config.state_dir = self.0.join("traffic");
        }
        config
    }

    /// Docker is offered when its socket is there, and metric providers on this machine are asked: whoever uses the
    /// engine is on it.
    fn agents(&self, mut config: agents::AgentsConfig) -> agents::AgentsConfig {
        let plain = agents::AgentsConfig::default();
        if config.state_dir == plain.state_dir {
            config.state_dir = self.0.join("agents");
        }
        if config.platforms == plain.platforms && Path::new("/var/run/docker.sock").exists() {
            config.platforms.push("docker".to_owned());
        }
        if config.egress_allow == plain.egress_allow {
            config.egress_allow.push("loopback".to_owned());
        }
        config
    }
}

impl Defaults<'_> {
    /// Models are asked when there is a catalogue of them in the engine's folder.
    fn experts(&self, mut config: experts::ExpertsConfig) -> experts::ExpertsConfig {
        let catalogue = self.0.join("experts.toml");
        if config.catalogue.is_none() && catalogue.exists() {
            config.catalogue = Some(catalogue);
        }
        config
    }
}

fn load<C: Config>(sources: &Sources) -> Result<(Common, C), Failure> {
    let loaded = sources.load::<C>().map_err(|error| Failure::invalid(error.to_string()))?;
    Ok((loaded.common, loaded.config))
}

/// `codectl up`
pub async fn up(global: &Global, up: Up) -> Result<u8, Failure> {
    let home = Home::of(global);
    if let Some(running) = home.running_for(home::DYING).await {
        return Err(Failure::other(format!(
            "an engine runs already in {} (process {}, {})\n  stop it with codectl down, or take another --home",
            home.0.display(),
            running.pid,
            running.nats
        )));
    }
    let home = make(home)?;
    home::check_room(&home.0, &limits(up.config.as_deref())?)?;
    if up.detach {
        return detach(&home, &up).await;
    }
    let began = tokio::time::Instant::now();
    let mut signals = Signals::listen().map_err(|error| Failure::other(error.to_string()))?;
    let lock = home.lock_within(home::DYING).await?;
    home.sign(&lock)?;
    let starting = async {
        home.end_orphans().await?;
        let port = port(&home, up.port)?;
        Engine::start(&home.0, port, up.config.as_deref()).await
    };
    let mut engine = tokio::select! {
        engine = starting => engine?,
        _ = signals.next() => {
            output::note("stopped while it started");
            return Ok(0);
        }
    };
    let pid = std::process::id() as i32;
    let running = home::Running {
        pid,
        began: home::began(pid).unwrap_or_default(),
        nats: engine.nats(),
        health: format!("http://{}", engine.health),
    };
    home.announce(&running)?;
    if output::json() {
        output::json_line(&running);
    } else {
        for (name, replica) in engine.services() {
            output::line(format!("{} {name:<14} {}", paint::good("ready"), paint::faint(replica)));
        }
        let ready = format!("ready in {} ms", began.elapsed().as_millis());
        output::line(format!("{}  {}  {}/metrics", paint::strong(ready), running.nats, running.health));
        let named =
            if global.home.is_some() { format!(" --home {}", home.0.display()) } else { String::new() };
        output::line(paint::faint(format!("in another terminal: codectl apply SPEC --watch{named}")));
        output::line(paint::faint("Ctrl-C stops the engine; what was deployed goes on running"));
    }
    let outcome = tokio::select! {
        _ = signals.next() => Ok(0),
        failed = engine.failed() => match failed {
            Failed::Service(why) => Err(Failure::other(why)),
            Failed::Server(why) => {
                home.withdraw();
                return Err(Failure::other(why));
            }
        },
    };
    home.withdraw();
    tokio::select! {
        () = engine.stop() => {}
        _ = signals.next() => {}
    }
    outcome
}

/// What the streams reserve with this configuration.
pub fn limits(config: Option<&Path>) -> Result<bus::StreamLimits, Failure> {
    let sources = Sources::read(config).map_err(|error| Failure::invalid(chassis::chain(&error)))?;
    Ok(load::<orchestrator::Config>(&sources)?.0.nats_limits)
}

/// The folder with its whole path, so that it means the same to every process.
fn make(home: Home) -> Result<Home, Failure> {
    let made = fs::create_dir_all(&home.0).and_then(|()| home.0.canonicalize());
    let failed = |error| Failure::other(format!("making the folder {}: {error}", home.0.display()));
    made.map(Home).map_err(failed)
}

/// The port that was asked for, else the one the last engine here had if it is free: clients find it again.
fn port(home: &Home, asked: u16) -> Result<u16, Failure> {
    let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port));
    if asked != 0 {
        return is_free(asked).map(|_| asked).map_err(|error| {
            Failure::other(format!(
                "port {asked} of 127.0.0.1: {error}\n  take another with --port, or 0 for a free one"
            ))
        });
    }
    let last = home.last().and_then(|last| last.nats.rsplit(':').next()?.parse().ok());
    Ok(last.filter(|port| is_free(*port).is_ok()).unwrap_or(0))
}

/// Starts the same in the background and waits until it is ready.
async fn detach(home: &Home, up: &Up) -> Result<u8, Failure> {
    use std::os::unix::process::CommandExt;
    let failed = |error: std::io::Error| Failure::other(format!("starting the engine: {error}"));
    let place = home.0.join("engine.log");
    let (log, before) = continue_log(&place).map_err(failed)?;
    let mut command = std::process::Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["up", "--port", &up.port.to_string(), "--home"]).arg(&home.0);
    if let Some(config) = &up.config {
        command.arg("--config").arg(config);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    for _ in 0..600 {
        // One that is just dying may still stand there.
        if let Some(running) = home.running().filter(|running| running.pid == child.id().cast_signed()) {
            if output::json() {
                output::document(&running);
            } else {
                output::line(format!("{}  {}  process {}", paint::good("ready"), running.nats, running.pid));
                output::line(paint::faint(format!("log: {}; stop it with codectl down", place.display())));
            }
            return Ok(0);
        }
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Err(Failure::other(format!("the engine ended with {status}; {}", said(&place, before))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Failure::other(format!("the engine was not ready within 30 s; see {}", place.display())))
}

/// The log to go on with and how much is in it. What an engine before wrote, perhaps why it crashed, stays.
fn continue_log(place: &Path) -> std::io::Result<(fs::File, u64)> {
    if fs::metadata(place).is_ok_and(|log| log.len() > LOG_BYTES) {
        fs::rename(place, place.with_extension("log.1"))?;
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(place)?;
    let before = log.metadata()?.len();
    Ok((log, before))
}

/// The last that was written to a log after a place, for an error.
fn said(place: &Path, before: u64) -> String {
    let text = fs::read(place).unwrap_or_default();
    let new = text.get(usize::try_from(before).unwrap_or(usize::MAX)..).unwrap_or_default();
    let new = String::from_utf8_lossy(new);
    let lines: Vec<&str> = new.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        let room = place.parent().and_then(|home| home::room(home).ok());
        let room = room.map_or_else(String::new, |room| format!("; its disk has {} MiB free", room >> 20));
        return format!("it wrote nothing to {}{room}", place.display());
    }
    let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
    format!("the end of {}:\n  {last}", place.display())
}

/// `codectl down`
pub async fn down(global: &Global, down: &Down) -> Result<u8, Failure> {
    let home = Home::of(global);
    let running = home.process();
    if let Some((number, began)) = running {
        let pid = nix::unistd::Pid::from_raw(number);
        let failed = |error: nix::errno::Errno| Failure::other(format!("stopping process {pid}: {error}"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).map_err(failed)?;
        let asked = tokio::time::Instant::now();
        while home::began(number) == Some(began) {
            if asked.elapsed() > STOP {
                return Err(Failure::other(format!(
                    "process {pid} has not ended within {} s; look at its log, or end it with kill -9 {pid}",
                    STOP.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    } else if home.0.exists() {
        // An engine that was killed leaves its NATS server behind. With the lock nobody else's can be meant.
        let _lock = home.lock_within(home::DYING).await?;
        home.end_orphans().await?;
        home.withdraw();
    }
    let instances = if down.instances { Some(stop_instances(&home.0.join("agents")).await?) } else { None };
    if output::json() {
        output::document(&serde_json::json!({"stopped": running.is_some(), "instances": instances}));
        return Ok(0);
    }
    match &running {
        Some((pid, _)) => output::line(format!("{} the engine, process {pid}", paint::good("stopped"))),
        None => output::line(format!("no engine runs in {}", home.0.display())),
    }
    if let Some(instances) = instances {
        output::line(format!("{} {instances} instances", paint::good("stopped")));
    }
    Ok(0)
}

/// Stops whatever the process platform started in this home: after the engine is gone nobody else writes there.
pub async fn stop_instances(agents: &Path) -> Result<usize, Failure> {
    let folder = agents.join("process");
    if !folder.exists() {
        return Ok(0);
    }
    let failed = |error: platform::Error| Failure::other(chassis::chain(&error));
    let processes = ProcessPlatform::new(process::Settings::new(folder)).map_err(failed)?;
    processes.stop_all(Duration::from_secs(5)).await.map_err(failed)
}
