//! Starts a consensus worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run(env!("CARGO_PKG_NAME"), consensus::start)
}
