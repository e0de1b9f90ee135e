//! Serves the emulators on one address until it is stopped. It must never speak to a vendor.

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use emulators::{Emulator, Scenario, Vendor};

/// Plays the vendors of language models for tests: formats, errors, limits and quirks, by scenario.
#[derive(Parser)]
#[command(name = "code-emulators", version)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9400")]
    listen: SocketAddr,
    /// What to play: a file in TOML or JSON. Without it everybody approves.
    #[arg(long)]
    scenario: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "code-emulators: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let scenario = match &options.scenario {
        Some(path) => read(path).map_err(|reason| format!("{}: {reason}", path.display()))?,
        None => Scenario::default(),
    };
    let emulator = Emulator::listen(options.listen, scenario).await.map_err(|error| error.to_string())?;
    let mut out = std::io::stdout();
    for vendor in Vendor::ALL {
        // Whoever closed our output still wants the server.
        let _ = writeln!(out, "{:<12} {}", vendor.as_str(), emulator.base_url(vendor));
    }
    let _ = writeln!(out, "ready        http://{}", emulator.address()).and_then(|()| out.flush());
    emulator.serve().await;
    Err("the listener broke".into())
}

fn read(path: &PathBuf) -> Result<Scenario, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if path.extension().is_some_and(|end| end == "json") {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    }
}
