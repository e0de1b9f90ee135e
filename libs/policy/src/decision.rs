//! The answer, and why it is as it is.

use model::Digest;
use serde::{Deserialize, Serialize};

use crate::Action;

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// It may not be done.
    Deny,
    /// It belongs to another organisation: whoever asked must not learn that it is there.
    NotFound,
}

/// A policy that decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// Its `@id`.
    pub policy: String,
    /// Its `@message`; of a policy that erred, the error.
    pub message: String,
    /// The grant that put it in force, for a role: `group:acme/sre on acme/shop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
}

/// The answer, and why it is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is answered.
    pub decision: Verdict,
    /// Who asked.
    pub principal: String,
    /// For what.
    pub action: Action,
    /// On what.
    pub resource: String,
    /// The policies that decided, in order of their names.
    pub determining: Vec<Reason>,
    /// What is missing for it to be allowed, as far as that can be said; at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Which policies and grants decided.
    pub rights: Digest,
}

impl Decision {
    /// It may be done.
    pub fn is_allowed(&self) -> bool {
        self.decision == Verdict::Allow
    }
}
