//! What counts as agreement: the owner's choices, as one value.

use std::collections::BTreeMap;

use model::expert::Action;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a deployment can be, in the order of every array in this crate.
pub const STATES: [&str; 3] = ["safe", "unsafe", "fixable"];

/// What a deployment turned out to be. The vote that fits: approve, reject, needs_change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It went well, or would have.
    Safe,
    /// It had to be rolled back, or would have.
    Unsafe,
    /// It went well after the findings were cured.
    Fixable,
}

impl State {
    /// Its place in every array of this crate.
    pub const fn index(self) -> usize {
        match self {
            State::Safe => 0,
            State::Unsafe => 1,
            State::Fixable => 2,
        }
    }
}

/// A number per state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerState {
    /// If it is safe.
    pub safe: f64,
    /// If it is not.
    #[serde(rename = "unsafe")]
    pub not_safe: f64,
    /// If it is after a cure.
    pub fixable: f64,
}

impl PerState {
    /// The same, in the order of [`STATES`].
    pub const fn array(self) -> [f64; 3] {
        [self.safe, self.not_safe, self.fixable]
    }

    const fn of(safe: f64, not_safe: f64, fixable: f64) -> PerState {
        PerState { safe, not_safe, fixable }
    }
}

/// What each action costs in each state. Only ratios matter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Losses {
    /// Going on. Default 0, 12, 3: it takes two families that agree and have no record yet, a chance of being safe above
    /// about 85 %.
    pub approve: PerState,
    /// Stopping. Default 3, 0, 2.
    pub reject: PerState,
    /// Asking for a cure. Default 1, 4, 0.
    pub needs_change: PerState,
    /// Asking a human. Default 2 whatever it is.
    pub escalate: PerState,
}

impl Default for Losses {
    fn default() -> Losses {
        Losses {
            approve: PerState::of(0.0, 12.0, 3.0),
            reject: PerState::of(3.0, 0.0, 2.0),
            needs_change: PerState::of(1.0, 4.0, 0.0),
            escalate: PerState::of(2.0, 2.0, 2.0),
        }
    }
}

/// The actions among which the loss decides, the most careful first: it wins a tie.
pub(crate) const ACTIONS: [Action; 4] =
    [Action::Escalate, Action::NeedsChange, Action::Reject, Action::Approve];

impl Losses {
    /// The same as a table, in the order of [`ACTIONS`].
    pub(crate) fn table(&self) -> [[f64; 3]; 4] {
        [self.escalate.array(), self.needs_change.array(), self.reject.array(), self.approve.array()]
    }
}

/// How much is at stake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// A fragile opinion stands.
    #[default]
    Low,
    /// A fragile opinion goes to a human.
    Medium,
    /// The same.
    High,
}

/// How answers become an opinion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Chance of each state before anyone has voted; taken relative to its sum. Default equal.
    pub prior: PerState,
    /// What each action costs in each state.
    pub losses: Losses,
    /// Correlation of errors between families, 0 to 1. Default 0.5, as measured on 71 models.
    pub correlation_across: f64,
    /// Correlation of errors within a family, 0 to 1. Default 0.65.
    pub correlation_within: f64,
    /// Cases with a known outcome from which on the tempering is fitted on them. Default 20.
    pub fit_from: u32,
    /// Valid answers needed, abstentions included, at least 1. Default 2.
    pub quorum_answers: u32,
    /// Share of the panel that must have given one, 0 to 1. Default 0.5.
    pub quorum_share: f64,
    /// Families that must have voted. Default 2: no automatic approval on one vendor.
    pub quorum_families: u32,
    /// Families of deterministic rules, by name or as `<name>-…`. They may be a quorum alone, since they share no
    /// training, and may write alike. Default `rules`.
    pub rule_families: Vec<String>,
    /// Similarity from which on two texts say the same, 0 to 1. Default 0.5, for hashed character n-grams.
    pub alike: f64,
    /// Similarity from which on two texts of different families are suspected to be dictated. Default 0.95.
    pub dictated: f64,
    /// Quantile of the recommended canary shares, 0 to 1. Default 0.3: rather small.
    pub canary_quantile: f64,
    /// Largest first canary share in percent, 1 to 100. Default 25.
    pub canary_first_at_most: u16,
    /// Most canary steps, 1 to 100. Default 10.
    pub canary_steps_at_most: u16,
    /// Canary shares when no answer has usable ones. Default 5, 25, 50, 100.
    pub canary_default: Vec<u16>,
    /// Quantile of the recommended bake times, 0 to 1. Default 0.7: rather long.
    pub bake_quantile: f64,
    /// Shortest bake in minutes. Default 1.
    pub bake_at_least: u32,
    /// Longest bake in minutes. Default 120.
    pub bake_at_most: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            prior: PerState::of(1.0, 1.0, 1.0),
            losses: Losses::default(),
            correlation_across: 0.5,
            correlation_within: 0.65,
            fit_from: 20,
            quorum_answers: 2,
            quorum_share: 0.5,
            quorum_families: 2,
            rule_families: vec!["rules".to_owned()],
            alike: 0.5,
            dictated: 0.95,
            canary_quantile: 0.3,
            canary_first_at_most: 25,
            canary_steps_at_most: 10,
            canary_default: vec![5, 25, 50, 100],
            bake_quantile: 0.7,
            bake_at_least: 1,
            bake_at_most: 120,
        }
    }
}

