//! How often the judges are wrong: seeded, so that a rate can be printed and asserted.
//!
//! Everything is drawn from SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
//! OOPSLA 2014): the same seed gives the same rates on every machine of the same floating-point library.

use model::Outcome;

use crate::{
    Decision, Histogram, LimitRules, LimitRun, Look, Measure, MetricRules, MetricRun, Progress, Rules,
    Sample, Sequential, Verdict, compare_histograms,
};

mod random;

pub use random::Random;

/// Who judges.
#[derive(Clone, Debug, PartialEq)]
pub enum Judge {
    /// [`Sequential::against_baseline`] at this alpha.
    ErrorsAgainstBaseline {
        /// Chance of ever being wrong.
        alpha: f64,
    },
    /// [`Sequential::against_limit`] at this alpha, the limit being the baseline's error rate.
    ErrorsAgainstLimit {
        /// Chance of ever being wrong.
        alpha: f64,
    },
    /// [`LimitRun`] over the canary's requests, errors or latencies: it goes on after a good verdict.
    Limit(LimitRules),
    /// [`MetricRun`] over the canary's error rate in each look.
    ErrorsByMetric(MetricRules),
    /// [`compare_histograms`] of all latencies up to each look. High and low are alarms.
    Latencies(Rules),
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// How often one looks: the judge may stop at each look.
    pub looks: u32,
    /// Requests of the canary between two looks.
    pub canary_per_look: u64,
    /// Requests of the baseline between two looks.
    pub baseline_per_look: u64,
    /// Error rate of the baseline, 0 to 1. Drifts up and down tenfold over the looks if `drifting`.
    pub error_rate: f64,
    /// Whether the error rate of both sides drifts alike.
    pub drifting: bool,
    /// Median latency of the baseline in microseconds; latencies are log-normal with a sigma of 0.5.
    pub latency_micros: f64,
}

impl Default for Traffic {
    /// A hundred looks at 50 requests of each side, 2 % errors, 10 ms.
    fn default() -> Self {
        Traffic {
            looks: 100,
            canary_per_look: 50,
            baseline_per_look: 50,
            error_rate: 0.02,
            drifting: false,
            latency_micros: 10_000.0,
        }
    }
}

/// How many of the runs ended how, as shares that add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Found harmful, too high, too low or failed.
    pub alarm: f64,
    /// Found safe or passed.
    pub pass: f64,
    /// Not known in the end.
    pub unknown: f64,
    /// Requests of the canary until the alarm, on average over the alarms; none without an alarm.
    pub requests_to_alarm: Option<f64>,
}

/// Share of runs in which a canary that equals its baseline raises an alarm at any look.
pub fn aa_false_alarm_rate(judge: &Judge, traffic: &Traffic, runs: u32, seed: u64) -> f64 {
    rates(judge, traffic, 1.0, runs, seed).alarm
}

/// Share of runs in which a canary with `factor` times the errors and the latency raises an alarm at any look.
pub fn detection_rate(judge: &Judge, traffic: &Traffic, factor: f64, runs: u32, seed: u64) -> f64 {
    rates(judge, traffic, factor, runs, seed).alarm
}

