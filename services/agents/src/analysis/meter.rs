//! One metric while it is measured.

use model::{
    GateResult, Outcome, Timestamp,
    route::RevisionCount,
    spec::{Direction, Metric, NoData, Provider},
};
use stats::{
    Decision, Histogram, MetricRules, MetricRun, Progress, Sample, Sequential, Verdict, compare_histograms,
};
use tokio::time::Instant;

use super::{Trial, providers};
use crate::{
    Error,
    counts::{Heard, Window},
    error::Result,
};

pub(super) struct Meter {
    metric: Metric,
    due: Instant,
    /// By fixed limits; none when only the baseline is a limit.
    run: Option<MetricRun>,
    rules: MetricRules,
    versus: Option<Versus>,
    /// Opened when the last measurement ended.
    window: Window,
    ended: Option<Outcome>,
    /// The last measurement could not be made.
    errored: bool,
    gate: Option<GateResult>,
}

/// The comparison with the old revision over the same time.
struct Versus {
    worse: Sequential,
    better: Sequential,
    whole: Window,
    bad: u32,
    last: Option<(Outcome, String)>,
}

/// What the data planes counted in one measurement.
#[derive(Clone, Default)]
struct Counted {
    new: RevisionCount,
    old: RevisionCount,
    seconds: f64,
}

