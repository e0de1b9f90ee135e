use std::{borrow::Cow, path::PathBuf, time::Duration};

use model::{Code, Fault};

/// Why speaking failed. [`Error::code`] says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server was reached in time.
    #[error("connecting to NATS at {url} for {patience:?}; start one with `make demo` or set the url")]
    Connect {
        /// Where.
        url: String,
        /// For how long.
        patience: Duration,
        /// The last trouble.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server is older than what the guarantees need.
    #[error(
        "NATS at {url} is version {found}, 2.14.0 or newer is needed: run tools/setup.sh for a current one"
    )]
    TooOld {
        /// Where.
        url: String,
        /// Its version.
        found: String,
    },
    /// The server does not know the key.
    #[error(
        "NATS at {url} does not know {user} by {}; name the key that the server was given (for an engine of codectl up: \
         --home, else --nats-key), or give it the key with `codectl access`",
        key.as_ref().map_or("no key at all".to_owned(), |key| format!("the key in {}", key.display()))
    )]
    Stranger {
        /// Where.
        url: String,
        /// Who was said to connect.
        user: String,
        /// With which key.
        key: Option<PathBuf>,
    },
    /// A key or a list of keys cannot be used.
    #[error("{}: {why}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why, and what cures it.
        why: String,
    },
    /// The server lets a user do less or more than the table of speech says.
    #[error(
        "NATS at {url} has other permissions for {user} than this version needs: {what}; write the server's \
         configuration anew with `codectl access prepare` and reload it"
    )]
    Rights {
        /// Where.
        url: String,
        /// Whose.
        user: String,
        /// What is missing or too much.
        what: String,
    },
    /// The server refused what its permissions do not allow.
    #[error("NATS does not let {user} speak on {subject}")]
    Refused {
        /// Who.
        user: String,
        /// Where.
        subject: String,
    },
    /// A stream or a consumer is not there. Services make none.
    #[error("{what} is missing: run `codectl access provision` with the provisioner's key (codectl up does)")]
    Unprovisioned {
        /// Which.
        what: String,
    },
    /// A stream exists with another configuration.
    #[error(
        "stream {stream} differs from the settings: {differences}; edit the stream or the settings, then restart"
    )]
    Differs {
        /// Which.
        stream: String,
        /// Every field with both values.
        differences: String,
    },
    /// The server's disk is too small for what the streams reserve.
    #[error(
        "stream {stream} reserves {} MiB, and NATS has no such room on its disk; give it more, or lower nats_limits",
        bytes >> 20
    )]
    NoRoom {
        /// Which.
        stream: String,
        /// What it reserves.
        bytes: i64,
    },
    /// The broker refused or did not do what was asked.
    #[error("{what}")]
    Broker {
        /// What was attempted.
        what: String,
        /// What the broker said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answers calls on the subject now.
    #[error("nobody answers {subject}: is the service running?")]
    NoResponders {
        /// Which.
        subject: String,
    },
    /// No answer in time: the outcome is unknown.
    #[error("no answer from {subject} within {after:?}")]
    Timeout {
        /// Which.
        subject: String,
        /// How long.
        after: Duration,
    },
    /// The other side answered with a fault.
    #[error("{0}")]
    Fault(Fault),
    /// What came is not what the table says.
    #[error(transparent)]
    Wire(#[from] wire::Error),
    /// An id or a lane that would break a subject.
    #[error(transparent)]
    Name(#[from] model::id::BadToken),
    /// What would stand in every message as who says it is no name.
    #[error(transparent)]
    Principal(#[from] model::principal::BadName),
    /// A record of a journal says what cannot be. A human must look; deciding on it would be wrong.
    #[error("the journal of {id} cannot be folded")]
    Unfoldable {
        /// Whose.
        id: String,
        /// Where it breaks.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A journal holds what cannot be used: foreign bytes, an event of a newer version of us, a version that does not
    /// follow. Deciding on the rest would be wrong, so nothing is written on top of it. A newer engine may read it; else a
    /// person has it passed over.
    #[error(
        "journal {} is set aside: the record at sequence {} of stream {} cannot be used: {}; look with \
         `codectl journal show {}`",
        .0.id, .0.seq, .0.stream, .0.why, .0.id
    )]
    Unreadable(Box<model::journal::Unreadable>),
    /// What was named is not there.
    #[error("{0} is not there")]
    Missing(String),
    /// More bytes than the server takes in one message.
    #[error("{subject}: {size} bytes, the server takes {limit} in one message (max_payload)")]
    TooLarge {
        /// Where it should have gone.
        subject: String,
        /// Its size, headers included.
        size: usize,
        /// What the server takes.
        limit: usize,
    },
    /// Stored bytes do not have the digest they are stored under.
    #[error("evidence {digest} has other bytes than its digest says")]
    Corrupt {
        /// The digest that was asked for.
        digest: String,
    },
    /// A file of the settings cannot be used, or nats-server cannot be started.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An outbox holds as many facts as it may while the broker is away.
    #[error("{waiting} facts for the audit log wait for the broker, no more are taken: is NATS reached?")]
    Full {
        /// How many wait.
        waiting: usize,
    },
    /// nats-server did not come up.
    #[error("{0}")]
    Server(String),
}

impl Error {
    pub(crate) fn broker(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Broker { what: what.into(), source: source.into() }
    }

    /// What the caller may do about it.
    pub fn code(&self) -> Code {
        match self {
            Error::Fault(fault) => fault.code,
            Error::Wire(error) => error.code(),
            Error::Name(_) | Error::Principal(_) | Error::TooLarge { .. } | Error::Key { .. } => {
                Code::Invalid
            }
            Error::Stranger { .. } | Error::Rights { .. } | Error::Refused { .. } => Code::Denied,
            Error::Missing(_) => Code::NotFound,
            Error::Timeout { .. } => Code::Timeout,
            Error::Full { .. } | Error::NoRoom { .. } => Code::Overloaded,
            Error::Connect { .. }
            | Error::Broker { .. }
            | Error::NoResponders { .. }
            | Error::Unprovisioned { .. }
            | Error::Server(_) => Code::Unavailable,
            Error::TooOld { .. }
            | Error::Differs { .. }
            | Error::Unfoldable { .. }
            | Error::Unreadable(_)
            | Error::Corrupt { .. }
            | Error::Io { .. } => Code::Internal,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error {
            Error::Fault(fault) => fault,
            other => Fault::new(other.code(), chain(&other)),
        }
    }
}

/// The error and its causes in one line, for where no error type can travel.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        // Transparent errors repeat the text of their cause.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = source.source();
    }
    text
}

/// Why nothing was appended, or why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer was first: load again, decide again. Nothing was written.
    #[error("another writer was first")]
    Raced,
    /// The broker could not be reached, or did not say whether it has the record. Appending the same record again is
    /// safe: it is found if it was written.
    #[error(transparent)]
    Unavailable(Error),
}

