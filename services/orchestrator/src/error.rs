//! What can go wrong in the orchestrator.

use model::{Code, Fault};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus did not do what was asked.
    #[error(transparent)]
    Bus(#[from] bus::Failure),
    /// A record could not be appended.
    #[error("append to the journal of {id}")]
    Append {
        /// Whose journal.
        id: String,
        /// The trouble.
        #[source]
        source: bus::AppendError,
    },
    /// A journal that cannot be folded.
    #[error(transparent)]
    Journal(#[from] crate::heart::state::BadJournal),
    /// The target takes no more deployments.
    #[error(transparent)]
    Queue(#[from] crate::heart::target::QueueFull),
    /// The file of signers, or what stands beside it, cannot be used.
    #[error("orchestrator.approvals: {0}")]
    Approvals(String),
    /// What was asked for cannot be done.
    #[error(transparent)]
    Refused(#[from] Fault),
}

impl Error {
    /// What the caller may do.
    pub fn code(&self) -> Code {
        match self {
            Error::Bus(failure) => failure.code(),
            Error::Append { source, .. } => source.code(),
            Error::Journal(_) => Code::Internal,
            Error::Queue(_) => Code::Overloaded,
            Error::Approvals(_) => Code::Invalid,
            Error::Refused(fault) => fault.code,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error {
            Error::Refused(fault) => fault,
            other => {
                let source =
                    std::error::Error::source(&other).map(|source| format!(": {source}")).unwrap_or_default();
                Fault::new(other.code(), format!("{other}{source}"))
            }
        }
    }
}

/// Says what was attempted when the bus fails.
pub trait Attempt<T> {
    /// `load the journal`, `follow the targets`.
    fn attempt(self, what: &'static str) -> Result<T, Error>;
}

impl<T> Attempt<T> for Result<T, bus::Error> {
    fn attempt(self, what: &'static str) -> Result<T, Error> {
        Ok(bus::Attempt::attempt(self, what)?)
    }
}
