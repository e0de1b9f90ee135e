//! Starts the agents.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run(env!("CARGO_PKG_NAME"), agents::start)
}
