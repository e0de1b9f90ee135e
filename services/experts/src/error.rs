//! What can go wrong while experts are asked. That an expert does not answer is no error: it is a ballot.

use std::path::PathBuf;

use model::{Code, Fault, fault::Complaint};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus did not do what was asked.
    #[error(transparent)]
    Bus(#[from] bus::Failure),
    /// What is stored under a question is not a consultation.
    #[error("read what is stored of {id}")]
    Stored {
        /// The question.
        id: String,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// The catalogue cannot be read.
    #[error("read the catalogue {path}: {reason}")]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        reason: String,
    },
    /// The catalogue cannot be used.
    #[error("use the catalogue")]
    BadCatalogue(#[from] providers::catalogue::BadCatalogue),
    /// Two experts have one name.
    #[error("two experts are called {0}; names of rules are taken")]
    TwoExperts(String),
    /// The question cannot be asked.
    #[error("the question cannot be asked: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Question(Vec<Complaint>),
    /// The id belongs to another question.
    #[error("question {0} was asked before and was another one: take another id")]
    AnotherQuestion(String),
    /// There is no such consultation.
    #[error("there is no consultation {0}")]
    NoConsultation(String),
    /// Experts are still asked, or the asking was cut off.
    #[error("no opinion on {0} is formed yet")]
    NotFormed(String),
    /// The service stops.
    #[error("the experts' service is stopping: ask again")]
    Stopping,
}

impl Error {
    /// What the caller may do.
    pub fn code(&self) -> Code {
        match self {
            Error::Bus(failure) => failure.code(),
            Error::Stored { .. } => Code::Internal,
            Error::Catalogue { .. } | Error::BadCatalogue(_) | Error::TwoExperts(_) | Error::Question(_) => {
                Code::Invalid
            }
            Error::AnotherQuestion(_) => Code::Conflict,
            Error::NoConsultation(_) => Code::NotFound,
            Error::NotFormed(_) | Error::Stopping => Code::Unavailable,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let mut fault = Fault::new(error.code(), chassis::chain(&error));
        if let Error::Question(complaints) = error {
            fault.complaints = complaints;
        }
        fault
    }
}
