//! One engine in a folder of its own, started, asked and killed through the binary alone.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::specs::{Spec, scratch};

/// How a command ended.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
    asked: String,
}

impl Answer {
    /// What a command that was made otherwise ends with.
    pub fn of(mut command: Command, arguments: &[&str]) -> Answer {
        let output = command.output().unwrap();
        Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            asked: arguments.join(" "),
        }
    }

    /// Its exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "codectl {}\n{}{}", self.asked, self.out, self.err);
        self
    }

    /// On either stream.
    #[track_caller]
    pub fn says(self, words: &str) -> Answer {
        let said = self.out.contains(words) || self.err.contains(words);
        assert!(said, "codectl {} does not say {words:?}\n{}{}", self.asked, self.out, self.err);
        self
    }
}

/// The binary with a home of its own and nothing from outside that could change what it does.
pub fn command(home: &Path, arguments: &[&str]) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_codectl")), home, arguments)
}

/// The same with another program file.
pub fn command_of(program: &Path, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("CODE_HOME", home).env("CODE_USER", "tester").current_dir(home);
    command.env("CODE_NATS_SERVER", bus::server::find_program().unwrap());
    for name in ["CODE_NATS_URL", "CODE_NATS_KEYS", "CODE_OPERATOR_KEY", "CODE_OUTPUT"] {
        command.env_remove(name);
    }
    command
}

/// Runs the binary to its end.
pub fn codectl(home: &Path, arguments: &[&str]) -> Answer {
    Answer::of(command(home, arguments), arguments)
}

/// A port nobody listens on now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The greeter, beside the test executable's folder.
fn greeter() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("greeter");
    assert!(program.is_file(), "there is no {}: run `cargo build -p greeter`", program.display());
    program
}

/// A running engine.
pub struct Stage {
    home: TempDir,
    port: u16,
}

impl Stage {
    /// Starts one.
    pub fn up() -> Stage {
        greeter();
        let stage = Stage { home: scratch(), port: free_port() };
        stage.start();
        stage
    }

    /// Starts one with this configuration.
    pub fn configured(text: &str) -> Stage {
        greeter();
        let stage = Stage { home: scratch(), port: free_port() };
        fs::write(stage.path("code.toml"), text).unwrap();
        stage.run(&["up", "--detach", "--config", "code.toml"]).exits(0).says("ready");
        stage
    }

    /// One that is not started.
    pub fn folder() -> Stage {
        Stage { home: scratch(), port: free_port() }
    }

    /// Starts the engine of this folder in the background.
    pub fn start(&self) {
        self.run(&["up", "--detach"]).exits(0).says("ready");
    }

    /// A file below the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Answer {
        codectl(self.home.path(), arguments)
    }

    /// What a command that succeeds prints as JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.json_of(arguments, 0)
    }

    /// What a command that ends with this status prints as JSON.
    #[track_caller]
    pub fn json_of(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let answer = self.run(&all).exits(code);
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error} in {}", answer.out))
    }

    /// Writes a spec and gives its place.
    pub fn spec(&self, name: &str, spec: &Spec) -> String {
        let file = self.home.path().join(format!("{name}.yaml"));
        fs::write(&file, spec.text(&greeter().to_string_lossy(), self.port)).unwrap();
        file.to_string_lossy().into_owned()
    }

    /// Where the specs go.
    pub fn target(&self) -> String {
        "default.process.greeter".to_owned()
    }

    /// Where the data plane listens for it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The NATS server's address.
    pub fn nats(&self) -> String {
        self.engine()["nats"].as_str().unwrap().to_owned()
    }

    /// Where its health is asked for.
    pub fn health(&self) -> String {
        self.engine()["health"].as_str().unwrap().to_owned()
    }

    fn engine(&self) -> Value {
        serde_json::from_slice(&fs::read(self.home.path().join("engine.json")).unwrap()).unwrap()
    }

    /// Ends the engine as a crash would.
    pub fn kill_engine(&self) {
        let pid = self.pid();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        self.until("the engine is gone", || !is_alive(pid));
    }

    /// The engine's process.
    pub fn pid(&self) -> i32 {
        self.engine()["pid"].as_i64().unwrap() as i32
    }

    /// What the engine says of its health, with the status.
    pub fn ready(&self) -> String {
        asked(&self.health(), "/ready")
    }

    /// What the engine says of its life, with the status.
    pub fn live(&self) -> String {
        asked(&self.health(), "/live")
    }

    /// Ends the engine's NATS server as a crash would.
    pub fn kill_server(&self) {
        for pid in self.server_pids() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            self.until("the server is gone", || !is_alive(pid));
        }
    }

    /// The processes of the greeter that this engine started.
    pub fn instances(&self) -> Vec<i32> {
        let home = self.home.path().canonicalize().unwrap();
        processes(|line, environment| {
            line.contains("greeter") && environment.contains(&format!("{}", home.display()))
        })
    }

    /// Those of one version.
    pub fn instances_of(&self, version: &str) -> Vec<i32> {
        let (home, version) =
            (self.home.path().canonicalize().unwrap(), format!("GREETER_VERSION={version}\0"));
        processes(|line, environment| {
            let ours = environment.contains(&format!("{}", home.display()));
            line.contains("greeter") && ours && environment.contains(&version)
        })
    }

    /// Ends the greeter's processes as a crash would.
    pub fn kill_instances(&self) {
        for pid in self.instances() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            self.until("the instance is gone", || !is_alive(pid));
        }
    }

    /// How many NATS servers run on this engine's data.
    pub fn servers(&self) -> usize {
        self.server_pids().len()
    }

    fn server_pids(&self) -> Vec<i32> {
        let place = self.home.path().canonicalize().unwrap().join("nats/nats.conf");
        processes(|line, _| line.contains("nats-server") && line.contains(&*place.to_string_lossy()))
    }

    /// Waits for what must come; 30 s are far more than it takes.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        within(Duration::from_secs(30), what, holds, || self.run(&["status"]).out);
    }
}

/// Waits for what must come within this time; else says what there is instead.
#[track_caller]
pub fn within(limit: Duration, what: &str, holds: impl Fn() -> bool, instead: impl Fn() -> String) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "never: {what}\n{}", instead());
        thread::sleep(Duration::from_millis(50));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let ended = self.run(&["down", "--all"]);
        if thread::panicking() {
            let log = fs::read_to_string(self.home.path().join("engine.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the end of the engine's log\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        } else {
            ended.exits(0);
        }
    }
}

/// The whole answer to a GET; why there is none when there is none.
pub fn asked(health: &str, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(health.trim_start_matches("http://"))?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().unwrap_or_else(|error| error.to_string())
}

pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn processes(wanted: impl Fn(&str, &str) -> bool) -> Vec<i32> {
    let text = |pid: i32, file: &str| {
        String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned()
    };
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<i32> =
        pids.filter(|pid| is_alive(*pid) && wanted(&text(*pid, "cmdline"), &text(*pid, "environ"))).collect();
    found.sort_unstable();
    found
}
