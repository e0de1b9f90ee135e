//! One metric while it is measured.

use model::{
    GateResult, Outcome, Timestamp,
    route::RevisionCount,
    spec::{Direction, Metric, NoData, Provider},
};
use stats::{
    Condition, Decision, Histogram, LimitRules, LimitRun, Look, Measure, MetricRules, MetricRun, Progress,
    Required, Sample, Sequential, Verdict, compare_histograms,
};
use tokio::time::Instant;

use super::{Trial, providers, rank};
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
    /// What requests show about a share or a quantile; its verdicts are what `run` counts.
    limit: Option<LimitRun>,
    /// Requests that `limit` needs.
    needed: Option<Required>,
    versus: Option<Versus>,
    /// Opened when the last measurement ended.
    window: Window,
    /// Opened at the last verdict of `limit`.
    round: Window,
    /// Opened when the analysis began.
    whole: Window,
    ended: Option<Outcome>,
    /// At least one verdict was good.
    is_known: bool,
    last: Last,
    gate: Option<GateResult>,
}

/// What the last measurement brought.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    /// Too few requests so far, or none was made.
    Nothing,
    /// A value.
    Value,
    /// There was no value, and why.
    NoData(String),
    /// It could not be made.
    Error,
}

/// The comparison with the old revision over the same time.
struct Versus {
    worse: Sequential,
    better: Sequential,
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
            let read = text.as_deref().map(str::parse::<Condition>).transpose();
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
        let limit = limits(metric, success, failure).map(LimitRun::new);
        let versus = metric.baseline.as_ref().map(|comparison| {
            // Both ways are two tests: each may cry wolf half as often.
            let ways = if comparison.bad == Direction::Either { 2.0 } else { 1.0 };
            let alpha = (1.0 - comparison.confidence) / ways;
            Versus {
                worse: Sequential::against_baseline(alpha),
                better: Sequential::against_baseline(alpha),
                bad: 0,
                last: None,
            }
        });
        Ok(Meter {
            due: began + metric.initial_delay.0 + metric.interval.0,
            run: judged.then(|| MetricRun::new(rules.clone())),
            rules,
            needed: limit.as_ref().and_then(|limit| limit.rules().required()),
            limit,
            versus,
            window: heard.window(trial.module),
            round: heard.window(trial.module),
            whole: heard.window(trial.module),
            ended: None,
            is_known: false,
            last: Last::Nothing,
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

    /// It decides, and what was measured so far does not say yet.
    pub(super) fn knows_nothing(&self) -> bool {
        let measured = self.gate.as_ref().is_some_and(|gate| gate.measured.is_some());
        let known = measured && (self.limit.is_none() || self.is_known);
        !self.metric.dry_run && self.ended.is_none() && !known
    }

    pub(super) fn gate(&self) -> Option<GateResult> {
        self.gate.clone()
    }

    /// Measures once. `last`: nothing comes after it, so what was gathered is judged if it is enough.
    pub(super) async fn measure(&mut self, trial: &Trial<'_>, heard: &Heard, last: bool) {
        let now = trial.ctx.now();
        self.due = Instant::now() + self.metric.interval.0;
        if is_counted(&self.metric.provider) {
            return self.measure_counted(trial, heard, last);
        }
        let sample = match Box::pin(providers::ask(trial.ctx, &self.metric.provider)).await {
            Ok(providers::Said::Value(value)) => Sample::Value { value, samples: None },
            Ok(providers::Said::Nothing(why)) => {
                self.last = Last::NoData(why);
                Sample::NoData
            }
            // The analysis is over: an error now would decide by its bad luck.
            Err(_) if last && self.run.as_ref().is_some_and(|run| run.measurements() > 0) => return,
            Err(error) => Sample::Error(chassis::chain(&error)),
        };
        self.take(sample, &RevisionCount::default(), now);
    }

    fn measure_counted(&mut self, trial: &Trial<'_>, heard: &Heard, last: bool) {
        let now = trial.ctx.now();
        let counted = count(trial, heard, &self.window);
        let whole = count(trial, heard, &self.whole);
        let enough = self.metric.minimum_samples.max(1);
        let is_full = counted.new.requests >= enough;
        // What is left over in the end belongs to what a fixed limit is held against, however little it is.
        let is_rest =
            last && self.limit.is_some() && counted.new.requests > 0 && whole.new.requests >= enough;
        if !is_full && !is_rest {
            let text =
                format!("{} waits for data: {} of {enough} requests", self.metric.name, counted.new.requests);
            let samples = counted.new.requests;
            let waiting = GateResult { samples, ..self.shell(text, now) };
            self.gate.get_or_insert(waiting);
            return;
        }
        self.window = heard.window(trial.module);
        if self.versus.is_some() && is_full {
            self.compare(&whole, &counted);
        }
        let Some(limit) = &mut self.limit else {
            let value = value(&self.metric.provider, &counted);
            let samples = Some(counted.new.requests);
            return self.take(Sample::Value { value, samples }, &counted.new, now);
        };
        let look = match limit.rules().measure {
            Measure::Share => limit.observe_share(counted.new.requests, counted.new.errors),
            Measure::Quantile(_) => limit.observe_latencies(&Histogram::from(counted.new.latency)),
        };
        self.conclude(look, trial, heard, &whole);
    }

    /// What the requests show about a fixed limit, counted as one measurement when it is a verdict.
    fn conclude(&mut self, look: Look, trial: &Trial<'_>, heard: &Heard, whole: &Counted) {
        // What fails is what came since the last verdict; all of it would water that down.
        let round = count(trial, heard, &self.round);
        let shown = if look == Look::Bad { &round } else { whole };
        let words = self.words(Some(value(&self.metric.provider, shown)), &shown.new);
        let verdict = match look {
            Look::Good => Some(stats::Outcome::Pass),
            Look::Bad => Some(stats::Outcome::Fail),
            Look::Undecided => None,
        };
        if verdict.is_some() {
            self.round = heard.window(trial.module);
        }
        self.is_known |= look == Look::Good;
        let ended = verdict.and_then(|verdict| {
            let progress = self.run.as_mut()?.observe(Sample::Judged(verdict, stats::Reason::default()));
            match progress {
                Progress::Running => None,
                Progress::Ended(ended, _) => Some(outcome(ended)),
            }
        });
        let text = match look {
            Look::Bad => format!("{words}, surely beyond it"),
            Look::Undecided if !self.is_known => format!("{words}: {}", self.still_needed()),
            Look::Good | Look::Undecided => words,
        };
        let judged = match look {
            Look::Bad => Outcome::Failed,
            Look::Undecided if !self.is_known => Outcome::Inconclusive,
            Look::Good | Look::Undecided => Outcome::Succeeded,
        };
        let samples = shown.new.requests;
        let measured = Some(value(&self.metric.provider, shown)).filter(|value| value.is_finite());
        self.last = Last::Value;
        self.show(judged, measured, samples, text, trial.ctx.now());
        self.ended = self.ended.or(ended);
    }

    /// `not known yet, it needs 94 requests without one beyond the limit, or about 900`.
    fn still_needed(&self) -> String {
        match self.needed {
            None => "not known yet".to_owned(),
            Some(needed) => format!(
                "not known yet, it takes {} requests without one beyond the limit, else about {}",
                needed.at_least, needed.likely
            ),
        }
    }

    fn take(&mut self, sample: Sample, seen: &RevisionCount, now: Timestamp) {
        let (measured, samples) = match &sample {
            Sample::Value { value, samples } => (Some(*value), samples.unwrap_or(1)),
            Sample::NoData | Sample::Judged(..) | Sample::Error(_) => (None, 0),
        };
        let by_limits = match &sample {
            Sample::Error(_) => Outcome::Errored,
            Sample::Value { .. } if self.run.is_none() => Outcome::Succeeded,
            Sample::Value { .. } | Sample::NoData | Sample::Judged(..) => {
                outcome(self.rules.judge(&sample).0)
            }
        };
        let text = match &sample {
            Sample::Error(error) => format!("{} could not be measured: {error}", self.metric.name),
            Sample::NoData => match &self.last {
                Last::NoData(why) => format!("{} has no data: {why}", self.metric.name),
                Last::Nothing | Last::Value | Last::Error => format!("{} has no data", self.metric.name),
            },
            Sample::Value { .. } | Sample::Judged(..) => self.words(measured, seen),
        };
        match &sample {
            Sample::Error(_) => self.last = Last::Error,
            Sample::Value { .. } => self.last = Last::Value,
            Sample::NoData | Sample::Judged(..) => {}
        }
        let ended = self.run.as_mut().and_then(|run| match run.observe(sample) {
            Progress::Running => None,
            Progress::Ended(ended, _) => Some(outcome(ended)),
        });
        self.show(by_limits, measured, samples, text, now);
        self.ended = self.ended.or(ended);
    }

    /// Keeps the gate, with what the comparison says; one bad comparison more than is tolerated ends the metric.
    fn show(
        &mut self,
        by_limits: Outcome,
        measured: Option<f64>,
        samples: u64,
        text: String,
        now: Timestamp,
    ) {
        let compared = self.versus.as_ref().and_then(|versus| versus.last.clone());
        let (outcome, text) = match compared.filter(|_| self.last == Last::Value) {
            None => (by_limits, text),
            Some((by_baseline, compared)) => {
                let outcome = if by_baseline == Outcome::Failed { Outcome::Failed } else { by_limits };
                (outcome, format!("{text}, compared with the old revision: {compared}"))
            }
        };
        self.gate = Some(GateResult { outcome, measured, samples, ..self.shell(text, now) });
        if self.versus.as_ref().is_some_and(|versus| versus.bad > self.metric.failure_limit) {
            self.ended = Some(Outcome::Failed);
        }
    }

    /// `error-rate 0.4, 85 of 212 requests failed, limit < 0.05`.
    fn words(&self, measured: Option<f64>, seen: &RevisionCount) -> String {
        let value = measured.map_or("without a value".to_owned(), model::view::number);
        let requests = match seen.requests {
            1 => "1 request".to_owned(),
            requests => format!("{requests} requests"),
        };
        let said = match self.metric.provider {
            Provider::ErrorRate {} if seen.errors == 0 => format!("0 of {requests}"),
            Provider::ErrorRate {} => format!("{value}, {} of {requests} failed", seen.errors),
            Provider::Latency(_) => format!("{value} ms from {requests}"),
            Provider::RequestRate {} => format!("{value} requests per second"),
            Provider::Http { .. } | Provider::Prometheus { .. } => value,
        };
        let limit = self.metric.limit();
        let limit = if limit.is_empty() { limit } else { format!(", limit {limit}") };
        format!("{} {said}{limit}", self.metric.name)
    }

    fn shell(&self, text: String, at: Timestamp) -> GateResult {
        GateResult {
            gate: self.metric.name.clone(),
            outcome: Outcome::Inconclusive,
            measured: None,
            limit: self.metric.limit(),
            samples: 0,
            text: if self.metric.dry_run { format!("dry run: {text}") } else { text },
            at,
        }
    }

    fn compare(&mut self, whole: &Counted, counted: &Counted) {
        let (Some(versus), Some(rules)) = (&mut self.versus, &self.metric.baseline) else { return };
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
                let (new, old) =
                    (Histogram::from(whole.new.latency.clone()), Histogram::from(whole.old.latency.clone()));
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
        let by_limits = self.by_limits();
        let by_baseline = match self.versus.as_ref().map(|versus| &versus.last) {
            None => Outcome::Succeeded,
            Some(None) => self.by_policy(),
            // A few bad comparisons were tolerated.
            Some(Some((Outcome::Failed, _))) if by_limits != Outcome::Failed => Outcome::Inconclusive,
            Some(Some((outcome, _))) => *outcome,
        };
        let decided = if rank(by_baseline) > rank(by_limits) { by_baseline } else { by_limits };
        let mut gate = match self.gate.take() {
            Some(gate) => gate,
            None => self.shell(format!("{} was not measured", self.metric.name), now),
        };
        match &self.last {
            Last::Nothing => {
                gate.text = format!(
                    "{}: no data, which counts as {decided} here ({} requests, {} are needed)",
                    self.metric.name, gate.samples, self.metric.minimum_samples
                );
            }
            Last::NoData(why) => {
                gate.text = format!(
                    "{}: no data, which counts as {} here ({why})",
                    self.metric.name,
                    self.by_policy()
                );
            }
            Last::Value if by_limits == Outcome::Inconclusive && self.is_known => {
                gate.text = format!("{}, beyond it as a whole, though not surely", gate.text);
            }
            Last::Value | Last::Error => {}
        }
        gate.outcome = decided;
        self.gate = Some(gate.clone());
        gate
    }

    /// By the fixed limits alone.
    fn by_limits(&self) -> Outcome {
        if let Some(ended) = self.ended {
            return ended;
        }
        let measured = self.gate.as_ref().and_then(|gate| gate.measured);
        match &self.run {
            None if measured.is_some() => Outcome::Succeeded,
            None => self.by_policy(),
            Some(run) if run.measurements() > 0 => {
                let decided = outcome(run.outcome_if_stopped().0);
                // Good rounds do not outweigh what the whole shows, judged as a plain number.
                let whole = measured.filter(|_| self.limit.is_some() && decided == Outcome::Succeeded);
                let value = whole.map(|value| Sample::Value { value, samples: None });
                let is_within = value.is_none_or(|value| self.rules.judge(&value).0 == stats::Outcome::Pass);
                if is_within { decided } else { Outcome::Inconclusive }
            }
            Some(_) => match self.last {
                Last::Error => Outcome::Errored,
                // There were requests, and too few for a verdict.
                Last::Value => Outcome::Inconclusive,
                Last::Nothing | Last::NoData(_) => self.by_policy(),
            },
        }
    }

    fn by_policy(&self) -> Outcome {
        match self.metric.no_data {
            NoData::Inconclusive => Outcome::Inconclusive,
            NoData::Fail => Outcome::Failed,
            NoData::Pass => Outcome::Succeeded,
        }
    }
}

/// How fixed limits on what the data planes count are judged; none for everything else.
fn limits(metric: &Metric, success: Option<Condition>, failure: Option<Condition>) -> Option<LimitRules> {
    let measure = match &metric.provider {
        Provider::ErrorRate {} => Measure::Share,
        Provider::Latency(quantile) => Measure::Quantile(*quantile),
        // How many requests came was counted, not estimated; of values from outside nobody knows the sample.
        Provider::RequestRate {} | Provider::Http { .. } | Provider::Prometheus { .. } => return None,
    };
    let confidence = metric.confidence.unwrap_or(stats::limit::CONFIDENCE);
    let minimum_samples = metric.minimum_samples;
    let rules = LimitRules { measure, success, failure, confidence, minimum_samples };
    (success.is_some() || failure.is_some()).then_some(rules)
}

/// Requests that the fixed limits of a metric need; none where that cannot be said. Pure.
pub fn required(metric: &Metric) -> Option<Required> {
    let condition = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    limits(metric, condition(&metric.success), condition(&metric.failure))?.required()
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
