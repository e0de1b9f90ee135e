//! Settings of the audit log.

use std::path::PathBuf;

use chassis::config::{Config, Secret, complaint};
use model::{Span, fault::Complaint};
use serde::{Deserialize, Serialize};

use crate::heart::detect::Rules;

/// `[audit]`, `CODE_AUDIT_*`.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
        let mut complaints = Vec::new();
        let mut within = |field: &str, value: u128, least: u128, most: u128, unit: &str| {
            if value < least || value > most {
                let message = format!("{value} {unit} is out of range");
                complaints.push(complaint(field, message, format!("between {least} and {most} {unit}")));
            }
        };
        let millis = |span: Span| span.0.as_millis();
        within("checkpoint_every", millis(self.checkpoint_every), 50, 60_000, "ms");
        within("batch_wait", millis(self.batch_wait), 0, 50, "ms");
        within("batch_leaves", self.batch_leaves as u128, 1, 1000, "leaves");
        within("hole_patience", millis(self.hole_patience), 100, 3_600_000, "ms");
        within("witness_timeout", millis(self.witness_timeout), 10, 60_000, "ms");
        if !(0.001..=0.5).contains(&self.rules.unusual_below) {
            let message = format!("{} is out of range", self.rules.unusual_below);
            complaints.push(complaint("rules.unusual_below", message, "between 0.001 and 0.5".to_owned()));
        }
        if self.origin.is_empty()
            || self.origin.len() > 200
            || self.origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
        {
            let cure = "a name such as example.com/code-audit: no spaces, no +, at most 200 bytes";
            complaints.push(complaint("origin", format!("{:?} is not a log's name", self.origin), cure));
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }
}
