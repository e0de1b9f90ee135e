//! The comparison with the old revision over the same time.

use model::{
    Outcome,
    spec::{Comparison, Direction, Provider},
};
use stats::{Decision, Sequential, Verdict, compare_histograms};

use super::{Count, Counted};

/// A running comparison.
#[derive(Clone, Debug)]
pub(super) struct Versus {
    rules: Comparison,
    /// Requests without which it is not known.
    least: u64,
    worse: Sequential,
    better: Sequential,
    /// Comparisons that were bad.
    pub(super) bad: u32,
    /// The last one, in words.
    pub(super) last: Option<(Outcome, String)>,
}

impl Versus {
    pub(super) fn new(rules: &Comparison, least: u64) -> Versus {
        // Both ways are two tests: each may cry wolf half as often.
        let ways = if rules.bad == Direction::Either { 2.0 } else { 1.0 };
        let judge = || Sequential::against_baseline((1.0 - rules.confidence) / ways);
        Versus { rules: rules.clone(), least, worse: judge(), better: judge(), bad: 0, last: None }
    }

    /// Takes what came since the last comparison, and all of it.
    pub(super) fn compare(&mut self, provider: &Provider, whole: &Counted, counted: &Counted) {
        let compared = match provider {
            Provider::Latency(_) => self.latencies(whole),
            Provider::ErrorRate {}
            | Provider::RequestRate {}
            | Provider::Http { .. }
            | Provider::Prometheus { .. } => self.errors(whole, counted),
        };
        self.bad += u32::from(compared.0 == Outcome::Failed);
        self.last = Some(compared);
    }

    fn latencies(&self, whole: &Counted) -> (Outcome, String) {
        let rules = stats::Rules {
            confidence: self.rules.confidence,
            tolerance: self.rules.tolerance,
            direction: self.rules.bad,
            minimum_sample: self.least,
            ..stats::Rules::default()
        };
        let compared = compare_histograms(&whole.new.latency, &whole.old.latency, &rules);
        let outcome = match compared.verdict {
            Verdict::Pass => Outcome::Succeeded,
            Verdict::High | Verdict::Low => Outcome::Failed,
            Verdict::Inconclusive => Outcome::Inconclusive,
        };
        (outcome, compared.text)
    }

    fn errors(&mut self, whole: &Counted, counted: &Counted) -> (Outcome, String) {
        let good = |count: &Count| count.requests.saturating_sub(count.errors);
        let (new, old) = (&counted.new, &counted.old);
        let worse = self.worse.observe(good(new), new.errors, good(old), old.errors);
        let better = self.better.observe(good(old), old.errors, good(new), new.errors);
        let (now, before) = (whole.new.rate(), whole.old.rate());
        // Sure that there is a difference is not enough: it must be more than is tolerated.
        let up = worse == Decision::Harmful && now > before * (1.0 + self.rules.tolerance);
        let down = better == Decision::Harmful && now < before * (1.0 - self.rules.tolerance);
        let bad = match self.rules.bad {
            Direction::Increase => up,
            Direction::Decrease => down,
            Direction::Either => up || down,
        };
        let numbers = format!(
            "{} of {} requests failed, at the old one {} of {}",
            whole.new.errors, whole.new.requests, whole.old.errors, whole.old.requests
        );
        let outcome = match (bad, whole.old.requests >= self.least.max(1)) {
            (true, _) => Outcome::Failed,
            (false, true) => Outcome::Succeeded,
            (false, false) => Outcome::Inconclusive,
        };
        (outcome, numbers)
    }
}
