//! What agents find, gates measure and steps come to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Timestamp, Token, number::number};

/// How a step, a gate or a measurement ended, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; good.
    Succeeded,
    /// The measurements do not say: a step is extended once, then rolls back.
    Inconclusive,
    /// A technical trouble: a step is retried with backoff, then rolls back.
    Errored,
    /// A verdict about the release: never retried, rolls back.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Errored => "errored",
            Outcome::Inconclusive => "inconclusive",
        })
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Could hurt.
    Low,
    /// Will hurt some day.
    Medium,
    /// Blocks the deployment unless waived.
    High,
    /// Blocks the deployment unless waived; a waiver needs a reason that names it.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        })
    }
}

/// One thing an agent found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The rule that found it, such as `security/unpinned-image`. Waivers name it.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Which module; none means the whole release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Token>,
    /// The place in the spec, such as `modules[0].run.image`, or in a contract, such as `openapi#/paths/~1a/get`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong, with values; secrets masked.
    pub message: String,
    /// How to cure it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cure: String,
    /// The waiver that covers it, by its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// One gate that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateResult {
    /// The gate, such as `error-rate`.
    pub gate: String,
    /// How it was judged.
    pub outcome: Outcome,
    /// The value measured, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// The limit in the words of the spec, such as `< 0.05`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub limit: String,
    /// How many observations stand behind the value.
    #[serde(default)]
    pub samples: u64,
    /// One line for a person.
    pub text: String,
    /// When it was judged.
    pub at: Timestamp,
    /// Digest of the document of its raw measurements in the evidence store, from which it can be judged again; none:
    /// nothing was kept, and where that was a trouble the text says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
}

impl fmt::Display for GateResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.gate, self.outcome)?;
        if let Some(measured) = self.measured {
            write!(f, ": measured {}", number(measured))?;
        }
        if !self.limit.is_empty() {
            write!(f, ", limit {}", self.limit)?;
        }
        write!(f, " ({} samples)", self.samples)
    }
}

/// One agent's findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewReply {
    /// The agent's name.
    pub agent: String,
    /// Whether it would let the plan pass.
    pub passed: bool,
    /// One line.
    pub summary: String,
    /// What it found.
    pub findings: Vec<Finding>,
}