/// A policy that nothing can be decided by.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadPolicy {
    /// A number is not one, or out of its range.
    #[error("{field} is {value}, expected {expected}")]
    Number {
        /// Which.
        field: String,
        /// Its value.
        value: f64,
        /// Its range.
        expected: &'static str,
    },
    /// The default canary shares do not grow from 1 to 100.
    #[error("canary_default is {0:?}, expected growing shares between 1 and 100")]
    Canary(Vec<u16>),
}

impl Policy {
    /// Whether every number is within its range.
    pub fn check(&self) -> Result<(), BadPolicy> {
        let number = |field: &str, value: f64, fits: bool, expected: &'static str| {
            if fits { Ok(()) } else { Err(BadPolicy::Number { field: field.to_owned(), value, expected }) }
        };
        let shares: BTreeMap<&str, f64> = BTreeMap::from([
            ("correlation_across", self.correlation_across),
            ("correlation_within", self.correlation_within),
            ("quorum_share", self.quorum_share),
            ("alike", self.alike),
            ("dictated", self.dictated),
            ("canary_quantile", self.canary_quantile),
            ("bake_quantile", self.bake_quantile),
        ]);
        for (field, value) in shares {
            number(field, value, (0.0..=1.0).contains(&value), "0 to 1")?;
        }
        for (state, value) in STATES.iter().zip(self.prior.array()) {
            number(&format!("prior.{state}"), value, value.is_finite() && value > 0.0, "more than 0")?;
        }
        for (action, row) in ["escalate", "needs_change", "reject", "approve"].iter().zip(self.losses.table())
        {
            for (state, value) in STATES.iter().zip(row) {
                let field = format!("losses.{action}.{state}");
                number(&field, value, value.is_finite() && value >= 0.0, "0 or more")?;
            }
        }
        let first = f64::from(self.canary_first_at_most);
        number("canary_first_at_most", first, (1.0..=100.0).contains(&first), "1 to 100")?;
        let steps = f64::from(self.canary_steps_at_most);
        number("canary_steps_at_most", steps, (1.0..=100.0).contains(&steps), "1 to 100")?;
        let least = f64::from(self.bake_at_least);
        number("bake_at_least", least, self.bake_at_least <= self.bake_at_most, "at most bake_at_most")?;
        number("quorum_answers", f64::from(self.quorum_answers), self.quorum_answers >= 1, "1 or more")?;
        if !grows(&self.canary_default) {
            return Err(BadPolicy::Canary(self.canary_default.clone()));
        }
        Ok(())
    }

    /// Logarithms of the prior; kept away from certainty, which no votes could move.
    pub(crate) fn log_prior(&self) -> [f64; 3] {
        let raw = self.prior.array().map(|one| if one.is_finite() { one.max(0.0) } else { 1.0 });
        let sum: f64 = raw.iter().sum();
        raw.map(|one| if sum > 0.0 { (one / sum).clamp(1e-6, 1.0).ln() } else { 0.0 })
    }

    /// Whether a family is one of deterministic rules.
    pub(crate) fn is_rules(&self, family: &str) -> bool {
        self.rule_families.iter().any(|rules| {
            family.strip_prefix(rules.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    }
}

/// Whether these are shares in percent that a canary can take.
pub(crate) fn grows(steps: &[u16]) -> bool {
    !steps.is_empty()
        && steps.iter().all(|step| (1..=100).contains(step))
        && steps.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_can_be_decided_by() {
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn a_loss_that_is_no_number_is_refused_by_its_name() {
        let mut policy = Policy::default();
        policy.losses.reject.not_safe = f64::NAN;

        let refusal = policy.check().unwrap_err().to_string();

        assert_eq!(refusal, "losses.reject.unsafe is NaN, expected 0 or more");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(
            serde_json::from_str::<Policy>(r#"{"prior": {"safe": 1, "unsafe": 1, "fixable": 1}}"#).is_ok()
        );
        assert!(serde_json::from_str::<Policy>(r#"{"magic": 1}"#).is_err());
    }
}
