//! The data plane of a home: a process of its own, which serves whether the engine runs or not.

mod keep;

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use chassis::{Process, Signals, config::Common};
use ground::{
    file::{self, Access},
    holder::{self, Who},
};
use model::{Digest, ReplicaId};
use serde::{Deserialize, Serialize};
use traffic::{Place, Store, TrafficConfig};

use crate::{cli, failure::Failure, home::Home, output, sources};

pub use keep::{Came, Kept, ask};

/// How long a plane that was told to end may take: longer than its drain.
const STOP: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(20);

/// What a data plane says of itself when it serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// The process.
    pub pid: i32,
    /// When it began, as [`Who::began`].
    pub began: u64,
    /// Which copy it is.
    pub replica: String,
    /// Where `/ready` and `/metrics` are.
    pub health: String,
    /// Its settings, the address of NATS among them.
    pub settings: Digest,
}

/// The files of a home's data plane.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

impl Files {
    /// Below this home.
    pub fn of(home: &Path) -> Files {
        Files(home.join("traffic"))
    }

    fn said(&self) -> PathBuf {
        self.0.join("plane.json")
    }

    /// What it writes.
    pub fn log(&self) -> PathBuf {
        self.0.join("plane.log")
    }

    fn last(&self) -> Option<Serving> {
        serde_json::from_slice(&fs::read(self.said()).ok()?).ok()
    }

    /// The process that holds the place, if one lives.
    pub fn holder(&self) -> Option<Who> {
        holder::holder(&Place::new(&self.0).lock_file())
    }

    /// The data plane that serves here, if one does.
    pub fn serving(&self) -> Option<Serving> {
        let who = self.holder()?;
        self.last().filter(|said| said.pid == who.pid && said.began == who.began)
    }

    /// The ports at which it serves clients, by the tables that it keeps.
    pub async fn ports(&self) -> Vec<u16> {
        let tables = Store::new(&self.0).load().await.unwrap_or_default();
        let served =
            tables.iter().map(|it| &it.table).filter(|table| !table.internal && !table.weights.0.is_empty());
        let mut ports: Vec<u16> = served.map(|table| table.listen).collect();
        ports.sort_unstable();
        ports
    }

    /// Whether it has no table at all.
    pub async fn is_idle(&self) -> bool {
        Store::new(&self.0).load().await.is_ok_and(|tables| tables.is_empty())
    }

    /// Ends the data plane that serves here; gives its process, none when none did.
    pub async fn stop(&self) -> Result<Option<i32>, Failure> {
        let Some(who) = self.holder() else { return Ok(None) };
        end(who, "data plane", STOP).await?;
        let _ = fs::remove_file(self.said());
        Ok(Some(who.pid))
    }
}

/// Asks a process to end and waits until it has.
pub async fn end(who: Who, what: &str, limit: Duration) -> Result<(), Failure> {
    let pid = nix::unistd::Pid::from_raw(who.pid);
    match nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => return Err(Failure::other(format!("stopping the {what}, process {pid}: {error}"))),
    }
    let asked = tokio::time::Instant::now();
    while who.is_alive() {
        if asked.elapsed() > limit {
            return Err(Failure::other(format!(
                "the {what}, process {pid}, has not ended within {} s; look at its log, or end it with kill -9 {pid}",
                limit.as_secs()
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Its settings in this home, and what they are known by.
pub fn settings(
    home: &Path,
    config: Option<&Path>,
    nats: &str,
) -> Result<(Common, TrafficConfig, Digest), Failure> {
    let sources = sources::read(config)?;
    let (mut common, mut traffic) = sources::of::<TrafficConfig>(&sources)?;
    common.nats_url = nats.to_owned();
    common.nats_keys = Some(Home(home.to_owned()).access().keys());
    let files = Files::of(home);
    if traffic.state_dir == TrafficConfig::default().state_dir {
        traffic.state_dir.clone_from(&files.0);
    }
    traffic.handover_dir = Some(files.0);
    let known = Digest::of(&(&common, &traffic));
    Ok((common, traffic, known))
}

/// Where it says how it is: where it did before if that is free.
fn health(files: &Files, address: IpAddr) -> SocketAddr {
    let before = files.last().and_then(|said| said.health.rsplit(':').next()?.parse().ok());
    let free = before.filter(|port| TcpListener::bind((address, *port)).is_ok());
    SocketAddr::new(address, free.unwrap_or(0))
}

/// Whether a process runs the same program file as this one.
fn is_same_program(pid: i32) -> bool {
    let file = |path: &str| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let ours = file("/proc/self/exe");
    ours.is_some() && ours == file(&format!("/proc/{pid}/exe"))
}

/// `codectl plane`: what `codectl up` starts beside the engine, and what stays when the engine goes.
pub async fn serve(global: &cli::Global, asked: cli::Plane) -> Result<u8, Failure> {
    // A terminal that is closed ends the engine and not this.
    let _ = nix::unistd::setsid();
    let failed = |error: chassis::Error| Failure::other(chassis::chain(&error));
    let mut signals = Signals::listen().map_err(|error| Failure::other(error.to_string()))?;
    let home = Home::of(global);
    let files = Files::of(&home.0);
    let nats = global.nats.as_deref().ok_or_else(|| Failure::invalid("codectl plane needs --nats"))?;
    let (common, traffic, settings) = settings(&home.0, asked.config.as_deref(), nats)?;
    let process = Process::begin("traffic", &common).map_err(failed)?;
    let health = process.serve(health(&files, common.health_listen.ip())).await.map_err(failed)?;
    let replica = ReplicaId::new();
    let started = async {
        let bus = chassis::connect::<TrafficConfig>(&common, &replica).await?;
        process.start_as(replica.clone(), traffic, bus, traffic::start).await
    };
    let running = tokio::select! {
        started = started => started.map_err(failed)?,
        _ = signals.next() => return Ok(0),
    };
    let who = Who::of(std::process::id().cast_signed()).unwrap_or(Who { pid: 0, began: 0 });
    let said = Serving {
        pid: who.pid,
        began: who.began,
        replica: replica.to_string(),
        health: format!("http://{health}"),
        settings,
    };
    let text = serde_json::to_vec_pretty(&said).map_err(|error| Failure::other(error.to_string()))?;
    file::replace(&files.said(), &text, Access::Everyone)
        .map_err(|error| Failure::other(format!("writing {}: {error}", files.said().display())))?;
    let outcome = tokio::select! {
        _ = signals.next() => Ok(0),
        failed = running.failed() => Err(Failure::other(format!("the data plane failed: {failed:?}"))),
        failed = process.failed() => Err(Failure::other(format!("the data plane failed: {failed:?}"))),
    };
    tokio::select! {
        _ = running.stop(common.shutdown_grace.0) => {}
        _ = signals.next() => {}
    }
    process.end().await;
    if outcome.is_err() {
        output::note("what is served here is served again by the next codectl up");
    }
    outcome
}
