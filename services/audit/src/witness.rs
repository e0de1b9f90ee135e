//! Witnesses: the service of one, for another machine, and asking those of a policy.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
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
use ledger::{
    KeyKind, NoteSignature, Policy, SignedCheckpoint, SigningKey, VerifyingKey, Witness,
    witness::AddCheckpoint, witness::Refusal,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, keys,
    pipeline::{Ctx, read_policy},
};

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
    Ok(read_policy(policy)?.logs().to_vec())
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

/// A witness that is asked.
struct Asked {
    name: String,
    key: VerifyingKey,
    url: String,
    /// What it cosigned last, as far as we know.
    size: u64,
}

/// Asks every witness of the policy that has an address to cosign each checkpoint, for ever.
pub(crate) async fn ask_all(ctx: Ctx) -> Result<(), Error> {
    let Some(policy) = &ctx.policy else { return Ok(()) };
    let named = policy.witnesses().filter_map(|(name, key, url)| {
        Some(Asked {
            name: name.to_owned(),
            key: key.clone(),
            url: url?.trim_end_matches('/').to_owned(),
            size: 0,
        })
    });
    let mut asked: Vec<Asked> = named.collect();
    let client = reqwest::Client::builder()
        .timeout(ctx.config.witness_timeout.0)
        .build()
        .map_err(|error| Error::Invalid(format!("a client for witnesses cannot be made: {error}")))?;
    let mut included = ctx.included.subscribe();
    loop {
        included.borrow_and_update();
        let mut trouble = Vec::new();
        let reader = ctx.reader();
        let shown = blocking(move || reader.checkpoint()).await??;
        if let Some(mut shown) = shown {
            let mut cosigned = false;
            for witness in &mut asked {
                match witness.ask(&ctx, &client, &shown).await {
                    Ok(signatures) => {
                        cosigned = true;
                        shown.add(signatures);
                    }
                    Err(why) => {
                        ctx.counts.unwitnessed.inc();
                        trouble.push(format!("{}: {why}", witness.name));
                    }
                }
            }
            if cosigned {
                if policy.check(&shown).is_ok() {
                    ctx.cosigned.send_replace(Some(shown.clone()));
                }
                show(&ctx, shown).await?;
            }
        }
        ctx.alarm("witness", (!trouble.is_empty()).then(|| trouble.join("; ")));
        tokio::select! {
            () = ctx.stopping.cancelled() => return Ok(()),
            changed = included.changed() => changed.map_err(|_| Error::Ended("signing"))?,
            // One that was away is asked again, also when nothing happens.
            () = ctx.clock.sleep(Duration::from_secs(10)), if !trouble.is_empty() => {}
        }
    }
}

/// The checkpoint of at least this size that the witnesses of the policy have cosigned, waited for until then. None when
/// none are asked, or while one of them is away.
pub(crate) async fn cosigned(ctx: &Ctx, size: u64, until: Instant) -> Option<SignedCheckpoint> {
    let fits = |checkpoint: &Option<SignedCheckpoint>| {
        checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.unverified().size >= size)
    };
    let mut cosigned = ctx.cosigned.subscribe();
    let is_away = || ctx.alarms.lock().contains_key("witness");
    if !ctx.asks_witnesses() || (!fits(&cosigned.borrow()) && is_away()) {
        return None;
    }
    let until = until.min(Instant::now() + ctx.config.witness_timeout.0);
    let found = tokio::time::timeout_at(until, cosigned.wait_for(fits)).await;
    found.ok()?.ok()?.clone()
}

/// Shows the cosigned checkpoint, unless a newer one is shown by now.
async fn show(ctx: &Ctx, cosigned: SignedCheckpoint) -> Result<(), Error> {
    let (ctx, folder) = (ctx.clone(), ctx.public_folder());
    blocking(move || -> Result<(), Error> {
        let _showing = ctx.showing.lock();
        let shown = ledger::store::Reader::new(&folder, 0).checkpoint()?;
        if shown.is_some_and(|shown| shown.unverified() == cosigned.unverified()) {
            ledger::store::show(&folder, &cosigned)?;
        }
        Ok(())
    })
    .await?
}

impl Asked {
    async fn ask(
        &mut self,
        ctx: &Ctx,
        client: &reqwest::Client,
        shown: &SignedCheckpoint,
    ) -> Result<Vec<NoteSignature>, String> {
        // Once more when it knows another size than we thought.
        for _ in 0..2 {
            let old = self.size.min(shown.unverified().size);
            let (reader, size) =
                (ledger::store::Reader::new(ctx.public_folder(), shown.unverified().size), old);
            let proof =
                blocking(move || reader.consistency(size)).await.map_err(|error| error.to_string())?;
            let proof = proof.map_err(|error| error.to_string())?;
            let request = AddCheckpoint { old, proof: proof.hashes, checkpoint: shown.clone() };
            let answer =
                client.post(format!("{}/add-checkpoint", self.url)).body(request.to_string()).send().await;
            let answer = answer.map_err(|error| chassis::chain(&error))?;
            let status = answer.status();
            let body = answer.text().await.map_err(|error| chassis::chain(&error))?;
            if status == StatusCode::CONFLICT {
                let known = body.trim().parse().map_err(|_| format!("it answers 409 {body:?}"))?;
                if known == self.size {
                    return Err(format!("it has another log of size {known}"));
                }
                self.size = known;
                continue;
            }
            if !status.is_success() {
                return Err(format!("it answers {status}: {}", body.trim()));
            }
            let lines = body.lines().map(str::parse).collect::<Result<Vec<NoteSignature>, _>>();
            let lines = lines.map_err(|error| error.to_string())?;
            let own: Vec<NoteSignature> =
                lines.into_iter().filter(|line| self.key.is_named_by(line)).collect();
            let valid =
                !own.is_empty() && own.iter().all(|line| self.key.verify(shown.unverified(), line).is_ok());
            if !valid {
                return Err("its answer has no signature of the policy's key".to_owned());
            }
            self.size = shown.unverified().size;
            return Ok(own);
        }
        Err("it keeps naming another size".to_owned())
    }
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
