//! Error rates that may be looked at after every request: the chance of EVER being wrong stays below alpha, whenever
//! one looks and whyever one stops.
//!
//! Bets are made on the errors of each batch at odds that are fair, or worse, as long as nothing is wrong; the average
//! capital of all bets reaches 1/alpha with a chance of at most alpha (Ville 1939; mixtures: Robbins 1970).
//!
//! **Canary against baseline.** With n requests on one side and m on the other, and a canary's rate of `r` times the
//! baseline's, an error comes from the canary with probability `q = r·n / (r·n + m)`. Bets on that source alone need
//! no estimate of the rate and hold however it drifts, as long as both sides drift together: M. Lindon, C. Sanden,
//! V. Shirikian, "Rapid Regression Detection in Software Deployments through Sequential Testing" (KDD 2022); M. Lindon,
//! A. Malek, "Anytime-Valid Inference for Multinomial Count Data" (NeurIPS 2022). A batch with x errors of the canary
//! and y of the baseline multiplies the capital by `(q/p)^x · ((1−q)/(1−p))^y`, where p belongs to the ratio that is
//! tolerated. Those papers count events of Poisson processes; for requests that fail or not it holds as well, because
//! `1 + θ(w−1) ≤ exp(θ(w−1))` for any rate θ and factor w. That inequality costs power where most requests fail.
//!
//! **Canary against a fixed limit.** The mixture of likelihood ratios against the limit (Robbins 1970).
//!
//! What it asks for: the sizes of a batch must not depend on the errors in it, and both sides of a batch must come from
//! the same time. A long good stretch is remembered: begin a new test for each step of a rollout.

use serde::{Deserialize, Serialize};

use crate::text::{percent, short};

/// What is known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Surely more errors than tolerated. Stays, whatever follows.
    Harmful,
    /// Surely fewer errors than tolerated. Stays, unless it becomes harmful.
    Safe,
    /// Not known yet.
    Undecided,
}

/// What is bet on: so many times more, or fewer, errors than tolerated.
const MULTIPLES: [f64; 9] = [1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];

/// Logarithms of the capital of each bet, begun with 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bets([f64; MULTIPLES.len()]);

impl Bets {
    fn place(&mut self, gain: impl Fn(f64) -> f64) {
        self.0.iter_mut().zip(MULTIPLES).for_each(|(capital, multiple)| *capital += gain(multiple));
    }

    /// Logarithm of the average capital.
    fn average(&self) -> f64 {
        let largest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.0.iter().map(|capital| (capital - largest).exp()).sum();
        largest + (sum / self.0.len() as f64).ln()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Against {
    /// So many times the baseline's rate is tolerated.
    Baseline(f64),
    /// This rate is tolerated.
    Limit(f64),
}

/// Requests of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    ok: u64,
    err: u64,
}

impl Seen {
    fn add(&mut self, ok: u64, err: u64) {
        self.ok = self.ok.saturating_add(ok);
        self.err = self.err.saturating_add(err);
    }

    fn all(&self) -> u64 {
        self.ok.saturating_add(self.err)
    }

    fn rate(&self) -> Option<f64> {
        (self.all() > 0).then(|| self.err as f64 / (self.ok as f64 + self.err as f64))
    }
}

/// The running test. Small and serializable, so that it survives a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequential {
    alpha: f64,
    against: Against,
    more: Bets,
    fewer: Bets,
    /// Most that was ever won on "more" and on "fewer", as logarithms.
    most: (f64, f64),
    canary: Seen,
    baseline: Seen,
}

impl Sequential {
    /// Canary against baseline. `alpha` (1e-12 to 0.5, clamped) bounds the chance of ever calling a canary harmful
    /// that errs no more often than the baseline, and of ever calling one safe that errs no less often.
    pub fn against_baseline(alpha: f64) -> Sequential {
        Sequential::begin(alpha, Against::Baseline(1.0))
    }

    /// Canary against baseline, where so many times the baseline's error rate (0.01 to 100, clamped) is tolerated:
    /// harmful is surely more than that, safe is surely less.
    pub fn against_baseline_times(alpha: f64, tolerated: f64) -> Sequential {
        Sequential::begin(alpha, Against::Baseline(tolerated.clamp(0.01, 100.0)))
    }

