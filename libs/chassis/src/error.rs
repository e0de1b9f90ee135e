//! What can keep a process from running.

use std::{error::Error as StdError, io, net::SocketAddr};

use crate::{config, tasks::Failed, telemetry};

/// Any error, as services return it from `start`.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An error with all its causes, as one line: `cannot bind 127.0.0.1:80: permission denied`.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// Why a process did not run to its orderly end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be used. Exit status 78.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Log lines or traces cannot be had.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The endpoint for health and metrics cannot be served.
    #[error("cannot serve health and metrics on {listen}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something the system gives every process was refused.
    #[error("cannot {what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too few files may be open at a time.
    #[error(
        "this process may open {limit} files at a time, at least {least} are needed: raise the limit (ulimit -n)"
    )]
    Files {
        /// So many.
        limit: u64,
        /// So many are needed.
        least: u64,
    },
    /// NATS cannot be used.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The service's own `start` failed.
    #[error("{service} did not start")]
    Start {
        /// Which service.
        service: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A critical task failed.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl Error {
    /// The exit status of a process that ended with this: 78 (`EX_CONFIG` of sysexits.h) for settings that cannot
    /// be used, so that a supervisor need not try again; 1 for everything else.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::Config(_) => 78,
            Error::Telemetry(_)
            | Error::Listen { .. }
            | Error::System { .. }
            | Error::Files { .. }
            | Error::Bus(_)
            | Error::Start { .. }
            | Error::Failed(_) => 1,
        }
    }
}
