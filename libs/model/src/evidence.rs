//! What agents find and gates measure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Outcome, Timestamp, Token};

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
    /// The place in the spec, such as `modules[0].run.image`.
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
}

impl fmt::Display for GateResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.gate, self.outcome)?;
        if let Some(measured) = self.measured {
            write!(f, ": measured {}", crate::view::number(measured))?;
        }
        if !self.limit.is_empty() {
            write!(f, ", limit {}", self.limit)?;
        }
        write!(f, " ({} samples)", self.samples)
    }
}
