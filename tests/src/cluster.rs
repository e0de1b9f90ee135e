//! A whole engine for one test: a nats-server of its own, orchestrators, agents and a data plane in this process, real
//! instances, constant load, and nothing left behind.
//!
//! Services run through the same `start` as in production. Orchestrators can also be processes of their own, so that
//! they can be killed with -9. Everything lies in one temporary folder; when the cluster is dropped, whatever the
//! folder's instances started is killed and containers and networks of its environment are removed.

mod ask;
mod clean;
pub mod docker;
mod journal;
mod load;
mod release;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use agents::AgentsConfig;
use bus::{Bus, subjects};
use chassis::{Running, Service, start_in_process};
use futures::StreamExt;
use model::{DeploymentId, Span};
use platform::{Platform, ScriptedPlatform};
use tempfile::TempDir;
use testkit::TestNats;
use tokio::time::Instant;

pub use ask::{ASK, PATIENCE, open_pause, submit, told};
pub use journal::{owners, steps_begun, verdict_to_way_back};
pub use load::{Counts, Load};
pub use release::{analysis, at_once, blue_green, canary, rolling};
pub(crate) use {clean::kill_whatever_mentions, load::versions, release::behaving};

/// Nobody else in this process gets this port; below the kernel's own range and beside that of the instances.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// What is different about an engine.
#[derive(Clone)]
pub struct Setting {
    /// Orchestrators in this process.
    pub orchestrators: usize,
    /// The platforms of the agents.
    pub platforms: Vec<agents::config::Driver>,
    /// Where the agents reach Docker.
    pub docker_endpoint: String,
    /// Where files that specs name as secrets lie.
    pub secrets_dir: Option<PathBuf>,
    /// The platform `scripted`, whose faults the test sets.
    pub scripted: Option<ScriptedPlatform>,
    /// Whether agents and a data plane are there from the beginning.
    pub hands: bool,
    /// Whether experts and a consensus worker are there from the beginning.
    pub experts: bool,
    /// How long experts may take; none: as usual.
    pub advice: Option<&'static str>,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            orchestrators: 1,
            platforms: vec![agents::config::Driver::Process],
            docker_endpoint: "unix:///var/run/docker.sock".to_owned(),
            secrets_dir: None,
            scripted: None,
            hands: true,
            experts: false,
            advice: None,
        }
    }
}

/// One engine.
pub struct Cluster {
    /// Its nats-server.
    pub nats: TestNats,
    /// The connection of ann, an operator, who asks for releases.
    pub ann: Bus,
    /// Orchestrators in this process, first started first.
    pub orchestrators: Vec<Running>,
    /// The agents, while they run.
    pub agents: Option<Running>,
    /// The data plane, while it runs.
    pub traffic: Option<Running>,
    /// Experts and a consensus worker, while they run.
    pub experts: Vec<Running>,
    /// The environment of all its targets: no other engine has it.
    pub environment: String,
    /// Where the data plane listens for the first exposed module; further modules take [`Cluster::another_port`].
    pub port: u16,
    setting: Setting,
    processes: BTreeMap<String, Child>,
    /// Every process that ever beat: what a killed one said last may arrive late.
    beaten: BTreeSet<String>,
    folder: TempDir,
}

impl Cluster {
    /// One of each, on the process platform.
    pub async fn start() -> Cluster {
        Cluster::with(Setting::default()).await
    }

    /// As set.
    pub async fn with(setting: Setting) -> Cluster {
        let lines = tracing_subscriber::EnvFilter::from_env("CODE_TEST_LOG");
        let _ = tracing_subscriber::fmt().with_env_filter(lines).with_test_writer().try_init();
        let folder = TempDir::with_prefix("code-test-").unwrap();
        let unique = DeploymentId::new().to_string();
        let nats = Box::pin(testkit::nats()).await;
        let mut cluster = Cluster {
            ann: Box::pin(nats.connect_operator("ann")).await,
            nats,
            orchestrators: Vec::new(),
            agents: None,
            traffic: None,
            experts: Vec::new(),
            environment: format!("t{}", &unique[unique.len() - 10..]),
            port: free_port(),
            setting,
            processes: BTreeMap::new(),
            beaten: BTreeSet::new(),
            folder,
        };
        if cluster.setting.hands {
            Box::pin(cluster.start_traffic()).await;
            Box::pin(cluster.start_agents()).await;
        }
        if cluster.setting.experts {
            Box::pin(cluster.start_experts()).await;
        }
        for _ in 0..cluster.setting.orchestrators {
            Box::pin(cluster.start_orchestrator()).await;
        }
        cluster
    }

    /// Where everything of this engine lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The agents' folder: their journal, and the process platform's instances.
    pub fn agents_dir(&self) -> PathBuf {
        self.folder().join("agents")
    }

    /// One more orchestrator in this process.
    pub async fn start_orchestrator(&mut self) {
        let bus = self.nats.connect_service("orchestrator").await;
        let mut config = orchestrator::Config::default();
        if let Some(advice) = self.setting.advice {
            config.advice = advice.parse().unwrap();
        }
        let running = Box::pin(start_in_process(config, bus, orchestrator::start)).await.unwrap();
        self.orchestrators.push(running);
    }