impl Meter {
    pub(super) fn new(metric: &Metric, trial: &Trial<'_>, heard: &Heard, began: Instant) -> Result<Meter> {
        let condition = |text: &Option<String>| {
            let read = text.as_deref().map(str::parse::<stats::Condition>).transpose();
            read.map_err(|error| Error::verdict(format!("metric {}: {error}", metric.name)))
        };
        let (success, failure) = (condition(&metric.success)?, condition(&metric.failure)?);
        let counted = is_counted(&metric.provider);
        if metric.baseline.is_some()
            && !matches!(metric.provider, Provider::ErrorRate {} | Provider::Latency(_))
        {
            let text =
                format!("metric {}: only errorRate and latency are compared with the baseline", metric.name);
            return Err(Error::verdict(text));
        }
        let rules = MetricRules {
            success,
            failure,
            failure_limit: Some(metric.failure_limit),
            inconclusive_limit: metric.inconclusive_limit,
            consecutive_error_limit: metric.consecutive_error_limit,
            consecutive_success_limit: None,
            count: None,
            minimum_samples: if counted { metric.minimum_samples } else { 0 },
            no_data: match metric.no_data {
                NoData::Inconclusive => stats::NoData::Inconclusive,
                NoData::Fail => stats::NoData::Fail,
                NoData::Pass => stats::NoData::Pass,
            },
            // Whether a metric decides is for the analysis; it always says what it found.
            dry_run: false,
        };
        let judged = success.is_some() || failure.is_some();
        let versus = metric.baseline.as_ref().map(|comparison| {
            // Both ways are two tests: each may cry wolf half as often.
            let ways = if comparison.bad == Direction::Either { 2.0 } else { 1.0 };
            let alpha = (1.0 - comparison.confidence) / ways;
            Versus {
                worse: Sequential::against_baseline(alpha),
                better: Sequential::against_baseline(alpha),
                whole: heard.window(trial.module),
                bad: 0,
                last: None,
            }
        });
        Ok(Meter {
            due: began + metric.initial_delay.0 + metric.interval.0,
            run: judged.then(|| MetricRun::new(rules.clone())),
            rules,
            versus,
            window: heard.window(trial.module),
            ended: None,
            errored: false,
            gate: None,
            metric: metric.clone(),
        })
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(super) fn is_dry(&self) -> bool {
        self.metric.dry_run
    }

    pub(super) fn decides_now(&self) -> bool {
        !self.metric.dry_run && self.ended.is_some_and(|outcome| outcome != Outcome::Succeeded)
    }

    /// It decides, and nothing was measured yet.
    pub(super) fn knows_nothing(&self) -> bool {
        let measured = self.gate.as_ref().is_some_and(|gate| gate.measured.is_some());
        !self.metric.dry_run && self.ended.is_none() && !measured
    }

    pub(super) fn gate(&self) -> Option<GateResult> {
        self.gate.clone()
    }

    /// Measures once. `last`: nothing comes after it, so what was gathered is judged if it is enough.
    pub(super) async fn measure(&mut self, trial: &Trial<'_>, heard: &Heard, last: bool) {
        let now = trial.ctx.now();
        self.due = Instant::now() + self.metric.interval.0;
        let sample = if is_counted(&self.metric.provider) {
            let counted = count(trial, heard, &self.window);
            if counted.new.requests < self.metric.minimum_samples.max(1) {
                let text = format!(
                    "{} waits for data: {} of {} requests",
                    self.metric.name, counted.new.requests, self.metric.minimum_samples
                );
                let waiting = GateResult {
                    outcome: Outcome::Inconclusive,
                    measured: None,
                    samples: counted.new.requests,
                    ..self.shell(text, now)
                };
                self.gate.get_or_insert(waiting);
                return;
            }
            self.window = heard.window(trial.module);
            if self.versus.is_some() {
                self.compare(trial, heard, &counted);
            }
            Sample::Value {
                value: value(&self.metric.provider, &counted),
                samples: Some(counted.new.requests),
            }
        } else {
            match providers::ask(&trial.ctx.http, &self.metric.provider).await {
                Ok(Some(value)) => Sample::Value { value, samples: None },
                Ok(None) => Sample::NoData,
                // The analysis is over: an error now would decide by its bad luck.
                Err(_) if last && self.run.as_ref().is_some_and(|run| run.measurements() > 0) => return,
                Err(error) => Sample::Error(chassis::chain(&error)),
            }
        };
        self.take(sample, now);
    }

    fn take(&mut self, sample: Sample, now: Timestamp) {
        let (measured, samples, error) = match &sample {
            Sample::Value { value, samples } => {
                (Some(*value).filter(|value| value.is_finite()), samples.unwrap_or(1), None)
            }
            Sample::NoData | Sample::Judged(..) => (None, 0, None),
            Sample::Error(error) => (None, 0, Some(error.clone())),
        };
        self.errored = error.is_some();
        let by_limits = match &sample {
            Sample::Error(_) => Outcome::Errored,
            Sample::Value { .. } if self.run.is_none() => Outcome::Succeeded,
            Sample::Value { .. } | Sample::NoData | Sample::Judged(..) => {
                outcome(self.rules.judge(&sample).0)
            }
        };
        let ended = self.run.as_mut().and_then(|run| match run.observe(sample) {
            Progress::Running => None,
            Progress::Ended(ended, _) => Some(outcome(ended)),
        });
        let by_baseline = self.versus.as_ref().and_then(|versus| versus.last.clone());
        let bad = self.versus.as_ref().is_some_and(|versus| versus.bad > self.metric.failure_limit);
        let text = match (&error, &by_baseline) {
            (Some(error), _) => format!("{} could not be measured: {error}", self.metric.name),
            (None, Some((_, compared))) => {
                format!("{}, compared with the old revision: {compared}", self.words(measured, samples))
            }
            (None, None) => self.words(measured, samples),
        };
        let outcome = match &by_baseline {
            Some((Outcome::Failed, _)) => Outcome::Failed,
            _ => by_limits,
        };
        self.gate = Some(GateResult { outcome, measured, samples, ..self.shell(text, now) });
        self.ended = if bad { Some(Outcome::Failed) } else { ended };
    }

    /// `error-rate 0.4 of 212 requests, limit < 0.05`.
    fn words(&self, measured: Option<f64>, samples: u64) -> String {
        let value = measured.map_or("without a value".to_owned(), model::view::number);
        let (unit, of) = match self.metric.provider {
            Provider::ErrorRate {} => ("", format!(" of {samples} requests")),
            Provider::Latency(_) => (" ms", format!(" from {samples} requests")),
            Provider::RequestRate {} => (" requests per second", String::new()),
            Provider::Http { .. } | Provider::Prometheus { .. } => ("", String::new()),
        };
        let limit = self.limit();
        let limit = if limit.is_empty() { limit } else { format!(", limit {limit}") };
        format!("{} {value}{unit}{of}{limit}", self.metric.name)
    }

    fn limit(&self) -> String {
        let mut limits = Vec::new();
        match (&self.metric.success, &self.metric.failure) {
            (Some(success), None) => limits.push(success.clone()),
            (None, Some(failure)) => limits.push(format!("fails at {failure}")),
            (Some(success), Some(failure)) => limits.push(format!("{success}, fails at {failure}")),
            (None, None) => {}
        }
        limits.extend(self.metric.baseline.as_ref().map(|comparison| {
            let sign = match comparison.bad {
                Direction::Increase => "+",
                Direction::Decrease => "-",
                Direction::Either => "±",
            };
            format!("baseline {sign}{} %", model::view::number(comparison.tolerance * 100.0))
        }));
        limits.join(" and ")
    }

    fn shell(&self, text: String, at: Timestamp) -> GateResult {
        GateResult {
            gate: self.metric.name.clone(),
            outcome: Outcome::Inconclusive,
            measured: None,
            limit: self.limit(),
            samples: 0,
            text: if self.metric.dry_run { format!("dry run: {text}") } else { text },
            at,
        }
    }

    fn compare(&mut self, trial: &Trial<'_>, heard: &Heard, counted: &Counted) {
        let (Some(versus), Some(rules)) = (&mut self.versus, &self.metric.baseline) else { return };
        let whole = count(trial, heard, &versus.whole);
        let enough = whole.old.requests >= self.metric.minimum_samples.max(1);
        versus.last = Some(match &self.metric.provider {
            Provider::Latency(_) => {
                let direction = match rules.bad {
                    Direction::Increase => stats::Direction::Increase,
                    Direction::Decrease => stats::Direction::Decrease,
                    Direction::Either => stats::Direction::Either,
                };
                let rules = stats::Rules {
                    confidence: rules.confidence,
                    tolerance: rules.tolerance,
                    direction,
                    minimum_sample: self.metric.minimum_samples,
                    ..stats::Rules::default()
                };
                let (new, old) = (Histogram::from(whole.new.latency), Histogram::from(whole.old.latency));
                let compared = compare_histograms(&new, &old, &rules);
                let outcome = match compared.verdict {
                    Verdict::Pass => Outcome::Succeeded,
                    Verdict::High | Verdict::Low => Outcome::Failed,
                    Verdict::Inconclusive => Outcome::Inconclusive,
                };
                (outcome, compared.text)
            }
            _ => {
                let good = |count: &RevisionCount| count.requests.saturating_sub(count.errors);
                let (new, old) = (&counted.new, &counted.old);
                let worse = versus.worse.observe(good(new), new.errors, good(old), old.errors);
                let better = versus.better.observe(good(old), old.errors, good(new), new.errors);
                let (now, before) = (rate(&whole.new), rate(&whole.old));
                // Sure that there is a difference is not enough: it must be more than is tolerated.
                let up = worse == Decision::Harmful && now > before * (1.0 + rules.tolerance);
                let down = better == Decision::Harmful && now < before * (1.0 - rules.tolerance);
                let bad = match rules.bad {
                    Direction::Increase => up,
                    Direction::Decrease => down,
                    Direction::Either => up || down,
                };
                let numbers = format!(
                    "{} of {} requests failed, at the old one {} of {}",
                    whole.new.errors, whole.new.requests, whole.old.errors, whole.old.requests
                );
                (
                    if bad {
                        Outcome::Failed
                    } else if enough {
                        Outcome::Succeeded
                    } else {
                        Outcome::Inconclusive
                    },
                    numbers,
                )
            }
        });
        if versus.last.as_ref().is_some_and(|(outcome, _)| *outcome == Outcome::Failed) {
            versus.bad += 1;
        }
    }

    /// What the metric is worth in the end.
    pub(super) fn close(&mut self, now: Timestamp) -> GateResult {
        let by_policy = match self.metric.no_data {
            NoData::Inconclusive => Outcome::Inconclusive,
            NoData::Fail => Outcome::Failed,
            NoData::Pass => Outcome::Succeeded,
        };
        let measured = self.gate.as_ref().is_some_and(|gate| gate.measured.is_some());
        let by_limits = match (&self.run, self.ended) {
            (_, Some(ended)) => ended,
            (Some(run), None) if run.measurements() > 0 => outcome(run.outcome_if_stopped().0),
            (Some(_), None) if self.errored => Outcome::Errored,
            (Some(_), None) => by_policy,
            (None, None) if measured => Outcome::Succeeded,
            (None, None) => by_policy,
        };
        let by_baseline = match self.versus.as_ref().map(|versus| &versus.last) {
            None => Outcome::Succeeded,
            Some(None) => by_policy,
            // A few bad comparisons were tolerated.
            Some(Some((Outcome::Failed, _))) if by_limits != Outcome::Failed => Outcome::Inconclusive,
            Some(Some((outcome, _))) => *outcome,
        };
        let rank = |outcome: &Outcome| match outcome {
            Outcome::Succeeded => 0,
            Outcome::Inconclusive => 1,
            Outcome::Errored => 2,
            Outcome::Failed => 3,
        };
        let decided = [by_limits, by_baseline].into_iter().max_by_key(rank).unwrap_or(Outcome::Inconclusive);
        let mut gate = match self.gate.take() {
            Some(gate) => gate,
            None => self.shell(format!("{} was not measured", self.metric.name), now),
        };
        if gate.measured.is_none()
            && decided != Outcome::Errored
            && !gate.text.contains("could not be measured")
        {
            gate.text = format!(
                "{}: no data, which counts as {decided} here ({} requests, {} are needed)",
                self.metric.name, gate.samples, self.metric.minimum_samples
            );
        }
        gate.outcome = decided;
        self.gate = Some(gate.clone());
        gate
    }
}

fn is_counted(provider: &Provider) -> bool {
    match provider {
        Provider::ErrorRate {} | Provider::Latency(_) | Provider::RequestRate {} => true,
        Provider::Http { .. } | Provider::Prometheus { .. } => false,
    }
}

fn count(trial: &Trial<'_>, heard: &Heard, window: &Window) -> Counted {
    let mut counts = heard.since(window);
    Counted {
        new: counts.remove(trial.revision).unwrap_or_default(),
        old: trial.baseline.and_then(|old| counts.remove(old)).unwrap_or_default(),
        seconds: window.age().as_secs_f64(),
    }
}

fn rate(count: &RevisionCount) -> f64 {
    count.errors as f64 / count.requests.max(1) as f64
}

fn value(provider: &Provider, counted: &Counted) -> f64 {
    match provider {
        Provider::ErrorRate {} => rate(&counted.new),
        Provider::Latency(quantile) => Histogram::from(counted.new.latency.clone())
            .quantile(*quantile)
            .map_or(f64::NAN, |micros| micros / 1000.0),
        Provider::RequestRate {} => counted.new.requests as f64 / counted.seconds.max(0.001),
        Provider::Http { .. } | Provider::Prometheus { .. } => f64::NAN,
    }
}

fn outcome(outcome: stats::Outcome) -> Outcome {
    match outcome {
        stats::Outcome::Pass => Outcome::Succeeded,
        stats::Outcome::Inconclusive => Outcome::Inconclusive,
        stats::Outcome::Error => Outcome::Errored,
        stats::Outcome::Fail => Outcome::Failed,
    }
}
