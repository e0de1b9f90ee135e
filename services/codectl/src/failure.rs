//! Why a command did not do what was asked, and the exit status that says so.

use client::Error;
use model::{Code, Fault, fault::Complaint};

/// Why.
#[derive(Debug)]
pub struct Failure {
    /// The exit status: 1 failed, 2 invalid input, 3 engine unreachable.
    pub status: u8,
    /// One line.
    pub text: String,
    /// Places in a document, if it is about one.
    pub complaints: Vec<Complaint>,
    /// The document, to show before line and column.
    pub file: Option<String>,
}

impl Failure {
    /// Exit status 1.
    pub fn other(text: impl Into<String>) -> Failure {
        Failure { status: 1, text: text.into(), complaints: Vec::new(), file: None }
    }

    /// Exit status 2.
    pub fn invalid(text: impl Into<String>) -> Failure {
        Failure { status: 2, ..Failure::other(text) }
    }

    /// Names the document.
    pub fn in_file(self, file: &std::path::Path) -> Failure {
        Failure { file: Some(file.display().to_string()), ..self }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let status = match fault.code {
            Code::Invalid => 2,
            Code::Unavailable | Code::Timeout => 3,
            Code::NotFound | Code::Denied | Code::Conflict | Code::Overloaded | Code::Internal => 1,
        };
        Failure { status, text: fault.message, complaints: fault.complaints, file: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let hint = match &error {
            Error::Unreachable { .. } => "\n  start one with `codectl up`, or name it with --nats or --home",
            Error::Unserved { .. } => "\n  is it still starting? see `codectl up` and its log",
            Error::Silent { .. } => "\n  look with codectl list, or wait longer with --timeout",
            Error::NoneUnderWay => "; codectl list shows those that ended",
            Error::NoDeployment => "; make one with codectl apply FILE",
            Error::NoSpec(_) | Error::Bus(_) => "",
        };
        let fault = Fault::from(error);
        Failure::from(Fault { message: fault.message + hint, ..fault })
    }
}

impl From<bus::Error> for Failure {
    fn from(error: bus::Error) -> Failure {
        Failure::from(Fault::from(error))
    }
}

impl From<bus::Failure> for Failure {
    fn from(failure: bus::Failure) -> Failure {
        Failure::from(Fault::from(failure))
    }
}
