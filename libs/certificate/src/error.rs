//! What can go wrong while a certificate is made, read or signed.

use std::path::PathBuf;

use model::Code;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key cannot be used.
    #[error("key {key}: {why}")]
    Key {
        /// Which: a name, never the key.
        key: String,
        /// Why.
        why: String,
    },
    /// A file of the keyring cannot be read or written.
    #[error("{what} {}", path.display())]
    File {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file of the keyring or a trust file does not say what it should.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The audit log's policy of a trust file cannot be used.
    #[error("the log policy of the trust file: {why}")]
    Policy {
        /// Why.
        why: String,
    },
    /// A key service did not sign.
    #[error("{service} {what}: {why}")]
    Service {
        /// Which service.
        service: &'static str,
        /// What was attempted.
        what: String,
        /// Why, without secrets.
        why: String,
        /// Trying again may help.
        passing: bool,
    },
    /// No key is in force.
    #[error("no {0} key is in force at {1}")]
    NoKey(&'static str, String),
    /// What should be certified contradicts itself.
    #[error("cannot certify {deployment}: {why}")]
    Contradiction {
        /// Which deployment.
        deployment: String,
        /// The first contradiction.
        why: String,
    },
    /// The journal does not tell enough to certify anything.
    #[error("the journal of {deployment} {why}")]
    Journal {
        /// Which deployment.
        deployment: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Error {
    /// What a caller may do.
    pub fn code(&self) -> Code {
        match self {
            Error::Key { .. } | Error::Unreadable { .. } | Error::Policy { .. } => Code::Invalid,
            Error::File { .. } => Code::Internal,
            Error::Service { passing: true, .. } => Code::Unavailable,
            Error::Service { passing: false, .. } => Code::Denied,
            Error::NoKey(..) => Code::NotFound,
            Error::Contradiction { .. } => Code::Internal,
            Error::Journal { .. } => Code::Invalid,
        }
    }
}
