//! The service of a witness, for another machine.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chassis::Clock;
use ground::blocking;
use ledger::{KeyKind, Policy, SigningKey, VerifyingKey, Witness, witness::AddCheckpoint, witness::Refusal};
use tokio_util::sync::CancellationToken;

use crate::{Error, keys};

/// The longest request that is read.
const MOST_BYTES: usize = 256 * 1024;

/// How a witness runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its memory and its key.
    pub state_dir: PathBuf,
    /// The name of its key.
    pub name: String,
    /// The keys of the logs it watches, as vkeys.
    pub logs: Vec<VerifyingKey>,
}

/// The keys of the logs that a trust policy in a file believes.
pub fn logs_of(policy: &Path) -> Result<Vec<VerifyingKey>, Error> {
    Ok(keys::read_policy(policy)?.logs().to_vec())
}

/// A log and its witness, before either runs.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The audit service's `state_dir`.
    pub log_state: PathBuf,
    /// The log's name.
    pub origin: String,
    /// The witness's folder.
    pub witness_state: PathBuf,
    /// The name of the witness's key.
    pub name: String,
    /// Where the log reaches the witness.
    pub url: String,
}

/// Makes the keys of both where there are none, and gives the policy that believes the log only with its witness. Run
/// again, it gives the same.
pub fn prepare(pair: &Pair) -> Result<String, Error> {
    let plain = pair.url.starts_with("http://") || pair.url.starts_with("https://");
    if !plain || pair.url.contains(char::is_whitespace) {
        return Err(Error::Invalid(format!(
            "{:?} is no address: such as https://witness.example.com",
            pair.url
        )));
    }
    let log = keys::of_log(&pair.log_state.join("keys"), &pair.origin)?;
    let witness = witness_key(&pair.witness_state, &pair.name)?;
    let lines: String = log.iter().map(|key| format!("log {}\n", key.verifying_key())).collect();
    let policy = format!("{lines}witness W1 {} {}\nquorum W1\n", witness.verifying_key(), pair.url);
    policy.parse::<Policy>()?;
    Ok(policy)
}

fn witness_key(state: &Path, name: &str) -> Result<SigningKey, Error> {
    keys::load_or_make(&state.join("witness.key"), name, KeyKind::MlDsa44)
}

/// A started witness.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its public keys, for a policy.
    pub keys: Vec<VerifyingKey>,
    serving: tokio::sync::oneshot::Receiver<()>,
    _tasks: chassis::Tasks,
    stop: CancellationToken,
}

impl Running {
    /// Runs until stopped.
    pub async fn wait(self) {
        let _ = self.serving.await;
    }

    /// Stops it.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// Serves [tlog-witness](https://c2sp.org/tlog-witness): `POST /add-checkpoint`; and `GET /keys`.
pub async fn serve(settings: Settings, clock: Clock) -> Result<Running, Error> {
    let key = witness_key(&settings.state_dir, &settings.name)?;
    let witness = Arc::new(Witness::open(settings.state_dir.join("seen"), vec![key], settings.logs)?);
    let keys: Vec<VerifyingKey> = witness.keys().cloned().collect();
    let listening = |source| Error::File { what: format!("listening on {}", settings.listen), source };
    let listener = tokio::net::TcpListener::bind(settings.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/keys", get(show_keys))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state((witness, clock));
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let serve = axum::serve(listener, router).with_graceful_shutdown(stopped);
    let tasks = chassis::Tasks::new("witness");
    let (done, serving) = tokio::sync::oneshot::channel();
    tasks.critical("serve", async move {
        let ended = serve.await;
        let _ = done.send(());
        ended
    });
    Ok(Running { address, keys, serving, _tasks: tasks, stop })
}

type Shared = (Arc<Witness>, Clock);

async fn add_checkpoint(State((witness, clock)): State<Shared>, body: String) -> Response {
    let request: AddCheckpoint = match body.parse() {
        Ok(request) => request,
        Err(error) => return refused(&Refusal::Malformed(error.to_string())),
    };
    let time = u64::try_from(clock.now().0 / 1000).unwrap_or_default();
    match blocking(move || witness.add(&request, time)).await {
        Ok(Ok(signatures)) => signatures.iter().map(ToString::to_string).collect::<String>().into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(error) => refused(&Refusal::Unavailable(error.to_string())),
    }
}

fn refused(refusal: &Refusal) -> Response {
    tracing::warn!(status = refusal.status(), %refusal, "not cosigned");
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if matches!(refusal, Refusal::Conflict(_)) {
        "text/x.tlog.size"
    } else {
        "text/plain; charset=utf-8"
    };
    (status, [(header::CONTENT_TYPE, kind)], format!("{refusal}\n")).into_response()
}

async fn show_keys(State((witness, _)): State<Shared>) -> String {
    witness.keys().map(|key| format!("{key}\n")).collect()
}

/// Runs a witness as a process of its own, until it is told to stop. Says its address and keys on standard output.
pub fn run(settings: Settings) -> Result<(), Error> {
    use std::io::Write;
    chassis::install_crypto();
    let failed = |source| Error::File { what: "starting the runtime".to_owned(), source };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let running = serve(settings, Clock::system()).await?;
        let mut out = std::io::stdout();
        let _ = writeln!(out, "witness on http://{}", running.address);
        for key in &running.keys {
            let _ = writeln!(out, "{key}");
        }
        let _ = out.flush();
        let stop = running.stopper();
        let mut signals = chassis::Signals::listen().map_err(failed)?;
        tokio::select! {
            () = running.wait() => {}
            _ = signals.next() => stop.cancel(),
        }
        Ok(())
    })
}