impl AppendError {
    /// What the caller may do about it.
    pub fn code(&self) -> Code {
        match self {
            AppendError::Raced => Code::Conflict,
            AppendError::Unavailable(error) => error.code(),
        }
    }
}

impl From<AppendError> for Fault {
    fn from(error: AppendError) -> Fault {
        match error {
            AppendError::Raced => Fault::new(Code::Conflict, "another writer was first"),
            AppendError::Unavailable(error) => error.into(),
        }
    }
}

/// Why a compare-and-set did not happen, or is not known; the same two as for a log.
pub type WriteError = AppendError;

/// What was attempted on the bus, and why it did not happen or is not known to have happened.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// What was attempted, such as `load the journal of dep-1`.
    pub what: Cow<'static, str>,
    /// The trouble.
    #[source]
    pub source: AppendError,
}

impl Failure {
    /// The record of a journal that cannot be used, when that is the trouble.
    pub fn unreadable(&self) -> Option<&model::journal::Unreadable> {
        match &self.source {
            AppendError::Unavailable(Error::Unreadable(found)) => Some(found),
            _ => None,
        }
    }

    /// What the caller may do about it.
    pub fn code(&self) -> Code {
        self.source.code()
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        match failure.source {
            // What the other side complains about goes on to the caller.
            AppendError::Unavailable(Error::Fault(fault)) => {
                Fault { message: format!("{}: {}", failure.what, fault.message), ..fault }
            }
            _ => Fault::new(failure.code(), chain(&failure)),
        }
    }
}

/// Says what was attempted when the bus fails.
pub trait Attempt<T> {
    /// `what` is a verb and its object, such as `ask for the journal`.
    fn attempt(self, what: impl Into<Cow<'static, str>>) -> Result<T, Failure>;
}

impl<T> Attempt<T> for Result<T, Error> {
    fn attempt(self, what: impl Into<Cow<'static, str>>) -> Result<T, Failure> {
        self.map_err(AppendError::Unavailable).attempt(what)
    }
}

impl<T> Attempt<T> for Result<T, AppendError> {
    fn attempt(self, what: impl Into<Cow<'static, str>>) -> Result<T, Failure> {
        self.map_err(|source| Failure { what: what.into(), source })
    }
}
