//! The judgement of a metric: a pure fold over its looks.

use model::{
    GateResult, Outcome, Timestamp,
    spec::{Metric, NoData, Provider},
};
use stats::{
    Condition, LimitRules, LimitRun, Look as Shown, Measure, MetricRules, MetricRun, Progress, Required,
    Sample,
};

use super::{Count, Counted, Look, Seen, is_counted, versus::Versus};
use crate::verdict::verdict;

/// A metric while it is judged.
#[derive(Clone, Debug)]
pub struct Run {
    metric: Metric,
    /// By fixed limits; none when only the baseline is a limit.
    run: Option<MetricRun>,
    rules: MetricRules,
    /// What requests show about a share or a quantile; its verdicts are what `run` counts.
    limit: Option<LimitRun>,
    /// Requests that `limit` needs.
    needed: Option<Required>,
    versus: Option<Versus>,
    /// Since the last verdict of `limit`.
    round: Counted,
    /// Since the analysis began.
    whole: Counted,
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

impl Run {
    /// Nothing seen yet. The text of the error is for the author of the metric.
    pub fn new(metric: &Metric, confidence: f64) -> Result<Run, String> {
        let condition = |text: &Option<String>| {
            let read = text.as_deref().map(str::parse::<Condition>).transpose();
            read.map_err(|error| format!("metric {}: {error}", metric.name))
        };
        let (success, failure) = (condition(&metric.success)?, condition(&metric.failure)?);
        if metric.baseline.is_some()
            && !matches!(metric.provider, Provider::ErrorRate {} | Provider::Latency(_))
        {
            return Err(format!(
                "metric {}: only errorRate and latency are compared with the baseline",
                metric.name
            ));
        }
        let counted = is_counted(&metric.provider);
        let rules = MetricRules {
            success,
            failure,
            failure_limit: Some(metric.failure_limit),
            inconclusive_limit: metric.inconclusive_limit,
            consecutive_error_limit: metric.consecutive_error_limit,
            consecutive_success_limit: None,
            count: None,
            minimum_samples: if counted { metric.minimum_samples } else { 0 },
            no_data: metric.no_data,
            // Whether a metric decides is for the analysis; it always says what it found.
            dry_run: false,
        };
        let judged = success.is_some() || failure.is_some();
        let limit = limits(metric, success, failure, confidence).map(LimitRun::new);
        Ok(Run {
            run: judged.then(|| MetricRun::new(rules.clone())),
            rules,
            needed: limit.as_ref().and_then(|limit| limit.rules().required()),
            limit,
            versus: metric.baseline.as_ref().map(|rules| Versus::new(rules, metric.minimum_samples)),
            round: Counted::default(),
            whole: Counted::default(),
            ended: None,
            is_known: false,
            last: Last::Nothing,
            gate: None,
            metric: metric.clone(),
        })
    }

    /// It is decided, whatever is seen later.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// It decides, and it is bad for good.
    pub fn decides_now(&self) -> bool {
        !self.metric.dry_run && self.ended.is_some_and(|outcome| outcome != Outcome::Succeeded)
    }

    /// It decides, and what was measured so far does not say yet.
    pub fn knows_nothing(&self) -> bool {
        let measured = self.gate.as_ref().is_some_and(|gate| gate.measured.is_some());
        let known = measured && (self.limit.is_none() || self.is_known);
        !self.metric.dry_run && self.ended.is_none() && !known
    }

    /// The gate as it stands.
    pub fn gate(&self) -> Option<GateResult> {
        self.gate.clone()
    }

    /// Takes a look in; whether it was a measurement. One that was none is part of the next: that one counts its requests
    /// too. `look.last`: nothing comes after it, so what was gathered is judged if it is enough.
    pub fn take(&mut self, look: &Look) -> bool {
        let sample = match &look.seen {
            Seen::Counted(counted) => return self.take_counted(counted, look),
            Seen::Value(value) => Sample::Value { value: *value, samples: None },
            Seen::Nothing(why) => {
                self.last = Last::NoData(why.clone());
                Sample::NoData
            }
            // The analysis is over: an error now would decide by its bad luck.
            Seen::Error(_) if look.last && self.run.as_ref().is_some_and(|run| run.measurements() > 0) => {
                return true;
            }
            Seen::Error(error) => Sample::Error(error.clone()),
        };
        self.observe(sample, &Count::default(), look.at);
        true
    }

