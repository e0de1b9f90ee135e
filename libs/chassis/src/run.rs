//! One service as one process, from its arguments to its exit status.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use bus::Bus;
use clap::{Arg, ArgAction, Command, value_parser};
use model::ReplicaId;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Common, Config, Loaded, Sources},
    error::{BoxError, Error, chain},
    process::{Process, Running, Start},
    shutdown::Signals,
};

/// Runs a service until SIGTERM, SIGINT or the failure of a critical task. `package` is
/// `env!("CARGO_PKG_NAME")`.
///
/// In this order: arguments and settings (`--dump-config` prints what is in force and ends), log lines and
/// traces, the endpoint for health and metrics, NATS and its streams, `start`; then ready. To stop: not ready, take
/// nothing new, finish what is held (at most `shutdown_grace`), flush NATS, flush traces.
///
/// Exit status 0 after an orderly stop, 1 when something failed, 78 for settings that cannot be used; a second
/// signal exits at once with 143 (SIGTERM) or 130 (SIGINT).
pub fn run<C: Config>(package: &'static str, start: impl Start<C>) -> ExitCode {
    match settings::<C>(package, std::env::args_os()) {
        Ok(Some(loaded)) => report(package, serve(package, loaded, start)),
        Ok(None) => ExitCode::SUCCESS,
        Err(Unable::Usage(error)) => {
            // Nothing is left to be done when the terminal is gone.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 78 } else { 0 })
        }
        Err(Unable::Settings(error)) => report(package, Err(error)),
    }
}

/// Why the arguments do not lead to settings.
enum Unable {
    /// Includes `--help` and `--version`.
    Usage(clap::Error),
    Settings(Error),
}

/// The settings in force, or nothing when they were only to be shown.
fn settings<C: Config>(
    package: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Option<Loaded<C>>, Unable> {
    let unusable = |error| Unable::Settings(Error::Config(error));
    let matches = command::<C>(package).try_get_matches_from(arguments).map_err(Unable::Usage)?;
    let file = matches.get_one::<PathBuf>("config");
    let loaded: Loaded<C> =
        Sources::read(file.map(PathBuf::as_path)).and_then(|sources| sources.load()).map_err(unusable)?;
    if !matches.get_flag("dump-config") {
        return Ok(Some(loaded));
    }
    let text = loaded.dump().map_err(unusable)?;
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|source| Unable::Settings(Error::System { what: "print the settings", source }))?;
    Ok(None)
}

fn command<C: Config>(package: &'static str) -> Command {
    let word = C::SERVICE.replace('-', "_").to_ascii_uppercase();
    Command::new(package)
        .version(env!("CARGO_PKG_VERSION"))
        .about(format!("Runs the service {}.", C::SERVICE))
        .after_help(format!(
            "Settings come from their defaults, the file, and the environment: CODE_{word}_<FIELD> for this \
             service,\nCODE_<FIELD> for what all services share; nested fields are joined by __."
        ))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Read settings from this TOML file, sections [common] and [service]; else CODE_CONFIG"),
        )
        .arg(
            Arg::new("dump-config")
                .long("dump-config")
                .action(ArgAction::SetTrue)
                .help("Print the settings in force, secrets masked, and end"),
        )
}

fn report(package: &str, outcome: Result<(), Error>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error, not a log line: it must be seen whatever the filter is.
            let _ = writeln!(io::stderr(), "{package}: {}", chain(&error));
            ExitCode::from(error.exit_status())
        }
    }
}

fn serve<C: Config>(package: &'static str, loaded: Loaded<C>, start: impl Start<C>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(package)
        .build()
        .map_err(|source| Error::System { what: "start the runtime", source })?;
    let outcome = runtime.block_on(async {
        let process = Process::begin(package, &loaded.common)?;
        let outcome = lead(&process, loaded, start).await;
        if let Err(error) = &outcome {
            tracing::error!(cause = chain(error), "failed");
        }
        process.end().await;
        outcome
    });
    // Blocking work that hangs must not keep a process that has stopped.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// From the endpoint to the orderly stop.
async fn lead<C: Config>(process: &Process, loaded: Loaded<C>, start: impl Start<C>) -> Result<(), Error> {
    let Loaded { common, config } = loaded;
    let stop = stop_on_signals(process)?;
    process.serve(common.health_listen).await?;
    let started = async {
        let replica = ReplicaId::new();
        let bus = connect::<C>(&common, &replica).await?;
        process.start_as(replica, config, bus, start).await
    };
    let running: Running = tokio::select! {
        started = started => started?,
        () = stop.cancelled() => return Ok(()),
    };
    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        failed = running.failed() => Err(Error::Failed(failed)),
        failed = process.failed() => Err(Error::Failed(failed)),
    };
    running.stop(common.shutdown_grace.0).await;
    outcome
}

/// A connection to NATS for one replica of a service, which may do there what the service needs and nothing else, and with
/// the streams that it uses there. A service that is ready without NATS gets it at once, connected or not, and is told in
/// its log when that is not so.
pub async fn connect<C: Config>(common: &Common, replica: &ReplicaId) -> Result<Bus, Error> {
    let settings = common.bus(C::SERVICE, replica);
    if C::READY_WITHOUT_NATS {
        return Ok(Bus::connect_later(&settings).await?);
    }
    let bus = Bus::connect(&settings).await?;
    bus.check().await?;
    Ok(bus)
}

/// Cancelled by the first signal. The second ends the process at once: whoever sends it has waited enough.
fn stop_on_signals(process: &Process) -> Result<CancellationToken, Error> {
    let mut signals =
        Signals::listen().map_err(|source| Error::System { what: "listen for signals", source })?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let ended = process.tasks().stopping();
    process.tasks().critical("signals", async move {
        tokio::select! {
            signal = signals.next() => tracing::info!(?signal, "stopping; a second signal ends at once"),
            () = ended.cancelled() => return Ok::<(), BoxError>(()),
        }
        stopping.cancel();
        tokio::select! {
            signal = signals.next() => std::process::exit(signal.exit_status()),
            () = ended.cancelled() => Ok(()),
        }
    });
    Ok(stop)
}
