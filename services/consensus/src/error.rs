//! What can go wrong while an opinion is computed.

use model::{Code, Fault};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus did not do what was asked.
    #[error(transparent)]
    Bus(#[from] bus::Failure),
    /// Settings, facts or records are not in the shape of `opinion`.
    #[error("read the {what} of a question")]
    Shape {
        /// Which.
        what: &'static str,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// Nothing can be decided by this policy.
    #[error(transparent)]
    Policy(#[from] opinion::policy::BadPolicy),
    /// The threads that compute could not be started.
    #[error(transparent)]
    Threads(#[from] opinion::pool::NoThreads),
    /// A defect of ours: the computation did not end.
    #[error("the computation did not end")]
    Lost,
}

impl Error {
    /// What the caller may do.
    pub fn code(&self) -> Code {
        match self {
            Error::Bus(failure) => failure.code(),
            Error::Shape { .. } | Error::Policy(_) => Code::Invalid,
            Error::Threads(_) => Code::Unavailable,
            Error::Lost => Code::Internal,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::new(error.code(), chassis::chain(&error))
    }
}