/// How the runs end when the canary has `factor` times the baseline's errors and latency.
pub fn rates(judge: &Judge, traffic: &Traffic, factor: f64, runs: u32, seed: u64) -> Rates {
    let mut random = Random::new(seed);
    let (mut alarms, mut passes, mut requests) = (0_u32, 0_u32, 0.0);
    for _ in 0..runs {
        match run(judge, traffic, factor, &mut random) {
            End::Alarm { looks } => {
                alarms += 1;
                requests += f64::from(looks) * traffic.canary_per_look as f64;
            }
            End::Pass => passes += 1,
            End::Unknown => {}
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(runs.max(1));
    Rates {
        alarm: share(alarms),
        pass: share(passes),
        unknown: share(runs.saturating_sub(alarms).saturating_sub(passes)),
        requests_to_alarm: (alarms > 0).then(|| requests / f64::from(alarms)),
    }
}

enum End {
    Alarm { looks: u32 },
    Pass,
    Unknown,
}

fn run(judge: &Judge, traffic: &Traffic, factor: f64, random: &mut Random) -> End {
    match judge {
        Judge::ErrorsAgainstBaseline { alpha } => {
            sequential(Sequential::against_baseline(*alpha), traffic, factor, random)
        }
        Judge::ErrorsAgainstLimit { alpha } => {
            sequential(Sequential::against_limit(*alpha, traffic.error_rate), traffic, factor, random)
        }
        Judge::Limit(rules) => limit(LimitRun::new(rules.clone()), traffic, factor, random),
        Judge::ErrorsByMetric(rules) => metric(MetricRun::new(rules.clone()), traffic, factor, random),
        Judge::Latencies(rules) => latencies(rules, traffic, factor, random),
    }
}

fn sequential(mut test: Sequential, traffic: &Traffic, factor: f64, random: &mut Random) -> End {
    for look in 0..traffic.looks {
        let rate = traffic.rate(look);
        let (n, m) = (traffic.canary_per_look, traffic.baseline_per_look);
        let (x, y) = (random.errors(n, rate * factor), random.errors(m, rate));
        if test.observe(n - x, x, m - y, y) == Decision::Harmful {
            return End::Alarm { looks: look + 1 };
        }
    }
    if test.decision() == Decision::Safe { End::Pass } else { End::Unknown }
}

fn limit(mut run: LimitRun, traffic: &Traffic, factor: f64, random: &mut Random) -> End {
    let measure = run.rules().measure;
    let mut good = false;
    for look in 0..traffic.looks {
        let requests = traffic.canary_per_look;
        let found = match measure {
            Measure::Share => {
                run.observe_share(requests, random.errors(requests, traffic.rate(look) * factor))
            }
            Measure::Quantile(_) => {
                let mut latencies = Histogram::default();
                (0..requests)
                    .for_each(|_| latencies.record_micros(random.latency(traffic.latency_micros * factor)));
                run.observe_latencies(&latencies)
            }
        };
        match found {
            Look::Bad => return End::Alarm { looks: look + 1 },
            Look::Good => good = true,
            Look::Undecided => {}
        }
    }
    if good { End::Pass } else { End::Unknown }
}

fn metric(mut run: MetricRun, traffic: &Traffic, factor: f64, random: &mut Random) -> End {
    for look in 0..traffic.looks {
        let requests = traffic.canary_per_look;
        let errors = random.errors(requests, traffic.rate(look) * factor);
        let value = errors as f64 / requests as f64;
        match run.observe(Sample::Value { value, samples: Some(requests) }) {
            Progress::Ended(Outcome::Failed, _) => return End::Alarm { looks: look + 1 },
            Progress::Ended(..) => break,
            Progress::Running => {}
        }
    }
    match run.outcome_if_stopped().0 {
        Outcome::Succeeded => End::Pass,
        Outcome::Inconclusive | Outcome::Errored | Outcome::Failed => End::Unknown,
    }
}

fn latencies(rules: &Rules, traffic: &Traffic, factor: f64, random: &mut Random) -> End {
    let (mut canary, mut baseline) = (Histogram::default(), Histogram::default());
    let mut verdict = Verdict::Inconclusive;
    for look in 0..traffic.looks {
        for _ in 0..traffic.canary_per_look {
            canary.record_micros(random.latency(traffic.latency_micros * factor));
        }
        for _ in 0..traffic.baseline_per_look {
            baseline.record_micros(random.latency(traffic.latency_micros));
        }
        verdict = compare_histograms(&canary, &baseline, rules).verdict;
        if matches!(verdict, Verdict::High | Verdict::Low) {
            return End::Alarm { looks: look + 1 };
        }
    }
    if verdict == Verdict::Pass { End::Pass } else { End::Unknown }
}

impl Traffic {
    fn rate(&self, look: u32) -> f64 {
        if !self.drifting {
            return self.error_rate;
        }
        let turn = f64::from(look) / f64::from(self.looks.max(1)) * std::f64::consts::TAU;
        self.error_rate * 10_f64.powf(turn.sin())
    }
}

#[cfg(test)]
mod tests;