    fn take_counted(&mut self, counted: &Counted, look: &Look) -> bool {
        let mut whole = self.whole.clone();
        whole.add(counted);
        let enough = self.metric.minimum_samples.max(1);
        let is_full = counted.new.requests >= enough;
        // What is left over in the end belongs to what a fixed limit is held against, however little it is.
        let is_rest =
            look.last && self.limit.is_some() && counted.new.requests > 0 && whole.new.requests >= enough;
        if !is_full && !is_rest {
            if self.last == Last::Nothing {
                let samples = counted.new.requests;
                let text = format!("{} waits for data: {samples} of {enough} requests", self.metric.name);
                self.gate = Some(GateResult { samples, ..self.shell(text, look.at) });
            }
            return false;
        }
        self.whole = whole;
        self.round.add(counted);
        if is_full && let Some(versus) = &mut self.versus {
            versus.compare(&self.metric.provider, &self.whole, counted);
        }
        let Some(limit) = &mut self.limit else {
            let value = value(&self.metric.provider, counted);
            let samples = Some(counted.new.requests);
            self.observe(Sample::Value { value, samples }, &counted.new, look.at);
            return true;
        };
        let shown = match limit.rules().measure {
            Measure::Share => limit.observe_share(counted.new.requests, counted.new.errors),
            Measure::Quantile(_) => limit.observe_latencies(&counted.new.latency),
        };
        self.conclude(shown, look.at);
        true
    }

    /// What the requests show about a fixed limit, counted as one measurement when it is a verdict.
    fn conclude(&mut self, look: Shown, at: Timestamp) {
        // What fails is what came since the last verdict; all of it would water that down.
        let shown = if look == Shown::Bad { &self.round } else { &self.whole };
        let measured = value(&self.metric.provider, shown);
        let (words, samples) = (self.words(Some(measured), &shown.new), shown.new.requests);
        let verdict = match look {
            Shown::Good => Some(Outcome::Succeeded),
            Shown::Bad => Some(Outcome::Failed),
            Shown::Undecided => None,
        };
        if verdict.is_some() {
            self.round = Counted::default();
        }
        self.is_known |= look == Shown::Good;
        let ended = verdict.and_then(|verdict| {
            let progress = self.run.as_mut()?.observe(Sample::Judged(verdict, stats::Reason::default()));
            match progress {
                Progress::Running => None,
                Progress::Ended(ended, _) => Some(ended),
            }
        });
        let (judged, text) = match look {
            Shown::Bad => (Outcome::Failed, format!("{words}, surely beyond it")),
            Shown::Undecided if !self.is_known => {
                (Outcome::Inconclusive, format!("{words}: {}", self.still_needed()))
            }
            Shown::Good | Shown::Undecided => (Outcome::Succeeded, words),
        };
        self.last = Last::Value;
        self.show((judged, Some(measured).filter(|value| value.is_finite())), samples, text, at);
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

    fn observe(&mut self, sample: Sample, seen: &Count, at: Timestamp) {
        let (measured, samples) = match &sample {
            Sample::Value { value, samples } => (Some(*value), samples.unwrap_or(1)),
            Sample::NoData | Sample::Judged(..) | Sample::Error(_) => (None, 0),
        };
        let by_limits = match &sample {
            Sample::Error(_) => Outcome::Errored,
            Sample::Value { .. } if self.run.is_none() => Outcome::Succeeded,
            Sample::Value { .. } | Sample::NoData | Sample::Judged(..) => self.rules.judge(&sample).0,
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
            Progress::Ended(ended, _) => Some(ended),
        });
        self.show((by_limits, measured.filter(|value| value.is_finite())), samples, text, at);
        self.ended = self.ended.or(ended);
    }

