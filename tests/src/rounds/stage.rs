//! One engine's home and everything that is done to it through the binary and the operating system.

use std::{
    fs,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::Instant,
};

use super::{
    kinds::Flavour,
    story::{Place, small},
};
use crate::cluster::{Load, free_port, kill_whatever_mentions, program};

/// Targets of each engine.
pub const TARGETS: [&str; 2] = ["shop", "desk"];
/// Requests a second to each target.
const RATE: u32 = 12;
/// How long any command may take that does not wait for a deployment.
pub const ASK: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Streams reserve some 250 MiB of it.
const SMALL_DISK: &str = "size=420m";

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit status; -1 when it was ended.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Answer {
    /// What it printed as JSON; null when it did not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or(Value::Null)
    }

    /// Everything it said, as one line.
    pub fn said(&self) -> String {
        let text = format!("{} {}", self.out.trim(), self.err.trim());
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ")
    }
}

/// A module of one of the engine's targets.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Its port at the data plane.
    pub port: u16,
    /// What was promoted last, by the verdicts.
    pub version: String,
    /// Clients.
    pub load: Load,
}

/// One engine in a folder of its own.
pub struct Stage {
    home: TempDir,
    /// Beside the home, whose disk may be full.
    ledgers: TempDir,
    mounted: bool,
    faketime: Option<PathBuf>,
    /// How the engine is started.
    pub flavour: Flavour,
    /// What is deployed.
    pub targets: Vec<Target>,
    releases: u32,
    /// Rounds that were played here.
    pub rounds: u32,
}

impl Stage {
    /// A folder with an engine that is not started.
    pub fn new(flavour: Flavour) -> Result<Stage> {
        let home = TempDir::with_prefix("code-round-")?;
        let ledgers = TempDir::with_prefix("code-ledgers-")?;
        let mut stage = Stage {
            home,
            ledgers,
            mounted: false,
            faketime: None,
            flavour,
            targets: Vec::new(),
            releases: 0,
            rounds: 0,
        };
        if flavour == Flavour::SmallDisk {
            let mount = std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", SMALL_DISK, "code-round"])
                .arg(stage.home())
                .output()?;
            let why = String::from_utf8_lossy(&mount.stderr).trim().to_owned();
            ensure!(mount.status.success(), "a small disk could not be mounted ({why}): run it as root");
            stage.mounted = true;
        }
        if flavour == Flavour::Clocked {
            stage.faketime = Some(faketime()?);
            stage.set_clock(0)?;
        }
        let limits = serde_json::to_value(bus::StreamLimits::small())?;
        let fields = limits.as_object().context("limits are fields")?;
        let limits: String = fields.iter().map(|(name, size)| format!("{name} = {size}\n")).collect();
        let text =
            format!("[agents]\ndrain = \"2s\"\n[traffic]\ndrain = \"2s\"\n[common.nats_limits]\n{limits}");
        fs::write(stage.home().join("code.toml"), text)?;
        Ok(stage)
    }

    /// The folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Sets the clock of the engine and of the commands, by seconds from the machine's.
    pub fn set_clock(&self, seconds: i64) -> Result<()> {
        let (file, new) = (self.home().join("clock"), self.home().join("clock.new"));
        fs::write(&new, format!("{seconds:+}"))?;
        fs::rename(new, file).context("setting the clock")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let codectl = program("codectl");
        let mut command = if self.flavour == Flavour::Narrow && arguments.first() == Some(&"up") {
            let mut shell = std::process::Command::new("/bin/sh");
            shell.args(["-c", "ulimit -n 1024; exec \"$0\" \"$@\""]).arg(codectl);
            shell
        } else {
            std::process::Command::new(codectl)
        };
        command.args(arguments).env("CODE_HOME", self.home()).env("CODE_USER", "tester");
        command.current_dir(self.home()).stdin(Stdio::null());
        command.env("NO_COLOR", "1");
        for name in ["CODE_NATS_URL", "CODE_NATS_KEYS", "CODE_OPERATOR_KEY", "CODE_OUTPUT", "CODE_CONFIG"] {
            command.env_remove(name);
        }
        if let Some(faketime) = &self.faketime {
            command.env("LD_PRELOAD", faketime).env("FAKETIME_TIMESTAMP_FILE", self.home().join("clock"));
            // Kept by each thread for itself, its file is read too late by some.
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        // Signals to our terminal are ours.
        command.process_group(0);
        command.into()
    }

    /// Runs `codectl` to its end, or ends it after `patience`.
    pub async fn ask_within(&self, patience: Duration, arguments: &[&str]) -> Answer {
        // Files and no pipes: what a command leaves running keeps those open.
        let files = (tempfile::tempfile(), tempfile::tempfile());
        let (Ok(mut out), Ok(mut err)) = files else {
            return Answer { code: -1, out: String::new(), err: "no temporary file".to_owned() };
        };
        let mut command = self.command(arguments);
        let ended = match (out.try_clone(), err.try_clone()) {
            (Ok(out), Ok(err)) => {
                command.stdout(out).stderr(err).kill_on_drop(true);
                match command.spawn() {
                    Ok(mut child) => tokio::time::timeout(patience, child.wait()).await.ok(),
                    Err(error) => Some(Err(error)),
                }
            }
            _ => None,
        };
        let code = match &ended {
            Some(Ok(status)) => status.code().unwrap_or(-1),
            _ => -1,
        };
        let mut answer = Answer { code, out: read_back(&mut out), err: read_back(&mut err) };
        match ended {
            None => answer.err += &format!(" (ended after {} s)", patience.as_secs()),
            Some(Err(error)) => answer.err += &error.to_string(),
            Some(Ok(_)) => {}
        }
        answer
    }

    /// Runs `codectl` to its end.
    pub async fn ask(&self, arguments: &[&str]) -> Answer {
        self.ask_within(ASK, arguments).await
    }

    /// Runs `codectl` for what it prints as JSON.
    pub async fn ask_json(&self, arguments: &[&str]) -> (i32, Value, Answer) {
        let answer = self.ask(&[arguments, &["--output", "json"]].concat()).await;
        (answer.code, answer.json(), answer)
    }

    /// Starts the engine in the background.
    pub async fn up(&self) -> Answer {
        self.ask(&["up", "--detach", "--config", "code.toml"]).await
    }

    /// Starts the engine and does not wait for it: its process group.
    pub fn begin_up(&self) -> Result<tokio::process::Child> {
        let mut command = self.command(&["up", "--config", "code.toml"]);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.home().join("engine.log"))?;
        command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(command.spawn()?)
    }

