//! What a scenario stands on: a driver's fixture, a target of its own, and a broom.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use ground::Secret;
use model::{DeploymentId, Fence, TargetId, spec::Module};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Instance, Platform, ScriptedPlatform, StartOrder, instance_id};

/// What a module of a scenario does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Answers HTTP on its port.
    Serve,
    /// Runs and answers nothing.
    Mute,
    /// Ends at once with this status.
    Exit(i32),
    /// Takes this many MiB of memory.
    Eat(u64),
    /// Starts a child that ignores the signal to end.
    Brood,
}

impl Program {
    /// Arguments of the sample program.
    pub fn words(self) -> Vec<String> {
        match self {
            Program::Serve => vec!["serve".to_owned(), "{port}".to_owned()],
            Program::Mute => vec!["mute".to_owned()],
            Program::Exit(code) => vec!["exit".to_owned(), code.to_string()],
            Program::Eat(mebibytes) => vec!["eat".to_owned(), mebibytes.to_string()],
            Program::Brood => vec!["brood".to_owned()],
        }
    }
}

/// A driver, as the scenarios need it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A new driver object for the same machine, as a restarted engine makes one.
    async fn open(&self) -> Arc<dyn Platform>;
    /// A module named `web` with a port `http` that does this.
    fn module(&self, program: Program) -> Module;
    /// The sample program with other arguments, to be run beside an instance.
    fn command(&self, words: &[&str]) -> Vec<String>;
    /// Removes what outlives the instances of a target, such as volumes.
    async fn sweep(&self, _target: &TargetId) {}
    /// The module with an image or program that is nowhere.
    fn missing(&self) -> Module {
        unimplemented_by("missing artefacts")
    }
}

fn unimplemented_by<T>(what: &str) -> T {
    panic!("this fixture has no {what}")
}

/// One scenario's own target on a driver.
pub struct Stage {
    /// The driver's fixture.
    pub fixture: Arc<dyn Fixture>,
    /// Unique to the scenario.
    pub target: TargetId,
    /// The deployment of all its orders.
    pub deployment: DeploymentId,
}

/// A fence whose lock is this.
pub fn fence(lock: u64) -> Fence {
    Fence { lock, epoch: 1 }
}

/// How long a scenario waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(20);

impl Stage {
    /// An order of slot 0 with fence 1.1.
    pub fn order(&self, module: Module) -> StartOrder {
        StartOrder {
            target: self.target.clone(),
            deployment: self.deployment.clone(),
            revision: module.revision(),
            module,
            slot: 0,
            fence: fence(1),
            peers: BTreeMap::from([("auth-api".to_owned(), "127.0.0.1:7".to_owned())]),
            labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
            secrets: vec![("TOKEN".to_owned(), Secret::new("hush"))],
        }
    }

    /// The one instance of an order as it is observed; none when it is not there.
    pub async fn seen(&self, platform: &dyn Platform, order: &StartOrder) -> Option<Instance> {
        let id = instance_id(&order.target, &order.module.name, &order.revision, order.slot);
        let all = platform.observe(&order.target).await.unwrap();
        all.into_iter().find(|instance| instance.id == id)
    }

    /// Observes until the order's instance fits; panics with the last seen when it never does.
    pub async fn eventually(
        &self,
        platform: &dyn Platform,
        order: &StartOrder,
        fits: impl Fn(&Instance) -> bool,
    ) -> Instance {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let seen = self.seen(platform, order).await;
            match seen {
                Some(instance) if fits(&instance) => return instance,
                _ if tokio::time::Instant::now() > until => panic!("never came to be; last seen: {seen:?}"),
                _ => tokio::time::sleep(TICK).await,
            }
        }
    }

    /// The answer to a GET, asked until there is one.
    pub async fn get(&self, address: &str, path: &str) -> (u16, String) {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match get_once(address, path).await {
                Ok(answer) => return answer,
                Err(error) if tokio::time::Instant::now() > until => panic!("GET {address}{path}: {error}"),
                Err(_) => tokio::time::sleep(TICK).await,
            }
        }
    }
}

async fn get_once(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let bad = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    Ok((status, body.to_owned()))
}

/// Runs a scenario on a target of its own and removes what it left, also when it fails.
pub async fn run<F, Done>(fixture: Arc<dyn Fixture>, scenario: F)
where
    F: Fn(Arc<Stage>) -> Done,
    Done: Future<Output = ()> + Send + 'static,
{
    let platform = fixture.open().await;
    let deployment = DeploymentId::new();
    let name = &deployment.as_str()[deployment.as_str().len() - 12..];
    let target: TargetId = format!("test.{}.t{name}", platform.kind()).parse().unwrap();
    let stage = Arc::new(Stage { fixture, target: target.clone(), deployment });
    #[allow(
        clippy::disallowed_methods,
        reason = "a panic of the scenario must not keep the broom from its work"
    )]
    let ended = tokio::spawn(scenario(Arc::clone(&stage))).await;
    let last = Fence { lock: u64::MAX, epoch: u64::MAX };
    for instance in platform.observe(&target).await.unwrap_or_default() {
        let _ = platform.stop(&target, &instance.id, last, Duration::ZERO).await;
    }
    stage.fixture.sweep(&target).await;
    if let Err(failed) = ended {
        std::panic::resume_unwind(failed.into_panic());
    }
}

/// The scripted platform's own fixture: programs become rules of the script.
pub struct Scripted(pub ScriptedPlatform);

#[async_trait]
impl Fixture for Scripted {
    async fn open(&self) -> Arc<dyn Platform> {
        Arc::new(self.0.clone())
    }

    fn module(&self, program: Program) -> Module {
        let module = module_of(serde_json::json!({ "command": self.command(&["x"]) }), 8080);
        self.0.script(|script| {
            script.set_never_ready(&module.name, None, program == Program::Mute);
            let crash = match program {
                Program::Exit(code) => Some((Duration::ZERO, i64::from(code))),
                _ => None,
            };
            script.set_crash(&module.name, None, crash);
            script.set_log(&module.name, None, &format!("sample {}", program.words().join(" ")));
        });
        module
    }

    fn command(&self, words: &[&str]) -> Vec<String> {
        if let ["exit", status] = words {
            let status = status.parse().unwrap();
            self.0.script(|script| script.set_exec_status(&"web".parse().unwrap(), None, status));
        }
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// The module `web` of the scenarios: 100 millicores, 64 MiB, asked over HTTP.
pub fn module_of(run: serde_json::Value, port: u16) -> Module {
    let module = serde_json::json!({
        "name": "web",
        "run": run,
        "ports": [{ "name": "http", "container": port }],
        "resources": { "cpu": "500m", "memory": "64Mi" },
        "environment": { "GREETING": "hello on {port}" },
        "config": [{ "path": "/etc/sample/app.conf", "content": "colour = green\n" }],
        "health": {
            "probe": { "http": { "path": "/healthz" } },
            "interval": "50ms", "timeout": "500ms", "healthyAfter": "100ms", "healthyDeadline": "600ms",
        },
    });
    serde_json::from_value(module).unwrap()
}