    /// Keeps the gate, with what the comparison says; one bad comparison more than is tolerated ends the metric.
    fn show(
        &mut self,
        (by_limits, measured): (Outcome, Option<f64>),
        samples: u64,
        text: String,
        at: Timestamp,
    ) {
        let compared = self.versus.as_ref().and_then(|versus| versus.last.clone());
        let (outcome, text) = match compared.filter(|_| self.last == Last::Value) {
            None => (by_limits, text),
            Some((by_baseline, compared)) => {
                let outcome = if by_baseline == Outcome::Failed { Outcome::Failed } else { by_limits };
                (outcome, format!("{text}, compared with the old revision: {compared}"))
            }
        };
        self.gate = Some(GateResult { outcome, measured, samples, ..self.shell(text, at) });
        if self.versus.as_ref().is_some_and(|versus| versus.bad > self.metric.failure_limit) {
            self.ended = Some(Outcome::Failed);
        }
    }

    /// `error-rate 0.4, 85 of 212 requests failed, limit < 0.05`.
    fn words(&self, measured: Option<f64>, seen: &Count) -> String {
        let value = measured.map_or("without a value".to_owned(), model::number);
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
        let text = if self.metric.dry_run { format!("dry run: {text}") } else { text };
        verdict(&self.metric.name, (Outcome::Inconclusive, None), self.metric.limit(), 0, text, at)
    }

    /// What the metric is worth in the end; `at` is when it is judged, should nothing have been measured.
    pub fn close(&mut self, at: Timestamp) -> GateResult {
        let by_limits = self.by_limits();
        let by_baseline = match self.versus.as_ref().map(|versus| &versus.last) {
            None => Outcome::Succeeded,
            Some(None) => self.by_policy(),
            // A few bad comparisons were tolerated.
            Some(Some((Outcome::Failed, _))) if by_limits != Outcome::Failed => Outcome::Inconclusive,
            Some(Some((outcome, _))) => *outcome,
        };
        let decided = by_baseline.max(by_limits);
        let mut gate = match self.gate.take() {
            Some(gate) => gate,
            None => self.shell(format!("{} was not measured", self.metric.name), at),
        };
        let name = &self.metric.name;
        match &self.last {
            Last::Nothing => {
                gate.text = format!(
                    "{name}: no data, which counts as {decided} here ({} requests, {} are needed)",
                    gate.samples, self.metric.minimum_samples
                );
            }
            Last::NoData(why) => {
                gate.text = format!("{name}: no data, which counts as {} here ({why})", self.by_policy());
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
                let decided = run.outcome_if_stopped().0;
                // Good rounds do not outweigh what the whole shows, judged as a plain number.
                let whole = measured.filter(|_| self.limit.is_some() && decided == Outcome::Succeeded);
                let value = whole.map(|value| Sample::Value { value, samples: None });
                let is_within = value.is_none_or(|value| self.rules.judge(&value).0 == Outcome::Succeeded);
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
fn limits(
    metric: &Metric,
    success: Option<Condition>,
    failure: Option<Condition>,
    confidence: f64,
) -> Option<LimitRules> {
    let measure = match &metric.provider {
        Provider::ErrorRate {} => Measure::Share,
        Provider::Latency(quantile) => Measure::Quantile(*quantile),
        // How many requests came was counted, not estimated; of values from outside nobody knows the sample.
        Provider::RequestRate {} | Provider::Http { .. } | Provider::Prometheus { .. } => return None,
    };
    let minimum_samples = metric.minimum_samples;
    let rules = LimitRules { measure, success, failure, confidence, minimum_samples };
    (success.is_some() || failure.is_some()).then_some(rules)
}

/// Requests that the fixed limits of a metric need; none where that cannot be said.
pub fn required(metric: &Metric) -> Option<Required> {
    let condition = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let (success, failure) = (condition(&metric.success), condition(&metric.failure));
    limits(metric, success, failure, super::confidence(metric))?.required()
}

fn value(provider: &Provider, counted: &Counted) -> f64 {
    match provider {
        Provider::ErrorRate {} => counted.new.rate(),
        Provider::Latency(quantile) => {
            counted.new.latency.quantile(*quantile).map_or(f64::NAN, |micros| micros / 1000.0)
        }
        Provider::RequestRate {} => counted.new.requests as f64 / (counted.millis as f64 / 1000.0).max(0.001),
        Provider::Http { .. } | Provider::Prometheus { .. } => f64::NAN,
    }
}
