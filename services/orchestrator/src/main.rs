//! Starts the orchestrator.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run(env!("CARGO_PKG_NAME"), orchestrator::start)
}
