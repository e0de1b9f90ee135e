//! Two samples: is the canary worse than the baseline?
//!
//! Mann-Whitney U (two-sided, tie and continuity correction, exact for small samples without ties) tells whether they
//! differ, the Hodges-Lehmann shift with its confidence interval tells by how much. The rule follows Kayenta's judge:
//! high or low when the whole interval lies beyond the tolerance in a direction that is bad, and the effect is large
//! enough. Different from Kayenta:
//! - the tolerance is a share of the baseline's median, not of the shift itself;
//! - few points are inconclusive however far apart they lie (there +650 % on five points passes), and so is an
//!   estimate beyond the tolerance whose interval is not;
//! - a baseline that is empty, zero or not a number is inconclusive (there it passes), and so are infinite values.
//!
//! One look, one verdict: the confidence is that of a single comparison. Who looks again and again at growing samples
//! raises false alarms more often; [`crate::simulate`] tells how often. For error rates use [`crate::sequential`].

use model::spec::Direction;
use serde::{Deserialize, Serialize};

use crate::{
    Histogram,
    text::{percent, short},
};

mod ranks;

use ranks::Pooled;
pub use ranks::Shift;

/// How large a surely intolerable shift must be, besides, to count; a smaller effect in the same direction passes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EffectSize {
    /// Mean of the canary over mean of the baseline: high from `increase` (1 or more), low up to `decrease` (0 to 1).
    MeanRatio {
        /// Smallest ratio that is high.
        increase: f64,
        /// Largest ratio that is low.
        decrease: f64,
    },
    /// Share of pairs in which the canary's value is the larger (common language effect size): high from `increase`
    /// (0.5 to 1), low up to `decrease` (0 to 0.5).
    Larger {
        /// Smallest share that is high.
        increase: f64,
        /// Largest share that is low.
        decrease: f64,
    },
}

impl Default for EffectSize {
    fn default() -> Self {
        EffectSize::MeanRatio { increase: 1.0, decrease: 1.0 }
    }
}

/// How two samples are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rules {
    /// How sure the judge must be, 0.5 to 0.9999. Default 0.98 (Kayenta's).
    pub confidence: f64,
    /// Shift that is tolerated, as a share of the baseline's median, from 0 on. Default 0.25 (Kayenta's).
    pub tolerance: f64,
    /// Which way is bad. Default more.
    pub direction: Direction,
    /// The effect that is asked for besides. Default a ratio of means of 1 (Kayenta's): any, in the same direction.
    pub effect_size: EffectSize,
    /// Values needed on each side, at least 1. Default 50 (Kayenta's guidance).
    pub minimum_sample: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            confidence: 0.98,
            tolerance: 0.25,
            direction: Direction::default(),
            effect_size: EffectSize::default(),
            minimum_sample: 50,
        }
    }
}

/// What the comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// No sign of a shift beyond the tolerance in the bad direction.
    Pass,
    /// Surely shifted up beyond the tolerance, and up is bad.
    High,
    /// Surely shifted down beyond the tolerance, and down is bad.
    Low,
    /// The data do not say.
    Inconclusive,
}

/// The verdict with everything it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// What it says.
    pub verdict: Verdict,
    /// Two-sided p-value of Mann-Whitney U; 1 without data.
    pub p_value: f64,
    /// The shift; none without data.
    pub shift: Option<Shift>,
    /// Median of the baseline; none without data.
    pub baseline_median: Option<f64>,
    /// Share of pairs in which the canary's value is the larger, ties half; none without data.
    pub larger: Option<f64>,
    /// Mean of the canary over mean of the baseline; none without data or where the baseline's is not above zero.
    pub mean_ratio: Option<f64>,
    /// Values on each side: canary, baseline.
    pub samples: (u64, u64),
    /// What it was held against, such as `at most 25 % higher`.
    pub limit: String,
    /// One line for a person.
    pub text: String,
}

impl Comparison {
    /// The shift as a share of the baseline's median; none without data or where that is zero.
    pub fn relative_shift(&self) -> Option<f64> {
        let share = self.shift?.estimate / self.baseline_median?.abs();
        Some(share).filter(|share| share.is_finite())
    }
}

/// Compares raw values. Those that are not a number are left out: a baseline of nothing else is no baseline.
pub fn compare_to_baseline(canary: &[f64], baseline: &[f64], rules: &Rules) -> Comparison {
    if canary.iter().chain(baseline).any(|value| value.is_infinite()) {
        return unknown(rules, (canary.len() as u64, baseline.len() as u64), "a value is infinite");
    }
    fn once(values: &[f64]) -> impl Iterator<Item = (f64, u64)> {
        values.iter().filter(|value| !value.is_nan()).map(|value| (*value, 1))
    }
    judge(&Pooled::of(once(canary), once(baseline)), rules)
}

/// Compares latencies, in microseconds; values of one bucket are ties.
pub fn compare_histograms(canary: &Histogram, baseline: &Histogram, rules: &Rules) -> Comparison {
    judge(&Pooled::of(canary.values(), baseline.values()), rules)
}

