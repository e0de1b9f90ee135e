//! Instances that must stay well while nothing is changed, or while a revision is on trial: what was seen of each.

use model::{Finding, GateResult, Outcome, Severity, Span, Timestamp, Token};
use serde::{Deserialize, Serialize};

use crate::verdict::verdict;

/// Of all probes of an instance this share may fail, whatever the threshold: one in four.
const TOLERATED: f64 = 0.25;

/// What was seen of the instances over a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Soaked {
    /// Of this module alone; none: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Token>,
    /// How long they were looked at.
    pub window: Span,
    /// Probes in all.
    pub probes: u64,
    /// Every instance that was well once.
    pub instances: Vec<Watched>,
    /// Instances that were well before the first look and gone by then.
    pub lost: Vec<String>,
}

/// What was seen of one instance from when it was first well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watched {
    /// Which.
    pub id: String,
    /// Its module.
    pub module: Token,
    /// Its limit of memory, as the spec has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// So many failed probes in a row make it unwell; none: it is not probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
    /// How often it had been started again, at the first and at the last look.
    pub restarts: (u32, u32),
    /// When its program was last started, by the first and by the last look.
    pub started: (Option<Timestamp>, Option<Timestamp>),
    /// The kernel killed something of it for want of memory.
    pub out_of_memory: bool,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// It was not there at some look.
    pub gone: bool,
    /// Probes.
    pub probes: u32,
    /// Of these, failed.
    pub failed: u32,
    /// The longest row of failed probes.
    pub worst_row: u32,
    /// What the last failed probe said; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What is wrong with an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The rule.
    pub rule: &'static str,
    /// What is wrong.
    pub text: String,
    /// How to cure it.
    pub cure: &'static str,
}

impl Soaked {
    /// Instances that did not stay well, of which there may be none.
    pub fn judge(&self, gate: &str, at: Timestamp) -> GateResult {
        let bad = self.instances.iter().filter(|seen| seen.trouble("").is_some()).count() + self.lost.len();
        let all = self.instances.len() + self.lost.len();
        let counted = if all == 1 { "1 instance".to_owned() } else { format!("{all} instances") };
        let (window, probes) = (self.window, self.probes);
        let text = format!("{bad} of {counted} did not stay well over {window}, {probes} probes");
        let outcome = if bad == 0 { Outcome::Succeeded } else { Outcome::Failed };
        verdict(gate, (outcome, Some(bad as f64)), "== 0".to_owned(), all as u64, text, at)
    }

    /// One finding for each instance that did not stay well. `meanwhile`: what it was to stay well through.
    pub fn findings(&self, meanwhile: &str) -> Vec<Finding> {
        let finding = |rule: &str, module: Option<&Token>, message: String, cure: &str| Finding {
            rule: rule.to_owned(),
            severity: Severity::High,
            module: module.cloned(),
            field: String::new(),
            message,
            cure: cure.to_owned(),
            waived: None,
        };
        let troubled = self.instances.iter().filter_map(|seen| {
            let trouble = seen.trouble(meanwhile)?;
            Some(finding(trouble.rule, Some(&seen.module), trouble.text, trouble.cure))
        });
        let lost = self.lost.iter().map(|id| {
            let text = format!("instance {id} went away {meanwhile}");
            finding("guardian/restart", self.module.as_ref(), text, "")
        });
        troubled.chain(lost).collect()
    }
}

impl Watched {
    /// What is wrong with it. `meanwhile` goes into the words.
    pub fn trouble(&self, meanwhile: &str) -> Option<Trouble> {
        let id = &self.id;
        let trouble = |rule, text, cure| Some(Trouble { rule, text, cure });
        if self.out_of_memory {
            let limit = self.memory.as_deref().unwrap_or("none of its own");
            let text =
                format!("the kernel killed something of instance {id} for want of memory, limit {limit}");
            return trouble("guardian/out-of-memory", text, "find the leak, or raise resources.memory");
        }
        if let Some(why) = &self.ended {
            let text = format!("instance {id} ended {meanwhile}: {why}");
            return trouble("guardian/restart", text, "its own output says why it ended");
        }
        if self.restarts.1 > self.restarts.0 || self.started.1 > self.started.0 {
            let text = format!("instance {id} ended and was started again {meanwhile}");
            return trouble("guardian/restart", text, "its own output says why it ended");
        }
        if self.gone {
            let text = format!("instance {id} went away {meanwhile}");
            return trouble("guardian/restart", text, "see who removed it");
        }
        self.ill_health(self.threshold?.max(1), meanwhile)
    }

    fn ill_health(&self, threshold: u32, meanwhile: &str) -> Option<Trouble> {
        let id = &self.id;
        let numbers = format!("{} of {} probes failed, the last: {}", self.failed, self.probes, self.why);
        if self.worst_row >= threshold {
            let text = format!("instance {id} became unhealthy {meanwhile}: {numbers}");
            let cure = "its own output may say what it waits for";
            return Some(Trouble { rule: "guardian/unhealthy", text, cure });
        }
        let share = f64::from(self.failed) / f64::from(self.probes.max(1));
        (self.failed >= threshold && share > TOLERATED).then(|| Trouble {
            rule: "guardian/flapping",
            text: format!("instance {id} is well and unwell by turns: {numbers}"),
            cure: "its own output may say what it waits for",
        })
    }
}
