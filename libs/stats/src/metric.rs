//! Many measurements into one outcome.
//!
//! The limits are those of Argo Rollouts: a metric fails when there are MORE failures than its limit; with only a
//! failure condition everything else is good, with only a success condition everything else is bad, both leave a range
//! in between that is inconclusive; errors in a row have a limit of their own and use up no measurement.
//!
//! Different from Argo Rollouts, so that nobody passes unmeasured:
//! - a run without a measurement, or without a single good one, is inconclusive when it is stopped;
//! - a value without any condition is inconclusive;
//! - asked for good measurements in a row, a run that ends without them is inconclusive;
//! - missing data have a policy, and too few observations are never enough.

use model::{Outcome, spec::NoData};
use serde::{Deserialize, Serialize};

use crate::{
    Comparison, Condition, Verdict,
    text::{counted, short},
};

/// What one measurement brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// A value, to be held against the conditions.
    Value {
        /// The value. One that is not finite is no data: a ratio of nothing to nothing, or beyond every bucket.
        value: f64,
        /// Observations behind it, 0 being no data; none when the source does not say.
        samples: Option<u64>,
    },
    /// Another judge has judged already, such as a comparison with the baseline.
    Judged(Outcome, Reason),
    /// There was nothing to measure.
    NoData,
    /// It could not be measured, for a technical reason.
    Error(String),
}

/// How a metric is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricRules {
    /// When a value is good.
    pub success: Option<Condition>,
    /// When a value is bad. Where both hold, it is bad.
    pub failure: Option<Condition>,
    /// Bad measurements that are tolerated; one more and the metric fails. None tolerates all. Default 0.
    pub failure_limit: Option<u32>,
    /// Inconclusive measurements that are tolerated; one more and the metric is inconclusive. Default 0.
    pub inconclusive_limit: u32,
    /// Errors in a row that are tolerated; one more and the metric is an error. Default 4 (Argo Rollouts').
    pub consecutive_error_limit: u32,
    /// Good measurements in a row after which the metric passes early. None or 0 is never early. Default none.
    pub consecutive_success_limit: Option<u32>,
    /// Measurements after which the metric ends. None runs until it is stopped. Default none.
    pub count: Option<u32>,
    /// Observations a value needs; with fewer it is inconclusive. Default 0.
    pub minimum_samples: u64,
    /// What no data at all means. Default inconclusive.
    pub no_data: NoData,
    /// Judged, but never decides: whatever happened, it passes and the reason says what it would have been.
    pub dry_run: bool,
}

impl Default for MetricRules {
    fn default() -> Self {
        MetricRules {
            success: None,
            failure: None,
            failure_limit: Some(0),
            inconclusive_limit: 0,
            consecutive_error_limit: 4,
            consecutive_success_limit: None,
            count: None,
            minimum_samples: 0,
            no_data: NoData::default(),
            dry_run: false,
        }
    }
}

/// Why it ended as it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The last value.
    pub measured: Option<f64>,
    /// What it was held against, such as `< 0.05`; empty without a condition.
    pub limit: String,
    /// Observations behind the last value; none when the source does not say.
    pub samples: Option<u64>,
    /// One line for a person.
    pub text: String,
    /// What the outcome would have been, were it not a dry run.
    pub dry_run: Option<Outcome>,
}

/// Where a metric stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Go on measuring.
    Running,
    /// It ended and stays so, whatever is observed later.
    Ended(Outcome, Reason),
}

impl MetricRules {
    /// The judgement of one measurement, with what it rests on.
    pub fn judge(&self, sample: &Sample) -> (Outcome, Reason) {
        match sample {
            Sample::Error(error) => (Outcome::Errored, self.because(None, None, error.clone())),
            Sample::Judged(outcome, reason) => (*outcome, reason.clone()),
            Sample::NoData | Sample::Value { samples: Some(0), .. } => {
                self.judge_nothing("no data".to_owned())
            }
            Sample::Value { value, .. } if !value.is_finite() => {
                self.judge_nothing(format!("no data, the value is {}", short(*value)))
            }
            Sample::Value { value, samples } => self.judge_value(*value, *samples),
        }
    }

    fn judge_nothing(&self, text: String) -> (Outcome, Reason) {
        let outcome = match self.no_data {
            NoData::Inconclusive => Outcome::Inconclusive,
            NoData::Fail => Outcome::Failed,
            NoData::Pass => Outcome::Succeeded,
        };
        (outcome, self.because(None, Some(0), text))
    }

