//! The whole engine in one process: a NATS server of its own, orchestrator, agents, experts and a consensus worker; beside
//! it the data plane in its own, which stays.

mod down;
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bus::{Bus, NatsServer, Role, ServerSettings};
use chassis::{
    Health, Process, Running, Signals,
    config::{Common, Config},
};
use ground::holder;
use model::ReplicaId;

use crate::{
    cli::{Global, Up},
    failure::Failure,
    home::{self, Home, Ports, log},
    output::{self, paint},
    plane, sources,
};

pub use down::{down, take_down};

/// How long an engine that gives up says at `/live` that it is dead.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A started engine. Dropping it without [`Engine::stop`] ends it as a crash would.
pub struct Engine {
    process: Process,
    services: Vec<(&'static str, Running)>,
    server: NatsServer,
    /// Whether the server runs.
    serving: Health,
    /// The process that carries traffic.
    plane: plane::Kept,
    /// Whether it is well.
    carrying: Health,
    home: PathBuf,
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
    pub async fn start(home: &Path, ports: Ports, config: Option<&Path>) -> Result<Engine, Failure> {
        let sources = sources::read(config)?;
        let mut common = sources::of::<orchestrator::Config>(&sources)?.0;
        let place = Home(home.to_owned());
        let failed = |error: bus::Error| Failure::other(chassis::chain(&error));
        let users = place.access().prepare().map_err(failed)?;
        let settings = ServerSettings { port: ports.nats, users, ..ServerSettings::new(place.nats()) };
        let server = NatsServer::start(settings).await.map_err(failed)?;

        common.nats_url = server.url();
        common.nats_keys = Some(place.access().keys());
        provision(&common).await.map_err(failed)?;
        let process =
            Process::begin("codectl", &common).map_err(|error| Failure::other(chassis::chain(&error)))?;
        let mut listen = common.health_listen;
        if listen.port() == 0 {
            listen.set_port(ports.health);
        }
        let health = process.serve(listen).await.map_err(|error| Failure::other(chassis::chain(&error)))?;

        let defaults = Defaults(home);
        let (serving, carrying) = (Health::default(), Health::default());
        process.board.add("nats-server", &serving);
        process.board.add("data plane", &carrying);
        let plane = plane::Kept::find(home, config, &common.nats_url).await?;
        let home = home.to_owned();
        let services = Vec::new();
        let mut engine = Engine { process, services, server, serving, plane, carrying, home, health };
        let audit = defaults.audit(sources::of(&sources)?.1);
        engine.add(&common, audit, audit::start).await?;
        let agents = defaults.agents(sources::of(&sources)?.1);
        engine.add(&common, agents, agents::start).await?;
        let consensus = sources::of::<consensus::ConsensusConfig>(&sources)?.1;
        engine.add(&common, consensus, consensus::start).await?;
        let experts = defaults.experts(sources::of(&sources)?.1);
        engine.add(&common, experts, experts::start).await?;
        let mut orchestrator = sources::of::<orchestrator::Config>(&sources)?.1;
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
        let bus = chassis::connect::<C>(common, &replica).await.map_err(failed)?;
        let running = self.process.start_as(replica, config, bus, start).await.map_err(failed)?;
        self.services.push((C::SERVICE, running));
        Ok(())
    }

    /// The NATS server's address.
    pub fn nats(&self) -> String {
        self.server.url()
    }

    /// Where it is found.
    fn ports(&self) -> Ports {
        Ports { nats: self.server.port(), health: self.health.port() }
    }

    /// The services and their replicas.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, &ReplicaId)> {
        self.services.iter().map(|(name, running)| (*name, running.replica()))
    }

    /// Keeps the NATS server and the data plane running. Returns when the engine cannot go on, and says why.
    async fn failed(&mut self) -> Failed {
        let failures = self.services.iter().map(|(name, running)| {
            Box::pin(async move { format!("a service failed: {name}: {:?}", running.failed().await) })
        });
        tokio::select! {
            (service, ..) = futures::future::select_all(failures) => Failed::Service(service),
            server = server::keep(&mut self.server, &self.serving) => Failed::Server(server),
            never = self.plane.keep(&self.carrying) => match never {},
        }
    }