fn judge(pooled: &Pooled, rules: &Rules) -> Comparison {
    let samples = (pooled.canary, pooled.baseline);
    if let Some(wrong) = rules.wrong() {
        return unknown(rules, samples, &wrong);
    }
    if pooled.canary == 0 || pooled.baseline == 0 {
        let text = format!("no data: {} values of the canary, {} of the baseline", samples.0, samples.1);
        return unknown(rules, samples, &text);
    }
    let mut comparison = Comparison {
        verdict: Verdict::Inconclusive,
        p_value: pooled.p_value(),
        shift: Some(pooled.shift(rules.confidence)),
        baseline_median: Some(pooled.baseline_median()),
        larger: Some(pooled.larger()),
        mean_ratio: pooled.mean_ratio(),
        samples,
        limit: rules.limit(),
        text: String::new(),
    };
    let (verdict, why) = decide(&comparison, pooled.identical(), rules);
    comparison.verdict = verdict;
    comparison.text = format!("{why}: {}", numbers(&comparison));
    comparison
}

fn decide(found: &Comparison, identical: bool, rules: &Rules) -> (Verdict, String) {
    let (Some(shift), Some(median)) = (found.shift, found.baseline_median) else {
        return (Verdict::Inconclusive, "no data".to_owned());
    };
    if found.samples.0.min(found.samples.1) < rules.minimum_sample {
        return (
            Verdict::Inconclusive,
            format!("too few values, {} are needed on each side", rules.minimum_sample),
        );
    }
    if identical {
        return (Verdict::Pass, "identical".to_owned());
    }
    if median == 0.0 {
        return (Verdict::Inconclusive, "the median of the baseline is zero".to_owned());
    }
    let band = median.abs() * rules.tolerance;
    let significant = found.p_value < 1.0 - rules.confidence;
    let up = rules.direction != Direction::Decrease;
    let down = rules.direction != Direction::Increase;
    if significant && up && shift.low > band {
        return effect(found, rules, Verdict::High);
    }
    if significant && down && shift.high < -band {
        return effect(found, rules, Verdict::Low);
    }
    if (up && shift.estimate > band) || (down && shift.estimate < -band) {
        return (Verdict::Inconclusive, format!("beyond the limit of {}, but not surely", rules.limit()));
    }
    (Verdict::Pass, format!("within the limit of {}", rules.limit()))
}

/// A shift that is surely beyond the tolerance counts if its effect is large enough.
fn effect(found: &Comparison, rules: &Rules, verdict: Verdict) -> (Verdict, String) {
    let (name, size, neutral, increase, decrease) = match rules.effect_size {
        EffectSize::MeanRatio { increase, decrease } => {
            ("ratio of means", found.mean_ratio, 1.0, increase, decrease)
        }
        EffectSize::Larger { increase, decrease } => {
            ("share of larger values", found.larger, 0.5, increase, decrease)
        }
    };
    let Some(size) = size else {
        return (Verdict::Inconclusive, "the mean of the baseline is not above zero".to_owned());
    };
    let (large_enough, same_direction, needed) = match verdict {
        Verdict::Low => (size <= decrease, size <= neutral, decrease),
        _ => (size >= increase, size >= neutral, increase),
    };
    match (large_enough, same_direction) {
        (true, _) if verdict == Verdict::Low => (verdict, "lower than tolerated".to_owned()),
        (true, _) => (verdict, "higher than tolerated".to_owned()),
        (false, true) => {
            (Verdict::Pass, format!("small effect, {name} {} where {} counts", short(size), short(needed)))
        }
        (false, false) => {
            (Verdict::Inconclusive, format!("shift and {name} {} contradict each other", short(size)))
        }
    }
}

fn numbers(found: &Comparison) -> String {
    let median = found.baseline_median.map_or(f64::NAN, f64::abs);
    let shift = found.shift.map_or(String::new(), |shift| {
        let share = |value: f64| format!("{:+.1} %", value / median * 100.0);
        let (estimate, low, high) = match median > 0.0 {
            true => (share(shift.estimate), share(shift.low), share(shift.high)),
            false => (short(shift.estimate), short(shift.low), short(shift.high)),
        };
        format!("shift {estimate} ({low} to {high}), ")
    });
    let (canary, baseline) = found.samples;
    let p_value = short(found.p_value);
    format!("{shift}p {p_value}, {canary} values of the canary, {baseline} of the baseline")
}

fn unknown(rules: &Rules, samples: (u64, u64), why: &str) -> Comparison {
    Comparison {
        verdict: Verdict::Inconclusive,
        p_value: 1.0,
        shift: None,
        baseline_median: None,
        larger: None,
        mean_ratio: None,
        samples,
        limit: rules.limit(),
        text: why.to_owned(),
    }
}

impl Rules {
    /// Rules out of range judge nothing.
    fn wrong(&self) -> Option<String> {
        let (confidence, tolerance) = (self.confidence, self.tolerance);
        if !(0.5..=0.9999).contains(&confidence) {
            return Some(format!("confidence {confidence} is not within 0.5 to 0.9999"));
        }
        if !(0.0..f64::INFINITY).contains(&tolerance) {
            return Some(format!("tolerance {tolerance} is not a share from 0 on"));
        }
        let (neutral, increase, decrease) = match self.effect_size {
            EffectSize::MeanRatio { increase, decrease } => (1.0, increase, decrease),
            EffectSize::Larger { increase, decrease } => (0.5, increase, decrease),
        };
        let fits = increase >= neutral && increase.is_finite() && (0.0..=neutral).contains(&decrease);
        (!fits).then(|| format!("effect sizes {increase} and {decrease} are not on both sides of {neutral}"))
    }

    fn limit(&self) -> String {
        let share = percent(self.tolerance);
        match self.direction {
            Direction::Increase => format!("at most {share} higher"),
            Direction::Decrease => format!("at most {share} lower"),
            Direction::Either => format!("at most {share} higher or lower"),
        }
    }
}

#[cfg(test)]
mod tests;
