//! Starts the data plane.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run(env!("CARGO_PKG_NAME"), traffic::start)
}
