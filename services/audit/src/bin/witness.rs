//! A witness of audit logs, for a machine of its own: cosigns only growth, and persists before it answers.
//!
//! It must never share a machine, an owner or a backup with the log it watches.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use ledger::VerifyingKey;

/// Cosigns the checkpoints of logs that only grow.
#[derive(Debug, Parser)]
#[command(name = "witness", version)]
struct Arguments {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
    /// Its memory and its key.
    #[arg(long, default_value = ".code/witness")]
    state: PathBuf,
    /// The name of its key, such as witness.example.com/1.
    #[arg(long)]
    name: String,
    /// A key of a log it watches, `name+id+key`; once per key.
    #[arg(long = "log", required_unless_present = "policy")]
    logs: Vec<VerifyingKey>,
    /// A trust policy whose logs it watches.
    #[arg(long, conflicts_with = "logs")]
    policy: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "error: {}", chassis::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), audit::Error> {
    let logs = match &arguments.policy {
        Some(policy) => audit::witness::logs_of(policy)?,
        None => arguments.logs,
    };
    audit::witness::run(audit::witness::Settings {
        listen: arguments.listen,
        state_dir: arguments.state,
        name: arguments.name,
        logs,
    })
}