    /// Nothing new is decided, and what is held is finished. The data plane serves on, unless there is nothing to serve.
    pub async fn stop(mut self) {
        while let Some((_, running)) = self.services.pop() {
            running.stop(Duration::from_secs(10)).await;
        }
        if let Err(error) = self.server.stop().await {
            output::note(format!("stopping nats-server: {error}"));
        }
        let files = plane::Files::of(&self.home);
        if files.is_idle().await
            && let Err(failure) = files.stop().await
        {
            output::note(failure.text);
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

    /// Docker is offered when its socket is there, and metric providers and registries on this machine are asked: whoever
    /// uses the engine is on it.
    fn agents(&self, mut config: agents::AgentsConfig) -> agents::AgentsConfig {
        let plain = agents::AgentsConfig::default();
        if config.state_dir == plain.state_dir {
            config.state_dir = self.0.join("agents");
        }
        if config.platforms == plain.platforms && Path::new("/var/run/docker.sock").exists() {
            config.platforms.push(agents::config::Driver::Docker);
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

/// Makes the streams and consumers, as the one user that may; the connection ends with it.
async fn provision(common: &Common) -> Result<(), bus::Error> {
    let settings = common.bus(Role::Provisioner.as_str(), &ReplicaId::new());
    Bus::connect(&settings).await?.ensure().await
}

/// `codectl up`
pub async fn up(global: &Global, up: Up) -> Result<u8, Failure> {
    let home = vacant(Home::of(global)).await?;
    home::check_room(&home.0, &limits(up.config.as_deref())?)?;
    if up.detach {
        return detach(&home, &up).await;
    }
    let began = tokio::time::Instant::now();
    let mut signals = Signals::listen().map_err(|error| Failure::other(error.to_string()))?;
    let _lock = take(&home).await?;
    let last = Ports::last(&home.0);
    let engine = tokio::select! {
        engine = start(&home, &up, last) => engine?,
        _ = signals.next() => {
            output::note("stopped while it started");
            return Ok(0);
        }
    };
    let running = announce(&engine, &home, up.port, last)?;
    if output::json() {
        output::json_line(&running);
    } else {
        say_ready(&engine, &running, began.elapsed());
        say_how_to_go_on(global, &home);
    }
    serve(engine, &home, signals).await
}

/// The folder, once no engine runs there: one that was killed may take a moment to be gone.
async fn vacant(home: Home) -> Result<Home, Failure> {
    let Some(running) = home.running_for(home::DYING).await else { return make(home) };
    Err(Failure::other(format!(
        "an engine runs already in {} (process {}, {})\n  stop it with codectl down, or take another --home",
        home.0.display(),
        running.pid,
        running.nats
    )))
}

/// The home's lock, with this process' name in it.
async fn take(home: &Home) -> Result<holder::Held, Failure> {
    let lock = home.lock_within(home::DYING).await?;
    lock.sign()
        .map_err(|error| Failure::other(format!("signing {}/engine.lock: {error}", home.0.display())))?;
    Ok(lock)
}

async fn start(home: &Home, up: &Up, last: Ports) -> Result<Engine, Failure> {
    home.end_orphans().await?;
    let ports = ports(last, up.port)?;
    let started = Engine::start(&home.0, ports, up.config.as_deref()).await;
    started.map_err(|failure| home::with_room(&home.0, failure))
}

/// Writes down where the engine is found, and what of that is elsewhere than before.
fn announce(engine: &Engine, home: &Home, asked: u16, last: Ports) -> Result<home::Running, Failure> {
    engine.ports().remember(&home.0)?;
    let pid = std::process::id() as i32;
    let running = home::Running {
        pid,
        began: holder::began(pid).unwrap_or_default(),
        nats: engine.nats(),
        health: format!("http://{}", engine.health),
        // Whoever names a port knows of it.
        moved: engine.ports().moved(Ports { nats: if asked == 0 { last.nats } else { 0 }, ..last }),
    };
    home.announce(&running)?;
    Ok(running)
}

/// What runs, and where.
fn say_ready(engine: &Engine, running: &home::Running, took: Duration) {
    for (name, replica) in engine.services() {
        output::line(format!("{} {name:<14} {}", paint::good("ready"), paint::faint(replica)));
    }
    let came = match engine.plane.came {
        plane::Came::Adopted => ", which served before",
        plane::Came::Started => "",
        plane::Came::Replaced => ", which took the ports of the one before",
    };
    let serving = &engine.plane.serving;
    output::line(format!(
        "{} {:<14} {}",
        paint::good("ready"),
        "traffic",
        paint::faint(format!("{}, process {}{came}", serving.replica, serving.pid))
    ));
    let ready = format!("ready in {} ms", took.as_millis());
    output::line(format!("{}  {}  {}/metrics", paint::strong(ready), running.nats, running.health));
    say_moved(running);
}

fn say_moved(running: &home::Running) {
    running.moved.iter().for_each(|moved| output::line(format!("{} {moved}", paint::warn("note:"))));
}

fn say_how_to_go_on(global: &Global, home: &Home) {
    let named = if global.home.is_some() { format!(" --home {}", home.0.display()) } else { String::new() };
    output::line(paint::faint(format!("in another terminal: codectl apply SPEC --watch{named}")));
    output::line(paint::faint(
        "Ctrl-C stops the engine; what was deployed goes on running and stays reachable; codectl down --all ends it all",
    ));
}

/// Runs until a signal or until the engine cannot go on, then hands over what it holds; another signal cuts that short.
async fn serve(mut engine: Engine, home: &Home, mut signals: Signals) -> Result<u8, Failure> {
    let outcome = tokio::select! {
        _ = signals.next() => Ok(0),
        failed = engine.failed() => match failed {
            Failed::Service(why) => Err(Failure::other(why)),
            Failed::Server(why) => {
                home.withdraw();
                // Whoever asks /live every second hears why before nobody answers any more.
                tokio::time::sleep(LAST_WORD).await;
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
    let sources = sources::read(config)?;
    Ok(sources::of::<orchestrator::Config>(&sources)?.0.nats_limits)
}

/// The folder with its whole path, so that it means the same to every process.
fn make(home: Home) -> Result<Home, Failure> {
    let made = fs::create_dir_all(&home.0).and_then(|()| home.0.canonicalize());
    let failed = |error| Failure::other(format!("making the folder {}: {error}", home.0.display()));
    made.map(Home).map_err(failed)
}

/// The port that was asked for, else those that the last engine here had if they are free: clients find it again.
fn ports(last: Ports, asked: u16) -> Result<Ports, Failure> {
    let free = last.still_free();
    if asked == 0 {
        return Ok(free);
    }
    home::is_free(asked).map_err(|error| {
        Failure::other(format!(
            "port {asked} of 127.0.0.1: {error}\n  take another with --port, or 0 for a free one"
        ))
    })?;
    Ok(Ports { nats: asked, ..free })
}

/// Starts the same in the background and waits until it is ready.
async fn detach(home: &Home, up: &Up) -> Result<u8, Failure> {
    use std::os::unix::process::CommandExt;
    let failed = |error: std::io::Error| Failure::other(format!("starting the engine: {error}"));
    let place = home.0.join("engine.log");
    let (log, before) = log::go_on(&place).map_err(failed)?;
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
                say_moved(&running);
                output::line(paint::faint(format!("log: {}; stop it with codectl down", place.display())));
            }
            return Ok(0);
        }
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Err(Failure::other(format!(
                "the engine ended with {status}; {}",
                log::said(&place, before)
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Failure::other(format!("the engine was not ready within 30 s; see {}", place.display())))
}
