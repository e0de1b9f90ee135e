//! What is measured and when it counts as good.

use model::spec::{Analysis, Comparison, Metric, Provider};

use super::{Found, texts};
use crate::document::{Path, shown_text};

/// Most metrics judged together.
const METRICS: usize = 50;

const CONFIDENCES: std::ops::RangeInclusive<f64> = 0.5..=0.9999;
const CONFIDENCE_CURE: &str = "a confidence is 0.5 to 0.9999";

const CONDITION_CURE: &str = "write such as \"< 0.05\", \">= 100\" or \"in 1..5\"";

pub(super) fn check(analysis: &Analysis, path: &Path, found: &mut Found) {
    let metrics = path.field("metrics");
    let count = analysis.metrics.len();
    if count == 0 || count > METRICS {
        found.add(
            metrics.clone(),
            format!("an analysis of {count} metrics"),
            "an analysis has 1 to 50 metrics",
        );
    }
    found.unique(
        analysis
            .metrics
            .iter()
            .enumerate()
            .map(|(at, metric)| (metrics.index(at).field("name"), &metric.name)),
        |name| format!("a second metric named {}", shown_text(name)),
        "every metric of an analysis has a name of its own",
    );
    found.span_or_none(path.field("duration"), analysis.duration);
    for (at, metric) in analysis.metrics.iter().enumerate() {
        check_metric(metric, &metrics.index(at), found);
    }
}

fn check_metric(metric: &Metric, path: &Path, found: &mut Found) {
    if metric.name.trim().is_empty() || metric.name.chars().any(char::is_control) {
        found.add(path.field("name"), format!("{} is not a name", shown_text(&metric.name)), "");
    }
    provider(&metric.provider, &path.field("provider"), found);
    let judged = metric.success.is_some() || metric.failure.is_some() || metric.baseline.is_some();
    if !judged && !metric.dry_run {
        let message = "nothing says when a value is good or bad";
        found.add(path.clone(), message, "give `success`, `failure` or `baseline`, or set `dryRun: true`");
    }
    for (name, condition) in [("success", &metric.success), ("failure", &metric.failure)] {
        if let Some(condition) = condition.as_ref().filter(|condition| !texts::is_condition(condition)) {
            found.add(
                path.field(name),
                format!("{} is not a condition", shown_text(condition)),
                CONDITION_CURE,
            );
        }
    }
    if let Some(confidence) = metric.confidence.filter(|confidence| !CONFIDENCES.contains(confidence)) {
        let message = format!("{confidence} is not a confidence");
        found.add(path.field("confidence"), message, CONFIDENCE_CURE);
    }
    if let Some(baseline) = &metric.baseline {
        comparison(baseline, &path.field("baseline"), found);
    }
    found.span(path.field("interval"), metric.interval);
    found.span_or_none(path.field("initialDelay"), metric.initial_delay);
}

fn provider(provider: &Provider, path: &Path, found: &mut Found) {
    let address = |text: &str, path: Path, found: &mut Found| {
        if text.starts_with("https:") {
            let message = format!("{} asks for https, which the agents do not speak", shown_text(text));
            found.add(
                path,
                message,
                "write an http:// address, such as http://prometheus:9090 or that of a proxy beside the agents",
            );
        } else if !texts::is_url(text) {
            let message = format!("{} is not an address", shown_text(text));
            found.add(path, message, "write such as http://prometheus:9090");
        }
    };
    match provider {
        Provider::ErrorRate {} | Provider::RequestRate {} => {}
        Provider::Latency(quantile) => {
            if !(*quantile > 0.0 && *quantile < 1.0) {
                let message = format!("{quantile} is not a quantile");
                found.add(path.field("latency"), message, "a quantile lies between 0 and 1, such as 0.99");
            }
        }
        Provider::Http { url, pointer } => {
            let path = path.field("http");
            address(url, path.field("url"), found);
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let message = format!("{} is not a JSON pointer", shown_text(pointer));
                found.add(path.field("pointer"), message, "write such as /data/value");
            }
        }
        Provider::Prometheus { address: server, query } => {
            let path = path.field("prometheus");
            address(server, path.field("address"), found);
            if query.trim().is_empty() {
                found.add(path.field("query"), "the query is empty", "write what the server is asked");
            }
        }
    }
}

fn comparison(baseline: &Comparison, path: &Path, found: &mut Found) {
    if !(0.0..=1000.0).contains(&baseline.tolerance) {
        let message = format!("{} is not a tolerance", baseline.tolerance);
        found.add(path.field("tolerance"), message, "a tolerance is a share from 0 on, such as 0.25");
    }
    if !CONFIDENCES.contains(&baseline.confidence) {
        let message = format!("{} is not a confidence", baseline.confidence);
        found.add(path.field("confidence"), message, CONFIDENCE_CURE);
    }
}