    /// The agents, with the folder they had before.
    pub async fn start_agents(&mut self) {
        let config = AgentsConfig {
            state_dir: self.agents_dir(),
            platforms: self.setting.platforms.clone(),
            docker: agents::config::DockerDriver {
                endpoint: self.setting.docker_endpoint.clone(),
                ..agents::config::DockerDriver::default()
            },
            secrets_dir: self.setting.secrets_dir.clone(),
            // As `codectl up` does.
            egress_allow: vec!["loopback".to_owned()],
            drain: Span::seconds(2),
            ..AgentsConfig::default()
        };
        let scripted = self.setting.scripted.clone();
        let start = |service: Service<AgentsConfig>| async move {
            agents::output::keep_with(program("agents"));
            let mut platforms = agents::platforms::of(&service.config, &service.clock)?;
            if let Some(scripted) = scripted {
                platforms.insert("scripted".to_owned(), Arc::new(scripted) as Arc<dyn Platform>);
            }
            agents::start_with(service, platforms).await
        };
        let bus = self.nats.connect_service("agents").await;
        self.agents = Some(Box::pin(start_in_process(config, bus, start)).await.unwrap());
    }

    /// Rules as experts, and a consensus worker.
    pub async fn start_experts(&mut self) {
        let bus = self.nats.connect_service("consensus").await;
        let config = consensus::ConsensusConfig { threads: 1, pin: false };
        self.experts.push(Box::pin(start_in_process(config, bus, consensus::start)).await.unwrap());
        let bus = self.nats.connect_service("experts").await;
        let config = experts::ExpertsConfig::default();
        self.experts.push(Box::pin(start_in_process(config, bus, experts::start)).await.unwrap());
    }

    /// The data plane.
    pub async fn start_traffic(&mut self) {
        let config = traffic::TrafficConfig {
            state_dir: self.folder().join("traffic"),
            drain: Span::seconds(2),
            ..traffic::TrafficConfig::default()
        };
        let bus = self.nats.connect_service("traffic").await;
        self.traffic = Some(Box::pin(start_in_process(config, bus, traffic::start)).await.unwrap());
    }

    /// Ends the data plane in order, and starts another one on the same folder.
    pub async fn restart_traffic(&mut self) {
        if let Some(running) = self.traffic.take() {
            running.stop(Duration::from_secs(10)).await;
        }
        self.start_traffic().await;
    }

    /// An orchestrator as a process of its own; gives its replica id once it beats.
    pub async fn spawn_orchestrator(&mut self) -> String {
        let mut beats = self.ann.listen(&subjects::orchestrator::BEAT, None).await.unwrap();
        let path = self.folder().join(format!("orchestrator-{}.log", DeploymentId::new()));
        let log = fs::File::create(&path).unwrap();
        let mut child = Command::new(program("orchestrator"))
            .envs(self.nats.environment())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let heard = tokio::time::timeout(Duration::from_millis(200), beats.next()).await;
            if let Ok(Some(beat)) = heard {
                let beat = beat.message;
                let replica = beat.replica.to_string();
                let in_process = self.orchestrators.iter().any(|running| *running.replica() == beat.replica);
                if !in_process && !self.beaten.contains(&replica) {
                    self.beaten.insert(replica.clone());
                    self.processes.insert(replica.clone(), child);
                    // It beats a moment before it answers.
                    self.answers().await;
                    return replica;
                }
            }
            if Instant::now() > until || child.try_wait().unwrap().is_some() {
                let _ = child.kill();
                let log = fs::read_to_string(&path).unwrap_or_default();
                panic!("an orchestrator in a process of its own does not beat:\n{log}");
            }
        }
    }

    /// The agents as a process of their own, with the folder they had before. Steps wait until they are there.
    pub fn spawn_agents(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.folder().join("agents.log")).unwrap();
        let child = Command::new(program("agents"))
            .env("CODE_AGENTS_STATE_DIR", self.agents_dir())
            .env("CODE_AGENTS_DRAIN", "2s")
            .envs(self.nats.environment())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        assert!(self.processes.insert("agents".to_owned(), child).is_none(), "the agents already run");
    }

    /// `kill -9` of a process of this test: an orchestrator by its replica id, or `agents`.
    pub fn kill(&mut self, name: &str) {
        let mut child =
            self.processes.remove(name).unwrap_or_else(|| panic!("{name} is no process of this test"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `kill -9`.
    pub fn kill_orchestrator(&mut self, replica: &str) {
        self.kill(replica);
    }

    /// The data plane's port for one more module.
    pub fn another_port(&self) -> u16 {
        free_port()
    }

    /// Constant load on the first module's port.
    pub fn load(&self, rate: u32) -> Load {
        Load::begin(self.port, rate)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.orchestrators.clear();
        self.agents = None;
        self.traffic = None;
        self.experts.clear();
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        clean::kill_whatever_mentions(self.folder.path());
        if self.setting.platforms.contains(&agents::config::Driver::Docker) {
            docker::remove_all_of(&self.environment);
        }
    }
}

/// A program that was built beside this test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not beside {}: build it with `cargo build -p {name}`", test.display())
    })
}

/// A port for a data plane that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let first = 10_000 + (std::process::id() % 500) as u16 * 18;
    for _ in 0..9_000 {
        let port = 10_000 + (first - 10_000 + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 9_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from 10000 to 18999 is free");
}
