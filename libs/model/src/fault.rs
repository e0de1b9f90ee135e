//! The few codes an error can carry. The code alone decides the reply, the acknowledgement and the retry.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of failure this is, and therefore what the caller may do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request can never succeed as it stands. Not retried; dead-lettered as a job.
    Invalid,
    /// What was named is not there, perhaps not yet. Jobs are redelivered with growing delay.
    NotFound,
    /// The caller may not do this. Not retried.
    Denied,
    /// The state moved on. Reload, decide again.
    Conflict,
    /// Too much work is held already. Retry later.
    Overloaded,
    /// A dependency cannot be reached. Retry later.
    Unavailable,
    /// No answer before the deadline: the outcome is unknown. Retry only what is idempotent.
    Timeout,
    /// A defect of ours. Logged with its cause; the caller sees only that it happened.
    Internal,
}

impl Code {
    /// The stable text of the code, as it stands on the wire and in JSON output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Invalid => "invalid",
            Code::NotFound => "not_found",
            Code::Denied => "denied",
            Code::Conflict => "conflict",
            Code::Overloaded => "overloaded",
            Code::Unavailable => "unavailable",
            Code::Timeout => "timeout",
            Code::Internal => "internal",
        }
    }

    /// The HTTP status of the same meaning; also the code in a NATS service error header.
    pub const fn status(self) -> u16 {
        match self {
            Code::Invalid => 400,
            Code::NotFound => 404,
            Code::Denied => 403,
            Code::Conflict => 409,
            Code::Overloaded => 429,
            Code::Unavailable => 503,
            Code::Timeout => 504,
            Code::Internal => 500,
        }
    }

    /// Reads [`Code::as_str`] back; an unknown text is [`Code::Internal`], so that a newer peer's code fails safe.
    pub fn from_text(text: &str) -> Code {
        match text {
            "invalid" => Code::Invalid,
            "not_found" => Code::NotFound,
            "denied" => Code::Denied,
            "conflict" => Code::Conflict,
            "overloaded" => Code::Overloaded,
            "unavailable" => Code::Unavailable,
            "timeout" => Code::Timeout,
            _ => Code::Internal,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One complaint about one place: where, what stands there, and how to cure it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Complaint {
    /// The path of the field, such as `modules[1].replicas`; empty for the document as a whole.
    pub field: String,
    /// 1-based line in the source text; 0 when there is no source text.
    #[serde(default)]
    pub line: u32,
    /// 1-based column in the source text; 0 when there is no source text.
    #[serde(default)]
    pub column: u32,
    /// What is wrong, with the value: lower case, no full stop.
    pub message: String,
    /// How to cure it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cure: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.cure.is_empty() {
            write!(f, "\n  {}", self.cure)?;
        }
        Ok(())
    }
}

/// What a failed call answers and what a dead letter records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What the caller may do.
    pub code: Code,
    /// What was attempted, with its values.
    pub message: String,
    /// The places that are wrong, when the fault is about a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<Complaint>,
    /// What it is about may hold a secret in plain text, and nothing of it may be kept. Does not travel.
    #[serde(skip)]
    pub confidential: bool,
}

impl Fault {
    /// A fault without places.
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), complaints: Vec::new(), confidential: false }
    }

    /// An [`Code::Invalid`] fault that lists every complaint.
    pub fn invalid(message: impl Into<String>, complaints: Vec<Complaint>) -> Fault {
        Fault { code: Code::Invalid, message: message.into(), complaints, confidential: false }
    }
}
