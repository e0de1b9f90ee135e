//! A small HTTP service to deploy: it greets, and it misbehaves exactly as its settings say.
//!
//! The demo and the tests deploy it in many versions. It must never know anything of the engine that
//! deploys it, and must never misbehave without being told to: everything it does follows from its
//! settings ([`config`]) and from how many requests it had.

mod answers;
mod config;
mod effects;

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use answers::Answers;
use config::{Command, Config};
use effects::EffectLedger;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// How long requests in flight may take after SIGTERM before they are cut off. The process as a whole
/// promises to be gone after 5 s; this leaves the rest some time.
const DRAIN: Duration = Duration::from_millis(4500);

/// How long to wait after `accept` failed, typically for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = match config::read(std::env::args().skip(1), |name| std::env::var(name).ok()) {
        Ok(Command::Serve(config)) => config,
        Ok(Command::Help) => {
            eprint!("{}", config::help());
            return ExitCode::SUCCESS;
        }
        Err(invalid) => {
            eprintln!("greeter: {invalid}");
            return ExitCode::from(2);
        }
    };
    match run(config).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("greeter: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lives until SIGTERM, SIGINT or the planned crash. Only an end with exit code 0 is a clean stop.
async fn run(config: Config) -> io::Result<ExitCode> {
    // Before anything else: a SIGTERM during the start delay is already a clean stop.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let effects = EffectLedger::new(config.effect_ledger.clone(), config.instance.clone());
    effects.record("start")?;

    let crash = config.crash.clone();
    let code = tokio::select! {
        // A crash that is due at once must win against the listening.
        biased;
        code = async { match crash {
            Some(crash) => { tokio::time::sleep(crash.after).await; crash.exit_code }
            None => std::future::pending().await,
        } } => code,
        served = serve(config, async move {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        }) => { served?; 0 }
    };
    if code == 0 {
        effects.record("stop")?;
    }
    Ok(ExitCode::from(code))
}

/// Answers until `stop`, then takes no new connection and finishes what is in flight.
async fn serve(config: Config, stop: impl Future<Output = ()>) -> io::Result<()> {
    tokio::pin!(stop);
    tokio::select! {
        () = &mut stop => return Ok(()),
        () = tokio::time::sleep(config.start_delay) => (),
    }
    let (host, port, version) = (config.host, config.port, config.version.clone());
    let answers = Arc::new(Answers::new(config)?);
    let listener = TcpListener::bind((host, port)).await?;
    eprintln!("greeter {version} listening on {}", listener.local_addr()?);

    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
            // Finished connections leave the set, else it would grow for ever.
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let answers = answers.clone();
        let service = service_fn(move |request| {
            let answers = answers.clone();
            async move { Ok::<_, Infallible>(answers.answer(request).await) }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        // A connection that breaks is its client's affair.
        connections.spawn(graceful.watch(connection));
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        eprintln!("greeter: connections cut off after {DRAIN:?}: {}", connections.len());
    }
    Ok(())
}
