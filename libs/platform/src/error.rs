//! What can go wrong, and what the caller may do about it.

use std::{path::Path, time::Duration};

use model::{Code, Fence, TargetId};

/// Ends of a driver's call.
pub type Result<T> = std::result::Result<T, Error>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A write carried a fence lower than one already seen on the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fence {asked} is refused on {target}: {highest} was seen")]
pub struct FenceRefused {
    /// Where.
    pub target: TargetId,
    /// What the write carried.
    pub asked: Fence,
    /// The highest so far.
    pub highest: Fence,
}

/// A driver's call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The order can never be carried out as it stands.
    #[error("{what}")]
    Invalid {
        /// What is wrong, with its value.
        what: String,
    },
    /// The order asks for what is never given, such as a privileged container or a host folder outside the root.
    #[error("{what}")]
    Denied {
        /// What was asked.
        what: String,
    },
    /// A later owner has acted on the target.
    #[error(transparent)]
    Fence(#[from] FenceRefused),
    /// The image or program is nowhere to be had.
    #[error("artefact {artefact} is not there: {reason}")]
    ArtefactMissing {
        /// Image or program.
        artefact: String,
        /// Where it was looked for.
        reason: String,
    },
    /// The image or program is another one than the spec pins.
    #[error("artefact {artefact} has digest {found}, the spec asks for {asked}")]
    WrongDigest {
        /// Image or program.
        artefact: String,
        /// What it has.
        found: String,
        /// What the spec says.
        asked: String,
    },
    /// Something that is not ours, or belongs to another module, has the instance's name.
    #[error("name {name} is taken by something else: {by}")]
    NameTaken {
        /// The name.
        name: String,
        /// What has it.
        by: String,
    },
    /// No such instance.
    #[error("instance {instance} is not there")]
    NoInstance {
        /// Its id.
        instance: String,
    },
    /// The instance is there but does not run.
    #[error("instance {instance} does not run")]
    NotRunning {
        /// Its id.
        instance: String,
    },
    /// There is no room left where the driver or its engine writes.
    #[error("disk is full at {what}")]
    DiskFull {
        /// What was being written.
        what: String,
    },
    /// The engine behind the driver does not answer.
    #[error("platform {platform} is not reachable")]
    Unavailable {
        /// The driver's name.
        platform: &'static str,
        /// What the connection said.
        #[source]
        source: Source,
    },
    /// No answer in time: what was asked may or may not have happened.
    #[error("{what} took longer than {} ms", limit.as_millis())]
    Timeout {
        /// What was attempted.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The engine refused for a reason that has no name here.
    #[error("{what}")]
    Engine {
        /// What was attempted.
        what: String,
        /// What the engine said.
        #[source]
        source: Source,
    },
    /// The operating system refused.
    #[error("{what}")]
    System {
        /// What was attempted.
        what: String,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// Work at the disk did not end.
    #[error(transparent)]
    Broken(#[from] ground::Broken),
}

impl Error {
    /// What the caller may do.
    pub fn code(&self) -> Code {
        match self {
            Error::Invalid { .. } | Error::WrongDigest { .. } => Code::Invalid,
            Error::Denied { .. } => Code::Denied,
            Error::Fence(_) | Error::NameTaken { .. } | Error::NotRunning { .. } => Code::Conflict,
            Error::ArtefactMissing { .. } | Error::NoInstance { .. } => Code::NotFound,
            Error::DiskFull { .. } => Code::Overloaded,
            Error::Unavailable { .. } | Error::Engine { .. } | Error::Broken(_) => Code::Unavailable,
            Error::Timeout { .. } => Code::Timeout,
            Error::System { .. } => Code::Internal,
        }
    }

    /// An [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>) -> Error {
        Error::Invalid { what: what.into() }
    }

    /// The operating system's answer, with a full disk told apart.
    pub fn system(what: &str, path: &Path, source: std::io::Error) -> Error {
        let what = format!("{what} {}", path.display());
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFull { what },
            _ => Error::System { what, source },
        }
    }
}

impl From<sandbox::Error> for Error {
    fn from(error: sandbox::Error) -> Error {
        let what = error.to_string();
        match error {
            sandbox::Error::Missing { program, reason } => {
                Error::ArtefactMissing { artefact: program, reason }
            }
            sandbox::Error::User(_) => Error::Invalid { what },
            sandbox::Error::Refused { .. } | sandbox::Error::OtherUser { .. } => Error::Denied { what },
            sandbox::Error::System { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Error::DiskFull { what }
                }
                _ => Error::System { what, source },
            },
        }
    }
}

impl From<Error> for model::Fault {
    fn from(error: Error) -> model::Fault {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            message = format!("{message}: {inner}");
            source = inner.source();
        }
        model::Fault::new(error.code(), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_system_errors() {
        let full = std::io::Error::from_raw_os_error(28);

        let error = Error::system("write", Path::new("state"), full);

        assert_eq!(error.code(), Code::Overloaded);
        assert_eq!(error.to_string(), "disk is full at write state");
    }
}
