//! What judging a document comes to: a verdict, none, or a difference.

use model::{GateResult, Outcome, Timestamp};
use serde::Serialize;

/// Why a document gives no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unjudged {
    /// It is no document of a gate.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is of a format that is not known here.
    #[error("is of format {0}, known is 1")]
    Format(u32),
    /// Some of what was counted had no room.
    #[error("{0} looks had no room in it")]
    Cut(u64),
    /// What stands in it cannot be.
    #[error("{0}")]
    Wrong(String),
}

/// A field in which two things that should say the same differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// What differs, for a person.
    pub text: String,
}

impl Difference {
    /// In a field.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Difference {
        Difference { field: field.into(), text: text.into() }
    }
}

/// A verdict of a gate; nothing is said of its evidence.
pub(crate) fn verdict(
    gate: &str,
    (outcome, measured): (Outcome, Option<f64>),
    limit: String,
    samples: u64,
    text: String,
    at: Timestamp,
) -> GateResult {
    GateResult { gate: gate.to_owned(), outcome, measured, limit, samples, text, at, evidence: None }
}
