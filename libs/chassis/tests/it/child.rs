//! A child process and what can be asked of it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use testkit::TestNats;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Child {
    process: tokio::process::Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: tokio::task::JoinHandle<()>,
    pub folder: TempDir,
}

pub fn command(folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chassis-child"));
    command
        .env("CODE_ORCHESTRATOR_FOLDER", folder)
        .env("CODE_LOG_FORMAT", "json")
        .envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Child {
    pub fn start(nats: &TestNats, variables: &[(&str, &str)]) -> Child {
        Child::start_on(nats.environment(), variables)
    }

    pub fn start_on(nats: BTreeMap<String, String>, variables: &[(&str, &str)]) -> Child {
        let folder = tempfile::tempdir().unwrap();
        let mut process = command(folder.path(), variables).envs(nats).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, stderr) = (Arc::clone(&lines), process.stderr.take().unwrap());
        #[allow(clippy::disallowed_methods, reason = "a test has no chassis around it")]
        let reader = tokio::spawn(async move {
            let mut stderr = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = stderr.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Child { process, lines, reader, folder }
    }

    pub fn errors(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Where it serves its health, as its log says.
    pub async fn address(&self) -> String {
        let find = || {
            self.lines.lock().unwrap().iter().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                Some(line.get("address")?.as_str()?.to_owned())
            })
        };
        eventually("the child says where it serves", || find().ok_or_else(|| self.errors())).await
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        get(&self.address().await, path).await
    }

    /// Waits until `/ready` answers this status; its body.
    pub async fn ready(&self, status: u16) -> String {
        let address = self.address().await;
        let mut last = String::new();
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            match try_get(&address, "/ready").await {
                Some((found, body)) if found == status => return body,
                other => last = format!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("/ready never answered {status}, last {last}; the child says\n{}", self.errors());
    }

    pub async fn file(&self, name: &str) {
        let path = self.folder.path().join(name);
        eventually(&format!("the child writes {name}"), || {
            path.exists().then_some(()).ok_or_else(|| self.errors())
        })
        .await;
    }

    pub fn has(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    pub fn write(&self, name: &str) {
        std::fs::write(self.folder.path().join(name), "").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    pub async fn exit(&mut self) -> ExitStatus {
        match tokio::time::timeout(PATIENCE, self.process.wait()).await {
            Ok(status) => {
                // All it said is there once its end of the pipe is closed.
                let _ = (&mut self.reader).await;
                status.unwrap()
            }
            Err(_) => panic!("the child does not end; it says\n{}", self.errors()),
        }
    }
}

pub async fn get(address: &str, path: &str) -> (u16, String) {
    try_get(address, path).await.unwrap_or_else(|| panic!("{address} does not answer {path}"))
}

async fn try_get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Waits until `look` finds something; says what it saw last when it never does.
pub async fn eventually<T>(what: &str, look: impl Fn() -> Result<T, String>) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if begun.elapsed() > PATIENCE => panic!("never: {what}; last seen\n{seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