    fn judge_value(&self, value: f64, samples: Option<u64>) -> (Outcome, Reason) {
        let because = |text| self.because(Some(value), samples, text);
        if let Some(few) = samples.filter(|samples| *samples < self.minimum_samples) {
            let text = format!("{few} samples, {} are needed", self.minimum_samples);
            return (Outcome::Inconclusive, because(text));
        }
        let good = self.success.map(|condition| condition.holds(value));
        let bad = self.failure.map(|condition| condition.holds(value));
        let (outcome, limit) = match (good, bad) {
            (_, Some(true)) | (Some(false), None) => (Outcome::Failed, self.limit()),
            (Some(true), _) | (None, Some(false)) => (Outcome::Succeeded, self.limit()),
            (Some(false), Some(false)) => {
                (Outcome::Inconclusive, format!("{}, neither good nor bad", self.limit()))
            }
            (None, None) => (Outcome::Inconclusive, "there is no condition".to_owned()),
        };
        let from = samples.map_or(String::new(), |samples| format!(" from {samples} samples"));
        (outcome, because(format!("measured {}{from}, {limit}", short(value))))
    }

    fn limit(&self) -> String {
        match (&self.success, &self.failure) {
            (Some(success), Some(failure)) => format!("good is {success}, bad is {failure}"),
            (Some(success), None) => format!("good is {success}"),
            (None, Some(failure)) => format!("bad is {failure}"),
            (None, None) => String::new(),
        }
    }

    fn because(&self, measured: Option<f64>, samples: Option<u64>, text: String) -> Reason {
        Reason { measured, limit: self.limit(), samples, text, dry_run: None }
    }
}

/// A metric while it is measured: a pure fold over its samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRun {
    rules: MetricRules,
    good: u32,
    bad: u32,
    unknown: u32,
    errors_in_a_row: u32,
    good_in_a_row: u32,
    /// The last measurement of each kind, for the reasons.
    last_good: Option<Reason>,
    last_bad: Option<Reason>,
    last_unknown: Option<Reason>,
    last_error: Option<Reason>,
    ended: Option<(Outcome, Reason)>,
}

impl MetricRun {
    /// Nothing measured yet.
    pub fn new(rules: MetricRules) -> MetricRun {
        MetricRun {
            rules,
            good: 0,
            bad: 0,
            unknown: 0,
            errors_in_a_row: 0,
            good_in_a_row: 0,
            last_good: None,
            last_bad: None,
            last_unknown: None,
            last_error: None,
            ended: None,
        }
    }

    /// Takes one measurement. What ended stays ended: later measurements are ignored.
    pub fn observe(&mut self, sample: Sample) -> Progress {
        if self.ended.is_none() {
            self.take(&sample);
            self.ended = self.end().map(|outcome| self.decided(outcome));
        }
        match &self.ended {
            Some((outcome, reason)) => Progress::Ended(*outcome, reason.clone()),
            None => Progress::Running,
        }
    }

    fn take(&mut self, sample: &Sample) {
        let (outcome, reason) = self.rules.judge(sample);
        let (count, last) = match outcome {
            Outcome::Succeeded => (&mut self.good, &mut self.last_good),
            Outcome::Failed => (&mut self.bad, &mut self.last_bad),
            Outcome::Inconclusive => (&mut self.unknown, &mut self.last_unknown),
            Outcome::Errored => (&mut self.errors_in_a_row, &mut self.last_error),
        };
        *count = count.saturating_add(1);
        *last = Some(reason);
        self.good_in_a_row =
            if outcome == Outcome::Succeeded { self.good_in_a_row.saturating_add(1) } else { 0 };
        if outcome != Outcome::Errored {
            self.errors_in_a_row = 0;
        }
    }

    /// In Argo Rollouts' order: bad, inconclusive, errors, good in a row, count.
    fn end(&self) -> Option<Outcome> {
        let rules = &self.rules;
        if rules.failure_limit.is_some_and(|limit| self.bad > limit) {
            return Some(Outcome::Failed);
        }
        if self.unknown > rules.inconclusive_limit {
            return Some(Outcome::Inconclusive);
        }
        if self.errors_in_a_row > rules.consecutive_error_limit {
            return Some(Outcome::Errored);
        }
        if self.enough_in_a_row() == Some(true) {
            return Some(Outcome::Succeeded);
        }
        let counted =
            rules.count.is_some_and(|count| self.measurements() >= count) && self.measurements() > 0;
        counted.then(|| self.by_what_is_there())
    }

