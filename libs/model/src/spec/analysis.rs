//! What is measured and when it counts as good. Semantics follow Argo Rollouts, with two differences: a run without
//! any measurement is inconclusive, and there is always a policy for missing data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// A set of metrics that are judged together: the worst decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Analysis {
    /// What is measured, at least one.
    pub metrics: Vec<Metric>,
    /// How long the analysis measures before it may pass. Default 30 s. It fails earlier.
    #[serde(default = "default_duration")]
    pub duration: Span,
}

fn default_duration() -> Span {
    Span::seconds(30)
}

/// One metric and its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// Its name; the gate's name in every explanation.
    pub name: String,
    /// Where the value comes from.
    pub provider: Provider,
    /// When a value is good, such as `< 0.05`. Without a failure condition everything else is bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<String>,
    /// When a value is bad. Between the two a value is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Compares with the old revision instead of, or beside, fixed limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Comparison>,
    /// How sure a verdict on `errorRate` or `latency` by `success` and `failure` must be, 0.5 to 0.9999: surely beyond
    /// the limit fails, surely within it passes, everything else is not known yet. Default 0.95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Pause between measurements. Default 5 s.
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// Wait before the first measurement. Default 0 s.
    #[serde(default = "zero")]
    pub initial_delay: Span,
    /// Bad measurements that are tolerated. The metric fails when there are MORE. Default 0. For `errorRate` and
    /// `latency` a measurement is as many requests as a verdict takes.
    #[serde(default)]
    pub failure_limit: u32,
    /// Inconclusive measurements that are tolerated. Default 0. For `errorRate` and `latency` what is not known yet is
    /// measured further and not counted.
    #[serde(default)]
    pub inconclusive_limit: u32,
    /// Measurements in a row that may error. Default 4.
    #[serde(default = "default_errors")]
    pub consecutive_error_limit: u32,
    /// Requests a measurement needs to count; with fewer it is inconclusive. Default 20.
    #[serde(default = "default_samples")]
    pub minimum_samples: u64,
    /// What a measurement without any data means; a value that is not a finite number is no data. Default
    /// `inconclusive`.
    #[serde(default)]
    pub no_data: NoData,
    /// Measure and record only; never decides.
    #[serde(default)]
    pub dry_run: bool,
}

impl Metric {
    /// Every limit in one line, as a gate shows it: `< 0.05`, `< 250, fails at > 500 and baseline +25 %`. Empty without any.
    pub fn limit(&self) -> String {
        let mut limits = Vec::new();
        match (&self.success, &self.failure) {
            (Some(success), None) => limits.push(success.clone()),
            (None, Some(failure)) => limits.push(format!("fails at {failure}")),
            (Some(success), Some(failure)) => limits.push(format!("{success}, fails at {failure}")),
            (None, None) => {}
        }
        limits.extend(self.baseline.as_ref().map(|comparison| {
            let sign = match comparison.bad {
                Direction::Increase => "+",
                Direction::Decrease => "-",
                Direction::Either => "±",
            };
            format!("baseline {sign}{} %", crate::number(comparison.tolerance * 100.0))
        }));
        limits.join(" and ")
    }
}

fn default_interval() -> Span {
    Span::seconds(5)
}
fn zero() -> Span {
    Span::seconds(0)
}
fn default_errors() -> u32 {
    4
}
fn default_samples() -> u64 {
    20
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Provider {
    /// Share of requests that failed at the revision on trial, 0 to 1, counted by the data plane.
    ErrorRate {},
    /// A quantile of the latency in milliseconds, counted by the data plane: `latency: 0.99`.
    Latency(f64),
    /// Requests per second at the revision on trial.
    RequestRate {},
    /// GET of this URL; the number at the JSON pointer is the value.
    #[serde(rename_all = "camelCase")]
    Http {
        /// The URL.
        url: String,
        /// JSON pointer to the number, such as `/data/value`.
        pointer: String,
    },
    /// The first value of an instant query at a Prometheus server.
    #[serde(rename_all = "camelCase")]
    Prometheus {
        /// The server's address.
        address: String,
        /// The query.
        query: String,
    },
}

/// What missing data means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NoData {
    /// Nobody knows.
    #[default]
    Inconclusive,
    /// Bad.
    Fail,
    /// Good.
    Pass,
}

/// Comparison with the old revision over the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Comparison {
    /// Which way is bad. Default `increase`.
    #[serde(default)]
    pub bad: Direction,
    /// Change that is tolerated, as a share of the baseline. Default 0.25.
    #[serde(default = "default_tolerance")]
    pub tolerance: f64,
    /// How sure the judge must be, 0.5 to 0.9999. Default 0.98 (Kayenta's).
    #[serde(default = "default_confidence")]
    pub confidence: f64,
}

fn default_tolerance() -> f64 {
    0.25
}
fn default_confidence() -> f64 {
    0.98
}

/// Which way is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is bad.
    #[default]
    Increase,
    /// Less is bad.
    Decrease,
    /// Both are.
    Either,
}
