//! The engine's side: finds the data plane that serves, starts one, and keeps one alive.

use std::{
    convert::Infallible,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use chassis::{Backoff, Health, Latch};
use ground::holder::Who;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Files, LOOK, Serving, is_same_program, settings};
use crate::{failure::Failure, home::log};

/// How long a data plane may take to serve: the one before may have to let go, and NATS may not answer.
const START: Duration = Duration::from_secs(30);
/// How often is looked whether it lives, and asked how it is.
const BEAT: Duration = Duration::from_millis(250);
/// How long its answer is waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// One that lived so long was well: the waits begin anew.
const WELL: Duration = Duration::from_secs(60);
const AGAIN: Backoff = Backoff::millis(100, 10_000);

/// How the engine came by its data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It served before and goes on.
    Adopted,
    /// It was started where none served.
    Started,
    /// It took the ports of one with another program or other settings.
    Replaced,
}

/// The data plane of an engine.
pub struct Kept {
    home: PathBuf,
    config: Option<PathBuf>,
    nats: String,
    /// What it said of itself.
    pub serving: Serving,
    /// How it came.
    pub came: Came,
    /// Ours to be waited for, if we started it.
    child: Option<Child>,
}

impl Kept {
    /// The data plane that serves this home with this program and these settings; one is started when there is none such,
    /// and takes the place of one that differs.
    pub async fn find(home: &Path, config: Option<&Path>, nats: &str) -> Result<Kept, Failure> {
        let files = Files::of(home);
        let wanted = settings(home, config, nats)?.2;
        let found = files.serving();
        let (serving, child, came) = match found {
            Some(found) if found.settings == wanted && is_same_program(found.pid) => {
                (found, None, Came::Adopted)
            }
            found => {
                let came = if found.is_some() { Came::Replaced } else { Came::Started };
                let (serving, child) = start(home, config, nats).await?;
                (serving, Some(child), came)
            }
        };
        let (home, config, nats) = (home.to_owned(), config.map(Path::to_owned), nats.to_owned());
        Ok(Kept { home, config, nats, serving, came, child })
    }

    /// Starts it again whenever it ends, for ever; `health` says while it is gone or not ready, and why.
    pub async fn keep(&mut self, health: &Health) -> Infallible {
        let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let (mut began, mut starts) = (Instant::now(), 0);
        let mut told: Option<(String, Latch)> = None;
        loop {
            let mut trouble = None;
            if self.is_alive() {
                match readiness(&client, &self.serving.health).await {
                    Ok(None) => {}
                    Ok(Some(why)) => trouble = Some(why),
                    Err(why) => trouble = Some(format!("process {}: {why}", self.serving.pid)),
                }
            } else {
                starts = if began.elapsed() >= WELL { 0 } else { starts };
                let gone = format!("process {} has ended", self.serving.pid);
                warn!(pid = self.serving.pid, starts, "the data plane is gone, starting it again");
                told = Some((gone.clone(), health.latch(gone)));
                sleep(if starts == 0 { Duration::ZERO } else { AGAIN.wait(starts) }).await;
                (began, starts) = (Instant::now(), starts + 1);
                match start(&self.home, self.config.as_deref(), &self.nats).await {
                    Ok((serving, child)) => {
                        info!(pid = serving.pid, "the data plane serves again");
                        (self.serving, self.child) = (serving, Some(child));
                    }
                    Err(failure) => trouble = Some(failure.text),
                }
            }
            // The new reason first: with a moment of neither it would seem ready.
            if trouble.as_ref() != told.as_ref().map(|(why, _)| why) {
                told = trouble.map(|why| (why.clone(), health.latch(why)));
            }
            sleep(BEAT).await;
        }
    }

    fn is_alive(&mut self) -> bool {
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(Some(_)))
        {
            self.child = None;
        }
        Who { pid: self.serving.pid, began: self.serving.began }.is_alive()
    }
}

/// Starts one and waits until it serves.
async fn start(home: &Path, config: Option<&Path>, nats: &str) -> Result<(Serving, Child), Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("starting the data plane: {error}"));
    let files = Files::of(home);
    fs::create_dir_all(&files.0).map_err(failed)?;
    let place = files.log();
    let (log, before) = log::go_on(&place).map_err(failed)?;
    // This very program, also when its file has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("codectl").args(["plane", "--nats", nats, "--home"]).arg(home);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let pid = child.id().cast_signed();
    let until = Instant::now() + START;
    loop {
        if let Some(serving) = files.serving().filter(|serving| serving.pid == pid) {
            return Ok((serving, child));
        }
        if let Some(status) = child.try_wait().map_err(failed)? {
            let said = log::said(&place, before);
            return Err(Failure::other(format!("the data plane ended with {status}; {said}")));
        }
        if Instant::now() >= until {
            let (_, _) = (child.kill(), child.wait());
            return Err(Failure::other(format!(
                "the data plane did not serve within {} s; see {}",
                START.as_secs(),
                place.display()
            )));
        }
        sleep(LOOK).await;
    }
}

/// Why it is not ready; none when it is.
///
/// # Errors
/// It does not answer.
async fn readiness(
    client: &Client<HttpConnector, Empty<Bytes>>,
    health: &str,
) -> Result<Option<String>, String> {
    let asked = async {
        let uri = format!("{health}/ready").parse().map_err(|error| format!("{health}: {error}"))?;
        let answer = client.get(uri).await.map_err(|error| chassis::chain(&error))?;
        let body = answer.into_body().collect().await.map_err(|error| chassis::chain(&error))?;
        let said: Said = serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())?;
        Ok((!said.ready).then(|| said.reasons.join("; ")))
    };
    let late = Err(format!("it does not say within {} s how it is", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, asked).await.unwrap_or(late)
}

/// The body of `/ready`.
#[derive(serde::Deserialize)]
struct Said {
    ready: bool,
    reasons: Vec<String>,
}

/// Why the data plane of this home is not well; none when it is.
///
/// # Errors
/// It does not answer.
pub async fn ask(serving: &Serving) -> Result<Option<String>, String> {
    readiness(&Client::builder(TokioExecutor::new()).build_http(), &serving.health).await
}
