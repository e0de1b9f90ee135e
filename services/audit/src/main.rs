//! Starts the audit log.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run(env!("CARGO_PKG_NAME"), audit::start)
}
