//! Starts the agents.

use std::process::ExitCode;

fn main() -> ExitCode {
    agents::main(env!("CARGO_PKG_NAME"))
}
