//! A fixed limit, held against requests: surely beyond it, surely within it, or not known yet.
//!
//! One failed request of 31 is 3.2 %, and says next to nothing about `errorRate < 0.01`; one slow request of 36 "is"
//! the 99th percentile. So what is judged is not the value of a window but what the requests show about the rate behind
//! them, by [`Sequential::against_limit`], which may be looked at after every request:
//! - a **share** (of failed requests) is held against the limit itself;
//! - a **quantile** (of latencies) is above a limit exactly when more than `1 − q` of the requests are slower than it,
//!   so the share of slower requests is held against `1 − q`: the binomial bound on order statistics.
//!
//! Each verdict begins a new round, so that a long good stretch does not hide what comes after it. Round `k` spends
//! `1/(k(k+1))` of the error that is allowed, which adds up to all of it: over any number of rounds the chance of ever
//! finding harm in what keeps its limit, or safety in what does not, stays below `1 − confidence`.
//!
//! A limit of zero (`== 0`) cannot be shown by any number of requests: the first one beyond it is bad, and the least
//! number of samples without one is good.

use serde::{Deserialize, Serialize};

use crate::{Condition, Decision, Histogram, Sequential};

mod required;

pub use required::{POWER, Required, required_sample};

/// How sure a judge of a fixed limit is unless the spec says otherwise.
pub const CONFIDENCE: f64 = 0.95;

/// What is held against the limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// A share of the requests, 0 to 1: see [`LimitRun::observe_share`].
    Share,
    /// This quantile, 0 to 1, of the latencies in milliseconds: see [`LimitRun::observe_latencies`].
    Quantile(f64),
}

/// How a fixed limit is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitRules {
    /// What is measured.
    pub measure: Measure,
    /// When it is good. Without a failure condition everything else is bad.
    pub success: Option<Condition>,
    /// When it is bad. Without a success condition everything else is good.
    pub failure: Option<Condition>,
    /// How sure a verdict must be, clamped to 0.5 to 0.9999.
    pub confidence: f64,
    /// Requests without which a round has no verdict, however clear it looks.
    pub minimum_samples: u64,
}

/// What the requests since the last verdict show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Surely within the limit. A new round begins.
    Good,
    /// Surely beyond the limit. A new round begins.
    Bad,
    /// Not known yet.
    Undecided,
}

/// A running judgement. Looks may come as often as one likes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitRun {
    rules: LimitRules,
    success: Vec<Edge>,
    failure: Vec<Edge>,
    /// From 1.
    round: u32,
    /// Requests in this round.
    seen: u64,
}

/// One end of a range of values: where the measure lies to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Edge {
    /// The range lies below this edge, else above it.
    is_upper: bool,
    /// The edge itself is no part of the range.
    is_strict: bool,
    /// The value, in the unit of the condition.
    at: f64,
    /// Share of requests above it that is just on the edge.
    share: f64,
    above: u64,
    all: u64,
    test: Sequential,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Above,
    Below,
    Unknown,
}

impl LimitRun {
    /// Nothing seen yet.
    pub fn new(rules: LimitRules) -> LimitRun {
        let mut run = LimitRun { rules, success: Vec::new(), failure: Vec::new(), round: 0, seen: 0 };
        run.begin();
        run
    }

    fn begin(&mut self) {
        self.round = self.round.saturating_add(1);
        self.seen = 0;
        let alpha = alpha_of(self.rules.confidence, self.round);
        let edges = |condition: &Option<Condition>| {
            let (low, high) = condition.as_ref().map_or((None, None), Condition::range);
            let is_strict = matches!(condition, Some(Condition::Less(_) | Condition::Greater(_)));
            let edge = |is_upper: bool, at: f64| {
                let share = share_at(self.rules.measure, at);
                let test = Sequential::against_limit(alpha, share);
                Edge { is_upper, is_strict, at, share, above: 0, all: 0, test }
            };
            // Every share is at least 0 and at most 1: an end there that belongs to the range excludes nothing.
            let share = |at: f64| share_at(self.rules.measure, at);
            let low = low.filter(|at| is_strict || share(*at) > 0.0).map(|at| edge(false, at));
            let high = high.filter(|at| is_strict || share(*at) < 1.0);
            low.into_iter().chain(high.map(|at| edge(true, at))).collect()
        };
        (self.success, self.failure) = (edges(&self.rules.success), edges(&self.rules.failure));
    }