    /// Canary against a fixed error rate (1e-9 to 1 − 1e-9, clamped): harmful is surely above it, safe surely below.
    pub fn against_limit(alpha: f64, limit: f64) -> Sequential {
        Sequential::begin(alpha, Against::Limit(limit.clamp(1e-9, 1.0 - 1e-9)))
    }

    fn begin(alpha: f64, against: Against) -> Sequential {
        let (more, fewer) = (Bets::default(), Bets::default());
        let (canary, baseline) = (Seen::default(), Seen::default());
        Sequential {
            alpha: alpha.clamp(1e-12, 0.5),
            against,
            more,
            fewer,
            most: (0.0, 0.0),
            canary,
            baseline,
        }
    }

    /// Takes one batch of requests: those since the last one, not totals. Against a baseline a batch in which one side
    /// had no request tells nothing; against a limit the baseline is ignored.
    pub fn observe(&mut self, canary_ok: u64, canary_err: u64, base_ok: u64, base_err: u64) -> Decision {
        let (x, y) = (canary_err as f64, base_err as f64);
        match self.against {
            Against::Baseline(tolerated) => {
                let (canary, baseline) = (canary_ok as f64 + x, base_ok as f64 + y);
                if canary > 0.0 && baseline > 0.0 {
                    let share = tolerated * canary / (tolerated * canary + baseline);
                    let gain = |times: f64| x * times.ln() - (x + y) * ((times - 1.0) * share).ln_1p();
                    self.more.place(gain);
                    self.fewer.place(|multiple| gain(1.0 / multiple));
                }
            }
            Against::Limit(limit) => {
                let gain = |times: f64| {
                    let rate = with_odds(limit, times);
                    x * (rate / limit).ln() + canary_ok as f64 * ((-rate).ln_1p() - (-limit).ln_1p())
                };
                self.more.place(gain);
                self.fewer.place(|multiple| gain(1.0 / multiple));
            }
        }
        self.canary.add(canary_ok, canary_err);
        self.baseline.add(base_ok, base_err);
        self.most = (self.most.0.max(self.more.average()), self.most.1.max(self.fewer.average()));
        self.decision()
    }

    /// What is known now.
    pub fn decision(&self) -> Decision {
        let needed = -self.alpha.ln();
        if self.most.0 >= needed {
            Decision::Harmful
        } else if self.most.1 >= needed {
            Decision::Safe
        } else {
            Decision::Undecided
        }
    }

    /// Anytime-valid p-value of "the canary errs no more often than tolerated": harmful at alpha or below. It never
    /// rises.
    pub fn p_value(&self) -> f64 {
        (-self.most.0).exp()
    }

    /// The same of "the canary errs no less often than tolerated": safe at alpha or below.
    pub fn p_value_safe(&self) -> f64 {
        (-self.most.1).exp()
    }

    /// Error rate of the canary so far; none without requests.
    pub fn canary_rate(&self) -> Option<f64> {
        self.canary.rate()
    }

    /// Error rate of the baseline so far; none without requests.
    pub fn baseline_rate(&self) -> Option<f64> {
        self.baseline.rate()
    }

    /// Requests so far: canary, baseline.
    pub fn samples(&self) -> (u64, u64) {
        (self.canary.all(), self.baseline.all())
    }

    /// One line for a person.
    pub fn explain(&self) -> String {
        let shown = |seen: &Seen| match seen.rate() {
            Some(rate) => format!("{} errors ({} of {})", percent(rate), seen.err, seen.all()),
            None => "no requests".to_owned(),
        };
        let against = match self.against {
            Against::Limit(limit) => format!("limit {}", percent(limit)),
            Against::Baseline(1.0) => format!("baseline {}", shown(&self.baseline)),
            Against::Baseline(times) => {
                format!("baseline {}, {} times tolerated", shown(&self.baseline), short(times))
            }
        };
        let decision = match self.decision() {
            Decision::Harmful => format!("harmful, p {}", short(self.p_value())),
            Decision::Safe => format!("safe, p {}", short(self.p_value_safe())),
            Decision::Undecided => format!("undecided, p {} for harmful", short(self.p_value())),
        };
        format!("{decision}: canary {}, {against}; alpha {}", shown(&self.canary), short(self.alpha))
    }
}

/// The rate whose odds are `times` those of `rate`.
fn with_odds(rate: f64, times: f64) -> f64 {
    let odds = rate / (1.0 - rate) * times;
    odds / (1.0 + odds)
}

#[cfg(test)]
mod tests;
