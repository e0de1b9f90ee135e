//! The shares of the traffic that arrived, held against those that were set.

use std::collections::BTreeMap;

use model::{GateResult, Outcome, Timestamp, Token, plan::Revision, route::Weights};
use serde::{Deserialize, Serialize};

use crate::verdict::verdict;

/// The gate's name.
pub const GATE: &str = "traffic-share";

/// What arrived after shares were set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arrived {
    /// The module.
    pub module: Token,
    /// The shares that were set, in percent.
    pub weights: Weights,
    /// The shares before.
    pub before: Weights,
    /// What was counted, at most twice: a request that was under way when the shares changed counts for the old ones, so
    /// the last decides.
    pub looks: Vec<Arrival>,
}

/// Requests that were counted between two moments, by the revision that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arrival {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Requests of clients, as the data planes counted them.
    pub counted: BTreeMap<Revision, u64>,
    /// Requests of our own, by what the answers say.
    pub asked: BTreeMap<Revision, u64>,
}

impl Arrival {
    /// All of them.
    pub fn counts(&self) -> BTreeMap<Revision, u64> {
        let mut counts = self.counted.clone();
        for (revision, count) in &self.asked {
            let sum = counts.entry(revision.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        counts
    }
}

impl Arrived {
    /// Whether the shares that arrived are those that were set: within three standard deviations of a binomial count, and
    /// at least 5 points. The gate shows the revision whose share grew most, unless only another one is off.
    pub fn judge(&self, at: Timestamp) -> GateResult {
        let (weights, before) = (&self.weights, &self.before);
        let counts = self.looks.last().map(Arrival::counts).unwrap_or_default();
        let all = counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let mut revisions: Vec<&Revision> = weights.0.keys().chain(counts.keys()).collect();
        revisions.sort();
        revisions.dedup();
        let look = |revision: &Revision| {
            let wanted = weights.of(revision);
            let measured = counts.get(revision).copied().unwrap_or(0) as f64 * 100.0 / all.max(1) as f64;
            (wanted, measured, Weights::tolerance(wanted, all))
        };
        let excess = |revision: &Revision| {
            let (wanted, measured, tolerance) = look(revision);
            (measured - f64::from(wanted)).abs() - tolerance
        };
        let farthest = revisions.iter().copied().max_by(|one, two| excess(one).total_cmp(&excess(two)));
        let off = farthest.filter(|revision| excess(revision) > 0.0);
        let moved = revisions
            .iter()
            .copied()
            .max_by_key(|revision| i16::from(weights.of(revision)) - i16::from(before.of(revision)));
        let shown = moved.filter(|moved| off.is_none() || excess(moved) > 0.0).or(off);
        let Some(shown) = shown else {
            let text = "no request arrived".to_owned();
            return verdict(GATE, (Outcome::Errored, None), String::new(), 0, text, at);
        };
        let (wanted, measured, _) = look(shown);
        let limit = Weights::limit(wanted, all);
        let arrived = model::number((measured * 10.0).round() / 10.0);
        let text = format!("{arrived} % of {all} requests arrived at {shown}, {wanted} % should");
        let good = off.is_none() && all > 0;
        let outcome = if good { Outcome::Succeeded } else { Outcome::Errored };
        verdict(GATE, (outcome, Some(measured)), limit, all, text, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(share: u8, new: u64, old: u64) -> GateResult {
        let (a, b): (Revision, Revision) = ("aaa".parse().unwrap(), "bbb".parse().unwrap());
        let (counted, asked) = ([(a.clone(), old)].into(), [(b.clone(), new)].into());
        let look = Arrival { from: Timestamp(0), until: Timestamp(1), counted, asked };
        let (weights, before) = (Weights::split(b, share, a.clone()), Weights::all_to(a));
        Arrived { module: "web".parse().unwrap(), weights, before, looks: vec![look] }.judge(Timestamp(0))
    }

    #[test]
    fn shares_are_judged_by_what_chance_allows() {
        for (share, new, old, good) in [
            (10, 10, 90, true),
            (10, 19, 81, true),
            (10, 25, 75, false),
            (10, 1200, 8800, true),
            (10, 1600, 8400, false),
            (50, 36, 64, true),
            (50, 30, 70, false),
            (100, 100, 0, true),
            (100, 94, 6, false),
            (100, 0, 100, false),
            (0, 0, 100, true),
            (0, 6, 94, false),
        ] {
            let gate = judged(share, new, old);
            assert_eq!(
                gate.outcome == Outcome::Succeeded,
                good,
                "{share} %: {new} of {}: {}",
                new + old,
                gate.text
            );
        }
    }

    #[test]
    fn a_wrong_share_is_told_with_both_numbers() {
        let gate = judged(10, 40, 60);

        assert_eq!(gate.text, "40 % of 100 requests arrived at bbb, 10 % should");
        assert_eq!((gate.measured, gate.samples), (Some(40.0), 100));
        assert_eq!(gate.limit, "10 ± 9.0 %");
    }

    #[test]
    fn no_request_at_all_is_no_pass() {
        assert_eq!(judged(10, 0, 0).outcome, Outcome::Errored);
    }
}
