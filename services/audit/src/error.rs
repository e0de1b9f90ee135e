//! What can go wrong.

use model::{Code, Fault};

use crate::heart::handed::Refused;

/// Why the log does not go on, or why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log's files.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] bus::Failure),
    /// The database that is searched.
    #[error("{what}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A file beside the log.
    #[error("{what}")]
    File {
        /// What was attempted.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another copy of the service writes this log.
    #[error("another writer has the log: {0}")]
    Fenced(String),
    /// The folder holds an older copy of the log than was signed.
    #[error("the log in {folder} is not the newest: {why}; restore the newest copy before starting")]
    Older {
        /// The folder.
        folder: String,
        /// What contradicts it.
        why: String,
    },
    /// The log takes nothing now.
    #[error("the audit log takes nothing: {0}")]
    Refusing(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// A count was used for two different facts.
    #[error("{0}")]
    Conflict(String),
    /// A part of the service has ended.
    #[error("{0} has ended")]
    Ended(&'static str),
    /// Work at the disk did not end.
    #[error(transparent)]
    Broken(#[from] ground::Broken),
}

impl Error {
    /// What the caller may do about it.
    pub fn code(&self) -> Code {
        match self {
            Error::Bus(error) => error.code(),
            Error::Ledger(ledger::Error::Missing(_)) | Error::Missing(_) => Code::NotFound,
            Error::Ledger(ledger::Error::TooLong { .. }) | Error::Invalid(_) => Code::Invalid,
            Error::Conflict(_) => Code::Conflict,
            Error::Database { .. } | Error::Refusing(_) | Error::Ended(_) | Error::Broken(_) => {
                Code::Unavailable
            }
            Error::Ledger(
                ledger::Error::Io(_)
                | ledger::Error::Format { .. }
                | ledger::Error::Root { .. }
                | ledger::Error::Proof { .. }
                | ledger::Error::Signature { .. }
                | ledger::Error::Untrusted(_)
                | ledger::Error::Inconsistent(_)
                | ledger::Error::Poisoned(_),
            )
            | Error::File { .. }
            | Error::Fenced(_)
            | Error::Older { .. } => Code::Internal,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        match &refused {
            Refused::Another { .. } => Error::Conflict(refused.to_string()),
            Refused::TooFar { .. } | Refused::Lost { .. } => Error::Refusing(refused.to_string()),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error {
            Error::Bus(error) => error.into(),
            other => Fault::new(other.code(), chassis::chain(&other)),
        }
    }
}
