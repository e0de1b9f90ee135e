//! Settings of the experts' service.

use std::path::PathBuf;

use chassis::config::Config;
use ground::Ranges;
use model::{Span, Token, fault::Complaint};
use opinion::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[experts]`, `CODE_EXPERTS_*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExpertsConfig {
    /// A file with providers, models, prices, budgets and hedging, such as `examples/experts.toml`. None: rules only.
    /// Default none.
    pub catalogue: Option<PathBuf>,
    /// Experts that are programs behind a door on the bus (docs/experts.md). Default none.
    pub plug_ins: Vec<PlugIn>,
    /// When the rule-based experts serve: `fallback` (nobody else is there), `always`, `never`. Default `fallback`.
    pub rules: When,
    /// What counts as agreement: prior, losses, quorum, correlations, quantiles.
    pub policy: Policy,
    /// Time for a panel when a question does not say. 1 s to 30 min. Default 45 s.
    pub deadline: Span,
    /// How long answers that come after the deadline are still taken down. 0 s to 10 min. Default 30 s.
    pub late: Span,
    /// Stop waiting when no missing answer can change the action. Default true.
    pub early_stop: bool,
    /// Most bytes of evidence in one question. 1 KiB to 768 KiB. Default 384 KiB.
    pub evidence_bytes: usize,
    /// How long a consensus worker may take before the opinion is computed here. 50 ms to 1 min. Default 2 s.
    pub consensus: Span,
    /// Questions at once. 1 to 4096. Default 32.
    pub concurrency: usize,
}

/// When the rule-based experts serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// When nobody else is on the panel.
    #[default]
    Fallback,
    /// Beside the others.
    Always,
    /// Not unless a question names them.
    Never,
}

/// An expert that is a program behind a door on the bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlugIn {
    /// Its name, and the last token of the subject it answers on.
    pub name: Token,
    /// The family it belongs to. Two experts of one family count as hardly more than one voice.
    pub family: Token,
    /// The version whose record counts.
    pub version: String,
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        ExpertsConfig {
            catalogue: None,
            plug_ins: Vec::new(),
            rules: When::default(),
            policy: Policy::default(),
            deadline: Span::seconds(45),
            late: Span::seconds(30),
            early_stop: true,
            evidence_bytes: 384 * 1024,
            consensus: Span::seconds(2),
            concurrency: 32,
        }
    }
}

impl Config for ExpertsConfig {
    const SERVICE: &'static str = "experts";

    fn check(&self) -> Result<(), Vec<Complaint>> {
        let mut ranges = Ranges::default();
        ranges.check("deadline", self.deadline, Span::seconds(1)..=Span::seconds(1800), "");
        ranges.check("late", self.late, Span::seconds(0)..=Span::seconds(600), "");
        ranges.check("consensus", self.consensus, Span::millis(50)..=Span::seconds(60), "");
        if let Err(bad) = self.policy.check() {
            ranges.complain("policy", bad.to_string(), "see docs/experts.md for every range");
        }
        ranges.check("evidence_bytes", self.evidence_bytes, 1024..=768 * 1024, "bytes");
        ranges.check("concurrency", self.concurrency, 1..=4096, "questions");
        ranges.done()
    }
}
