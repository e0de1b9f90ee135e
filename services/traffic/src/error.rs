//! What can go wrong beside the way of requests, which has answers of its own.

use std::{io, path::PathBuf};

use model::Code;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The copy of the tables cannot be written or read.
    #[error("{what} {path}")]
    Copy {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The copy of the tables is not one.
    #[error("reading the routes in {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// Counts could not be said.
    #[error("saying the counts of {module}")]
    Say {
        /// The module.
        module: String,
        /// The bus's trouble.
        #[source]
        source: bus::Error,
    },
    /// The folder in which planes take turns cannot be used.
    #[error("taking turns in {path}")]
    Place {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another plane has the place and does not hand over.
    #[error(
        "data plane {pid} serves in {path} and does not hand over; end it, or give this one another handover_dir"
    )]
    Taken {
        /// The folder.
        path: PathBuf,
        /// Its process; 0 when it is not known.
        pid: i32,
    },
    /// How many files may be open is not known.
    #[error(transparent)]
    Files(#[from] chassis::Error),
    /// Changes of the routes are no longer heard; hearing them begins again.
    #[error("the bucket of routes is no longer watched")]
    Unwatched,
}

impl Error {
    /// What the caller may do about it.
    pub fn code(&self) -> Code {
        match self {
            Error::Copy { .. } | Error::Unreadable { .. } | Error::Files(_) | Error::Place { .. } => {
                Code::Internal
            }
            Error::Say { source, .. } => source.code(),
            Error::Unwatched | Error::Taken { .. } => Code::Unavailable,
        }
    }
}