    /// What the run is worth if it is stopped now; the outcome, if it has ended.
    pub fn outcome_if_stopped(&self) -> (Outcome, Reason) {
        self.ended.clone().unwrap_or_else(|| self.decided(self.by_what_is_there()))
    }

    /// No limit was exceeded: it passes if anything was good and nothing that was asked for is missing.
    fn by_what_is_there(&self) -> Outcome {
        match self.good > 0 && self.enough_in_a_row() != Some(false) {
            true => Outcome::Succeeded,
            false => Outcome::Inconclusive,
        }
    }

    fn enough_in_a_row(&self) -> Option<bool> {
        let wanted = self.rules.consecutive_success_limit.filter(|limit| *limit > 0)?;
        Some(self.good_in_a_row >= wanted)
    }

    /// Measurements that counted; errors do not.
    pub fn measurements(&self) -> u32 {
        self.good.saturating_add(self.bad).saturating_add(self.unknown)
    }

    fn decided(&self, outcome: Outcome) -> (Outcome, Reason) {
        let mut reason = self.reason(outcome);
        if !self.rules.dry_run {
            return (outcome, reason);
        }
        reason.dry_run = Some(outcome);
        reason.text = format!("dry run, would be {}", reason.text);
        (Outcome::Succeeded, reason)
    }

    fn reason(&self, outcome: Outcome) -> Reason {
        let rules = &self.rules;
        let (name, last, why) = match outcome {
            Outcome::Failed => {
                let tolerated = rules.failure_limit.unwrap_or(0);
                let bad = counted(self.bad, "bad measurement");
                ("fail", &self.last_bad, format!("{bad}, {tolerated} tolerated"))
            }
            Outcome::Errored => {
                let errors = counted(self.errors_in_a_row, "error");
                (
                    "error",
                    &self.last_error,
                    format!("{errors} in a row, {} tolerated", rules.consecutive_error_limit),
                )
            }
            Outcome::Succeeded => {
                let all = counted(self.measurements(), "measurement");
                ("pass", &self.last_good, format!("{} of {all} good", self.good))
            }
            Outcome::Inconclusive if self.measurements() == 0 => {
                ("inconclusive", &self.last_error, "nothing was measured".to_owned())
            }
            Outcome::Inconclusive if self.unknown > rules.inconclusive_limit => {
                let unknown = counted(self.unknown, "inconclusive measurement");
                (
                    "inconclusive",
                    &self.last_unknown,
                    format!("{unknown}, {} tolerated", rules.inconclusive_limit),
                )
            }
            Outcome::Inconclusive if self.good > 0 => {
                let wanted = rules.consecutive_success_limit.unwrap_or(0);
                let row = format!("{} good in a row, {wanted} are asked for", self.good_in_a_row);
                ("inconclusive", &self.last_good, row)
            }
            Outcome::Inconclusive => {
                let all = counted(self.measurements(), "measurement");
                let last = if self.last_bad.is_some() { &self.last_bad } else { &self.last_unknown };
                ("inconclusive", last, format!("none of {all} was good"))
            }
        };
        let mut reason = last.clone().unwrap_or_else(|| rules.because(None, None, String::new()));
        reason.text = match reason.text.is_empty() {
            true => format!("{name}: {why}"),
            false => format!("{name}: {why}; the last: {}", reason.text),
        };
        reason
    }
}

impl From<&Comparison> for Sample {
    /// Higher or lower than tolerated is bad; the measured value is the shift as a share of the baseline's median.
    fn from(comparison: &Comparison) -> Sample {
        let outcome = match comparison.verdict {
            Verdict::Pass => Outcome::Succeeded,
            Verdict::High | Verdict::Low => Outcome::Failed,
            Verdict::Inconclusive => Outcome::Inconclusive,
        };
        let reason = Reason {
            measured: comparison.relative_shift(),
            limit: comparison.limit.clone(),
            samples: Some(comparison.samples.0.min(comparison.samples.1)),
            text: comparison.text.clone(),
            dry_run: None,
        };
        Sample::Judged(outcome, reason)
    }
}

#[cfg(test)]
mod tests;
