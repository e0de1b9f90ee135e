//! The processes of the demo: the engine, further orchestrators, and their folder.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use client::Client;
use futures::StreamExt;

use crate::{engine, failure::Failure, home::Home, output, output::paint, plane::Files};

use super::{failed, keys, releases::Release};

/// Where an orchestrator is told whose signatures count.
const SIGNERS: &str = "CODE_ORCHESTRATOR_APPROVALS__SIGNERS";

/// One orchestrator in a process of its own.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    /// Its replica id.
    pub replica: String,
    /// Its process.
    pub pid: u32,
}

/// Everything that runs.
pub struct Stage {
    folder: PathBuf,
    keep: bool,
    engine: Child,
    orchestrators: Vec<(String, Child)>,
    own: Option<String>,
    /// The engine's NATS server.
    pub nats: String,
    /// Where the data plane listens for the greeter.
    pub port: u16,
    /// Where the greeter's instances write down that they were started.
    pub ledger: PathBuf,
    greeter: PathBuf,
    /// Whose signatures count; all orchestrators need the same file.
    signers: PathBuf,
}

impl Stage {
    /// Starts the engine in one process, on a NATS server of its own, in a folder of its own.
    pub async fn set(keep: bool) -> Result<Stage, Failure> {
        let program = std::env::current_exe().map_err(failed("finding codectl"))?;
        let greeter = sibling(&program, "greeter")?;
        sibling(&program, "orchestrator")?;
        let folder = tempfile::Builder::new()
            .prefix("code-demo-")
            .tempdir()
            .map_err(failed("making a folder"))?
            .keep();
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .map_err(failed("finding a port"))?
            .port();
        let signers = keys::make_key(&folder)?;
        let log = File::create(folder.join("engine.log")).map_err(failed("making the log"))?;
        let engine = Command::new(&program)
            .args(["up", "--home"])
            .arg(&folder)
            .env("CODE_LOG", "info,async_nats=warn")
            .env(SIGNERS, &signers)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed("making the log"))?)
            .stderr(log)
            .spawn()
            .map_err(failed("starting the engine"))?;
        output::line(paint::faint(format!("$ codectl up   (data and logs in {})", folder.display())));
        let mut stage = Stage {
            ledger: folder.join("effects.log"),
            folder,
            keep,
            engine,
            orchestrators: Vec::new(),
            own: None,
            nats: String::new(),
            port,
            greeter,
            signers,
        };
        match stage.ready().await {
            Ok(()) => Ok(stage),
            Err(failure) => {
                stage.keep = true;
                stage.strike().await;
                Err(failure)
            }
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(running) = Home(self.folder.clone()).running() {
                self.nats = running.nats;
                output::line(format!(
                    "{} orchestrator, agents and NATS in one process, the data plane in its own, after {} ms",
                    paint::good("ready"),
                    began.elapsed().as_millis()
                ));
                return Ok(());
            }
            if let Some(status) = self.engine.try_wait().map_err(failed("watching the engine"))? {
                let log = fs::read_to_string(self.folder.join("engine.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(Failure::other(format!("the engine ended with {status}: {}", last.join(" | "))));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Failure::other("the engine was not ready within 30 s"))
    }

    /// Where the demo keeps its files.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// The spec of a release.
    pub fn spec(&self, release: &Release) -> String {
        release.spec(&self.greeter.to_string_lossy(), self.port, &self.ledger.to_string_lossy())
    }

    /// Starts one more orchestrator in a process of its own.
    pub async fn orchestrator(&mut self, client: &Client) -> Result<Orchestrator, Failure> {
        let mut beats = client.beats(None).await?;
        let mut known: Vec<String> = self.orchestrators.iter().map(|(replica, _)| replica.clone()).collect();
        if self.own.is_none() {
            let heard = tokio::time::timeout(Duration::from_secs(10), beats.next()).await;
            let Ok(Some(beat)) = heard else {
                return Err(Failure::other("the engine's orchestrator is silent"));
            };
            self.own = Some(beat.replica.to_string());
        }
        known.extend(self.own.clone());
        let program = sibling(&std::env::current_exe().map_err(failed("finding codectl"))?, "orchestrator")?;
        let name = format!("orchestrator-{}.log", self.orchestrators.len() + 1);
        let log = File::create(self.folder.join(name)).map_err(failed("making the log"))?;
        let child = Command::new(program)
            .env("CODE_NATS_URL", &self.nats)
            .env("CODE_NATS_KEYS", Home(self.folder.clone()).access().keys())
            .env(SIGNERS, &self.signers)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed("making the log"))?)
            .stderr(log)
            .spawn()
            .map_err(failed("starting an orchestrator"))?;
        let pid = child.id();
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            let heard = tokio::time::timeout(Duration::from_secs(1), beats.next()).await;
            let Ok(Some(beat)) = heard else { continue };
            let replica = beat.replica.to_string();
            if !known.contains(&replica) {
                self.orchestrators.push((replica.clone(), child));
                return Ok(Orchestrator { replica, pid });
            }
        }
        self.orchestrators.push((String::new(), child));
        Err(Failure::other("an orchestrator was not heard within 15 s"))
    }

    /// The engine's own orchestrator hands over and takes nothing new.
    pub async fn hand_over(&self, client: &Client) -> Result<(), Failure> {
        let Some(own) = &self.own else { return Ok(()) };
        let replica = own.parse().map_err(|error: model::id::BadToken| Failure::other(error.to_string()))?;
        let mut beats = client.beats(Some(own)).await?;
        client.drain(&replica).await?;
        let drained = async {
            while let Some(beat) = beats.next().await {
                if beat.draining {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), drained)
            .await
            .map_err(|_| Failure::other("the engine's orchestrator did not hand over within 10 s"))
    }

    /// Kills an orchestrator with -9.
    pub fn kill(&mut self, replica: &str) -> Result<u32, Failure> {
        let found = self.orchestrators.iter_mut().find(|(known, _)| known == replica);
        let (_, child) =
            found.ok_or_else(|| Failure::other(format!("{replica} is no process of the demo")))?;
        child.kill().map_err(failed("killing an orchestrator"))?;
        child.wait().map_err(failed("killing an orchestrator"))?;
        Ok(child.id())
    }

    /// Stops everything and says how many processes are left.
    pub async fn strike(mut self) -> usize {
        for (_, mut child) in std::mem::take(&mut self.orchestrators) {
            let _ = child.kill();
            let _ = child.wait();
        }
        terminate(&mut self.engine).await;
        if let Err(failure) = Files::of(&self.folder).stop().await {
            output::note(failure.text);
        }
        if let Err(failure) = engine::take_down(&self.folder, None).await {
            output::note(failure.text);
        }
        let left = processes_that_mention(&self.folder.to_string_lossy());
        if !self.keep && left.is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        } else {
            output::line(paint::faint(format!("data and logs stay in {}", self.folder.display())));
        }
        left.len()
    }
}

async fn terminate(child: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    for _ in 0..300 {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn sibling(program: &std::path::Path, name: &str) -> Result<PathBuf, Failure> {
    let path = program.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::other(format!("{} is not there: build it with `cargo build -p {name}`", path.display())))
}

/// Processes other than ours whose command line or environment names the demo's folder.
fn processes_that_mention(folder: &str) -> Vec<u32> {
    let own = std::process::id();
    let mentions = |pid: u32| {
        ["cmdline", "environ"].iter().any(|file| {
            fs::read(format!("/proc/{pid}/{file}"))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(folder))
        })
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| *pid != own && mentions(*pid)).collect()
}