    /// The engine's process, as it signed its lock.
    pub fn engine(&self) -> Option<i32> {
        let text = fs::read_to_string(self.home().join("engine.lock")).ok()?;
        let pid = text.split_whitespace().next()?.parse().ok()?;
        self.of_home(pid).then_some(pid)
    }

    /// The data plane's process, as it signed its lock.
    pub fn plane(&self) -> Option<i32> {
        let text = fs::read_to_string(self.home().join("traffic/plane.lock")).ok()?;
        let pid = text.split_whitespace().next()?.parse().ok()?;
        self.of_home(pid).then_some(pid)
    }

    fn of_home(&self, pid: i32) -> bool {
        let home = format!("CODE_HOME={}", self.home().display());
        is_alive(pid) && read_proc(pid, "environ").contains(&home)
    }

    /// The NATS servers on this engine's data.
    pub fn servers(&self) -> Vec<i32> {
        let conf = self.home().join("nats/nats.conf").display().to_string();
        processes(|pid| {
            let line = read_proc(pid, "cmdline");
            line.contains("nats-server") && line.contains(&conf)
        })
    }

    /// Ends a process as a crash would, and waits until it is gone.
    pub async fn kill(&self, pid: i32) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        self.until(Duration::from_secs(10), || !is_alive(pid)).await;
    }

    /// `kill -9` of engine and server; true when there was an engine.
    pub async fn kill_all(&self) -> bool {
        let engine = self.engine();
        let servers = self.servers();
        for pid in engine.iter().chain(&servers) {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        for pid in engine.iter().chain(&servers) {
            self.until(Duration::from_secs(10), || !is_alive(*pid)).await;
        }
        engine.is_some()
    }

    /// Waits until it holds, at most so long; whether it does.
    pub async fn until(&self, patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
        let until = Instant::now() + patience;
        loop {
            if holds() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What `engine.json` says; null when it is not there.
    pub fn announced(&self) -> Value {
        let text = fs::read(self.home().join("engine.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(Value::Null)
    }

    /// What the engine answers to `/ready`, with the status line; empty when it does not.
    pub async fn ready(&self) -> String {
        let health = self.announced()["health"].as_str().unwrap_or_default().to_owned();
        let ask = async {
            let mut stream = TcpStream::connect(health.trim_start_matches("http://")).await?;
            stream.write_all(b"GET /ready HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<String, std::io::Error>(text)
        };
        match tokio::time::timeout(Duration::from_secs(3), ask).await {
            Ok(Ok(text)) => text,
            _ => String::new(),
        }
    }

    /// Waits until the engine says that it is ready.
    pub async fn until_ready(&self, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        loop {
            let said = self.ready().await;
            if said.starts_with("HTTP/1.1 200") {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!("not ready within {} s: {said:?}", patience.as_secs()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Processes of a target's instances, with the version each was started as.
    pub fn instances(&self, target: &str) -> Vec<(i32, String)> {
        let id = format!("CODE_TARGET=default.process.{target}\0");
        let home = self.home().canonicalize().unwrap_or_default().display().to_string();
        let mut found = Vec::new();
        for pid in processes(|_| true) {
            let environment = read_proc(pid, "environ");
            if !environment.contains(&id) || !environment.contains(&home) {
                continue;
            }
            let version = environment.split('\0').find_map(|pair| pair.strip_prefix("GREETER_VERSION="));
            if let Some(version) = version {
                found.push((pid, version.to_owned()));
            }
        }
        found
    }

    /// The process groups of hooks of this engine that run now.
    pub fn hooks(&self) -> Vec<i32> {
        let ledger = self.hook_ledger().display().to_string();
        processes(|pid| {
            let line = read_proc(pid, "cmdline");
            line.starts_with("/bin/sh") && line.contains(&ledger)
        })
    }

    /// Where hooks write down that they ran.
    pub fn hook_ledger(&self) -> PathBuf {
        self.ledgers.path().join("hooks.log")
    }

    /// Where instances write down that they were started.
    pub fn effects(&self) -> PathBuf {
        self.ledgers.path().join("effects.log")
    }

    /// A version that no release here had before.
    pub fn next_version(&mut self) -> String {
        self.releases += 1;
        format!("1.0.{}", self.releases)
    }

    /// Writes a spec and gives the file's place.
    pub fn write_spec(&self, name: &str, spec: &Value) -> Result<String> {
        let file = self.home().join(format!("{name}.json"));
        fs::write(&file, serde_json::to_vec_pretty(spec)?)?;
        Ok(file.display().to_string())
    }

    /// A spec of one of the targets, made by `make` for its place.
    pub fn spec_of(&self, name: &str, port: u16, make: impl FnOnce(&Place<'_>) -> Value) -> Value {
        let (hooks, effects) = (self.hook_ledger(), self.effects());
        make(&Place { name, port, hooks: &hooks, effects: &effects })
    }

    /// Starts the engine and promotes a first release to every target.
    pub async fn furnish(&mut self) -> Result<()> {
        let answer = self.up().await;
        ensure!(answer.code == 0, "the engine of a new home does not start: {}", answer.said());
        let first: Vec<_> = TARGETS.map(|name| (name, free_port(), self.next_version())).into();
        let stage = &*self;
        let promoted = first.iter().map(|(name, port, version)| async move {
            let spec = stage.spec_of(name, *port, |place| small(place, version));
            let file = stage.write_spec(&format!("first-{name}"), &spec)?;
            let answer = stage.ask(&["apply", &file, "--watch"]).await;
            ensure!(answer.code == 0, "a first release is not promoted: {}", answer.said());
            anyhow::Ok(())
        });
        futures::future::try_join_all(promoted).await?;
        let trust = self.ask(&["certificate", "keys", "trust"]).await;
        ensure!(trust.code == 0, "no trust file: {}", trust.said());
        // From here on every request is counted.
        let begin = |(name, port, version)| Target { name, port, version, load: Load::begin(port, RATE) };
        self.targets = first.into_iter().map(begin).collect();
        Ok(())
    }

    /// Takes everything down.
    pub async fn end(mut self) {
        let _ = self.ask(&["down", "--all", "--config", "code.toml"]).await;
        self.targets.clear();
        self.sweep();
    }

    fn sweep(&self) {
        kill_whatever_mentions(self.home());
        if self.mounted {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(self.home()).status();
        }
    }

    /// Leaves the folder where it is and says where, for whoever looks at what was found.
    pub async fn keep(self, place: &Path) -> Result<()> {
        let _ = self.ask(&["down", "--all", "--config", "code.toml"]).await;
        let copied = std::process::Command::new("cp").arg("-a").arg(self.home()).arg(place).output()?;
        if !copied.status.success() {
            bail!("keeping {}: {}", place.display(), String::from_utf8_lossy(&copied.stderr));
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.sweep();
    }
}

/// What Debian's package `libfaketime` has.
fn faketime() -> Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path());
    let mut places = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    places
        .find(|place| place.is_file())
        .context("there is no libfaketime below /usr/lib: tools/setup.sh --all installs it")
}

fn read_back(file: &mut fs::File) -> String {
    use std::io::Seek as _;
    let mut bytes = Vec::new();
    let _ = file.rewind();
    let _ = file.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A file of a process, as text; empty when the process is gone.
fn read_proc(pid: i32, file: &str) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned()
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = read_proc(pid, "stat");
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

fn processes(wanted: impl Fn(i32) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_alive(*pid) && wanted(*pid)).collect()
}

/// A signal to one process.
pub fn signal(pid: i32, signal: Signal) {
    // Gone already is as good.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// A signal to a process group.
pub fn signal_group(group: i32, signal: Signal) {
    let _ = killpg(Pid::from_raw(group), signal);
}