    /// Takes the requests since the last look: all of them, and those that failed.
    pub fn observe_share(&mut self, all: u64, failed: u64) -> Look {
        self.observe(all, |_| failed.min(all))
    }

    /// Takes the latencies since the last look. A value in the bucket of a limit counts by the bucket's middle, which
    /// is within 1.6 % of it.
    pub fn observe_latencies(&mut self, latencies: &Histogram) -> Look {
        self.observe(latencies.count(), |millis| {
            let slower = latencies.values().filter(|(micros, _)| *micros > millis * 1000.0);
            slower.map(|(_, count)| count).sum()
        })
    }

    fn observe(&mut self, all: u64, above: impl Fn(f64) -> u64) -> Look {
        self.seen = self.seen.saturating_add(all);
        for edge in self.success.iter_mut().chain(&mut self.failure) {
            edge.observe(all, above(edge.at));
        }
        let look = if self.seen < self.rules.minimum_samples.max(1) { Look::Undecided } else { self.judge() };
        if look != Look::Undecided {
            self.begin();
        }
        look
    }

    fn judge(&self) -> Look {
        let (given, excluded) = (self.rules.success.is_some(), self.rules.failure.is_some());
        let bad = if excluded { inside(&self.failure) } else { given && outside(&self.success) };
        let good = if given { inside(&self.success) } else { excluded && outside(&self.failure) };
        match (bad, good) {
            (true, _) => Look::Bad,
            (false, true) => Look::Good,
            (false, false) => Look::Undecided,
        }
    }

    /// Requests since the last verdict.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The rules it was begun with.
    pub fn rules(&self) -> &LimitRules {
        &self.rules
    }
}

impl LimitRules {
    /// Requests that the limit needs; of several limits the one that needs most counts. None where no number can be
    /// said, as for a limit of zero.
    pub fn required(&self) -> Option<Required> {
        let edges = [&self.success, &self.failure].into_iter().flatten().flat_map(|condition| {
            let (low, high) = condition.range();
            [low, high].into_iter().flatten()
        });
        let needed = edges.filter_map(|at| required_sample(share_at(self.measure, at), self.confidence));
        needed.max_by_key(|needed| needed.likely)
    }
}

/// Surely within all the edges.
fn inside(edges: &[Edge]) -> bool {
    edges.iter().all(|edge| edge.side() == if edge.is_upper { Side::Below } else { Side::Above })
}

/// Surely beyond one of the edges.
fn outside(edges: &[Edge]) -> bool {
    edges.iter().any(|edge| edge.side() == if edge.is_upper { Side::Above } else { Side::Below })
}

impl Edge {
    fn observe(&mut self, all: u64, above: u64) {
        self.all = self.all.saturating_add(all);
        self.above = self.above.saturating_add(above);
        self.test.observe(all.saturating_sub(above), above, 0, 0);
    }

    fn side(&self) -> Side {
        // No share lies beyond 0 or 1, and whether it lies on them is for all of the requests to say, not for bets.
        let never =
            self.is_strict && ((self.is_upper && self.share <= 0.0) || (!self.is_upper && self.share >= 1.0));
        if self.share < 0.0 || (self.share <= 0.0 && (self.above > 0 || never)) {
            return Side::Above;
        }
        if self.share > 1.0 || (self.share >= 1.0 && (self.above < self.all || never)) {
            return Side::Below;
        }
        if self.share <= 0.0 || self.share >= 1.0 {
            return if self.share <= 0.0 { Side::Below } else { Side::Above };
        }
        match self.test.decision() {
            Decision::Harmful => Side::Above,
            Decision::Safe => Side::Below,
            Decision::Undecided => Side::Unknown,
        }
    }
}

fn share_at(measure: Measure, at: f64) -> f64 {
    match measure {
        Measure::Share => at,
        Measure::Quantile(q) => 1.0 - q,
    }
}

/// What round `round` (from 1) may err.
fn alpha_of(confidence: f64, round: u32) -> f64 {
    let round = f64::from(round.max(1));
    (1.0 - confidence.clamp(0.5, 0.9999)) / (round * (round + 1.0))
}

#[cfg(test)]
mod tests;
