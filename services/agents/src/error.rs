//! What can go wrong while a step is done, and whether that is a verdict about the release or a technical trouble.

use model::{Code, Fault, Fence, Finding, Outcome, step::StepResult};

/// Ends of what agents do.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus did not do what was asked.
    #[error(transparent)]
    Bus(#[from] bus::Failure),
    /// A table of routes was written by a later owner.
    #[error("routes {key} carry fence {stored}, ours is {ours}")]
    Stale {
        /// Which.
        key: String,
        /// The later fence.
        stored: Fence,
        /// Ours.
        ours: Fence,
    },
    /// The platform did not do what was asked.
    #[error(transparent)]
    Platform(#[from] platform::Error),
    /// This runner has no such platform.
    #[error("platform {platform} is not enabled here; enabled are: {enabled}")]
    NoPlatform {
        /// Which.
        platform: String,
        /// Those that it has.
        enabled: String,
    },
    /// The runner's journal cannot be used.
    #[error("{what}")]
    Journal {
        /// What was attempted.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A secret that a module names is not to be had.
    #[error("secret {name} of module {module}: {why}")]
    Secret {
        /// The variable.
        name: String,
        /// The module.
        module: String,
        /// Why, without its value.
        why: String,
    },
    /// A request over HTTP got no answer.
    #[error("GET {url}: {why}")]
    Http {
        /// Which.
        url: String,
        /// Why.
        why: String,
    },
    /// A trouble that may pass: the step is tried again.
    #[error("{0}")]
    Trouble(String),
    /// A verdict: the release is not good as it is.
    #[error("{reason}")]
    Verdict {
        /// Why.
        reason: String,
        /// What was found.
        findings: Vec<Finding>,
    },
    /// A certificate could not be made or signed.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// Work at the disk did not end.
    #[error(transparent)]
    Broken(#[from] ground::Broken),
    /// Nothing does this yet.
    #[error("not implemented {0}")]
    NotImplemented(&'static str),
}

impl Error {
    /// A trouble that may pass.
    pub fn trouble(text: impl Into<String>) -> Error {
        Error::Trouble(text.into())
    }

    /// A verdict without findings.
    pub fn verdict(reason: impl Into<String>) -> Error {
        Error::Verdict { reason: reason.into(), findings: Vec::new() }
    }

    /// Trying again cannot help with a verdict; everything else is technical.
    pub fn outcome(&self) -> Outcome {
        match self {
            Error::Verdict { .. } | Error::NotImplemented(_) | Error::NoPlatform { .. } => Outcome::Failed,
            Error::Platform(error) => match error.code() {
                Code::Invalid | Code::Denied => Outcome::Failed,
                Code::NotFound if matches!(error, platform::Error::ArtefactMissing { .. }) => Outcome::Failed,
                Code::NotFound
                | Code::Conflict
                | Code::Overloaded
                | Code::Unavailable
                | Code::Timeout
                | Code::Internal => Outcome::Errored,
            },
            Error::Secret { .. } => Outcome::Failed,
            Error::Certificate(error) => match error.code() {
                Code::Invalid | Code::Denied => Outcome::Failed,
                Code::NotFound
                | Code::Conflict
                | Code::Overloaded
                | Code::Unavailable
                | Code::Timeout
                | Code::Internal => Outcome::Errored,
            },
            Error::Bus(_)
            | Error::Broken(_)
            | Error::Stale { .. }
            | Error::Journal { .. }
            | Error::Http { .. }
            | Error::Trouble(_) => Outcome::Errored,
        }
    }

    /// What a caller may do.
    pub fn code(&self) -> Code {
        match self {
            Error::Bus(failure) => failure.code(),
            Error::Stale { .. } => Code::Conflict,
            Error::Platform(error) => error.code(),
            Error::NoPlatform { .. } => Code::NotFound,
            Error::Journal { .. } => Code::Internal,
            Error::Secret { .. } | Error::Verdict { .. } => Code::Invalid,
            Error::Http { .. } | Error::Trouble(_) | Error::Broken(_) => Code::Unavailable,
            Error::Certificate(error) => error.code(),
            Error::NotImplemented(_) => Code::Invalid,
        }
    }
}

impl From<Error> for StepResult {
    fn from(error: Error) -> StepResult {
        let mut result = StepResult::new(error.outcome(), chassis::chain(&error));
        if let Error::Verdict { findings, .. } = error {
            result.findings = findings;
        }
        result
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::new(error.code(), chassis::chain(&error))
    }
}
