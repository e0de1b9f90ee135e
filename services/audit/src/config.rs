//! Settings of the audit log.

use std::path::PathBuf;

use chassis::config::{Config, Secret};
use ground::Ranges;
use model::{Span, fault::Complaint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::heart::detect::Rules;

/// `[audit]`, `CODE_AUDIT_*`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Where the log is: `log/` may be shown by any web server, `keys/` must be shown to nobody. Default `.code/audit`.
    pub state_dir: PathBuf,
    /// Which log this is, for ever: the first line of its checkpoints and the name of its keys. Default
    /// `code.internal/audit`.
    pub origin: String,
    /// How often what was accepted is signed. 50 ms to 1 min. Default 1 s.
    pub checkpoint_every: Span,
    /// How long a batch waits for more. 0 to 50 ms. Default 5 ms.
    pub batch_wait: Span,
    /// Leaves per batch and fsync. 1 to 1000. Default 1000.
    pub batch_leaves: usize,
    /// How long a missing count is waited for before it is a hole. 100 ms to 1 h. Default 10 s.
    pub hole_patience: Span,
    /// Where searches look: empty for SQLite in `state_dir`, or `postgres://…`. Default empty.
    #[schemars(with = "String")]
    pub database: Secret,
    /// A trust policy whose witnesses with an address are asked to cosign. Default none.
    pub policy: Option<PathBuf>,
    /// How long a witness may take. Default 5 s.
    pub witness_timeout: Span,
    /// When the rules speak.
    pub rules: Rules,
}

impl Default for AuditConfig {
    fn default() -> Self {
        AuditConfig {
            state_dir: ".code/audit".into(),
            origin: "code.internal/audit".to_owned(),
            checkpoint_every: Span::seconds(1),
            batch_wait: Span::millis(5),
            batch_leaves: 1000,
            hole_patience: Span::seconds(10),
            database: Secret::default(),
            policy: None,
            witness_timeout: Span::seconds(5),
            rules: Rules::default(),
        }
    }
}

impl Config for AuditConfig {
    const SERVICE: &'static str = "audit";

    fn check(&self) -> Result<(), Vec<Complaint>> {
        let mut ranges = Ranges::default();
        ranges.check("checkpoint_every", self.checkpoint_every, Span::millis(50)..=Span::seconds(60), "");
        ranges.check("batch_wait", self.batch_wait, Span::seconds(0)..=Span::millis(50), "");
        ranges.check("batch_leaves", self.batch_leaves, 1..=1000, "leaves");
        ranges.check("hole_patience", self.hole_patience, Span::millis(100)..=Span::seconds(3600), "");
        ranges.check("witness_timeout", self.witness_timeout, Span::millis(10)..=Span::seconds(60), "");
        ranges.check("rules.unusual_below", self.rules.unusual_below, 0.001..=0.5, "");
        if self.origin.is_empty()
            || self.origin.len() > 200
            || self.origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
        {
            let cure = "a name such as example.com/code-audit: no spaces, no +, at most 200 bytes";
            ranges.complain("origin", format!("{:?} is not a log's name", self.origin), cure);
        }
        ranges.done()
    }
}
