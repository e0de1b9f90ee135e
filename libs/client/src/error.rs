use std::time::Duration;

use model::{Code, DeploymentId, Fault, Span};

/// Why the engine did not do what was asked, or why that is not known. [`Error::code`] says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No NATS server was reached.
    #[error("no engine at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// The last trouble.
        why: String,
    },
    /// NATS answers, and nobody serves what was asked.
    #[error("NATS answers at {url}, but nobody answers {subject}")]
    Unserved {
        /// Where.
        url: String,
        /// Which call.
        subject: String,
    },
    /// No answer in time: what was asked may still happen.
    #[error(
        "the engine at {url} did not answer within {}; what was asked may still happen",
        Span(*after)
    )]
    Silent {
        /// Where.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// No deployment was named, and there is none.
    #[error("there is no deployment yet")]
    NoDeployment,
    /// No deployment was named, and none is under way.
    #[error("no deployment is under way")]
    NoneUnderWay,
    /// The journal of a deployment does not hold what was asked for.
    #[error("the journal of {0} holds no spec")]
    NoSpec(DeploymentId),
    /// The engine refused, or the bus failed.
    #[error(transparent)]
    Bus(#[from] bus::Error),
}

impl Error {
    /// What the caller may do about it.
    pub fn code(&self) -> Code {
        match self {
            Error::Unreachable { .. } | Error::Unserved { .. } => Code::Unavailable,
            Error::Silent { .. } => Code::Timeout,
            Error::NoDeployment | Error::NoneUnderWay | Error::NoSpec(_) => Code::NotFound,
            Error::Bus(error) => error.code(),
        }
    }

    /// Whether asking again may help: the engine was not reached, or said nothing.
    pub fn is_absence(&self) -> bool {
        matches!(self.code(), Code::Unavailable | Code::Timeout)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error {
            Error::Bus(error) => error.into(),
            other => Fault::new(other.code(), other.to_string()),
        }
    }
}
