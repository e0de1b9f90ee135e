//! A revision held against the one before: latency, errors, throughput.

use model::{Finding, GateResult, Outcome, Severity, Timestamp, Token, plan::Revision};
use serde::{Deserialize, Serialize};
use stats::{Decision, Histogram, Rules, Sequential, Verdict, compare_histograms};

use crate::verdict::{Unjudged, verdict};

/// The gates of a comparison, in their order; the last only where both throughputs were measured.
pub const GATES: [&str; 3] = ["latency-regression", "error-regression", "throughput"];

/// A median that surely grew by more than itself fails the release; less than that is told.
const FAR: f64 = 1.0;
/// And only when it grew by more than so many microseconds: two revisions are measured at different times, and on a busy
/// machine a median below some milliseconds multiplies by itself.
const FELT: f64 = 25_000.0;
/// And by more than the requests of the old revision differ among themselves: this quantile less their median.
const USUAL: f64 = 0.95;
/// The chance of ever finding more errors where there are not.
const ALPHA: f64 = 0.01;
/// An error rate that surely grew by more than this factor fails the release, when it is felt too.
const FAR_ERRORS: f64 = 2.0;
/// The least error rate that fails the release by comparison: one in a hundred.
const FELT_ERRORS: f64 = 0.01;
/// Throughput below this share of the old is told. It never fails: how many requests come is up to who sends them.
const FEW: f64 = 0.5;

/// What one revision of a module took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Which revision.
    pub revision: Revision,
    /// Its version.
    pub version: String,
    /// When it was measured.
    pub at: Timestamp,
    /// Requests answered.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Latencies.
    pub latency: Histogram,
    /// Requests per second over the soak, when all of the traffic was its own; none when that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<f64>,
}

/// What two revisions of a module took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Regression {
    /// The module.
    pub module: Token,
    /// The revision that is judged.
    pub now: Measured,
    /// The one before.
    pub before: Measured,
}

/// A verdict, and what there is to say to a person.
type Judged = (GateResult, Option<Finding>);

impl Regression {
    /// By one of the [`GATES`]. An error: it is none of them, or nothing was measured for it.
    pub fn judge(&self, gate: &str, at: Timestamp) -> Result<Judged, Unjudged> {
        let (module, now, before) = (&self.module, &self.now, &self.before);
        match gate {
            "latency-regression" => Ok(latency(module, now, before, at)),
            "error-regression" => Ok(errors(module, now, before, at)),
            "throughput" => throughput(module, now, before, at)
                .ok_or_else(|| Unjudged::Wrong("one of the two throughputs is not there".to_owned())),
            _ => Err(Unjudged::Wrong(format!("{gate} is no gate of a comparison"))),
        }
    }

    /// The gates for which there is a measurement.
    pub fn gates(&self) -> impl Iterator<Item = &'static str> {
        let both = self.now.throughput.is_some() && self.before.throughput.is_some();
        GATES.into_iter().filter(move |gate| both || *gate != "throughput")
    }
}

fn finding(rule: &str, severity: Severity, module: &Token, message: String) -> Finding {
    Finding {
        rule: rule.to_owned(),
        severity,
        module: Some(module.clone()),
        field: String::new(),
        message,
        cure: String::new(),
        waived: None,
    }
}

fn latency(module: &Token, now: &Measured, before: &Measured, at: Timestamp) -> Judged {
    let compared = compare_histograms(&now.latency, &before.latency, &Rules::default());
    let median = compared.baseline_median.unwrap_or(0.0);
    let usual = before.latency.quantile(USUAL).map_or(0.0, |high| high - median);
    let limit = (median * FAR).max(usual).max(FELT);
    let far = compared.shift.as_ref().is_some_and(|shift| median > 0.0 && shift.low > limit);
    let (outcome, severity) = match compared.verdict {
        Verdict::High if far => (Outcome::Failed, Some(Severity::High)),
        Verdict::High => (Outcome::Succeeded, Some(Severity::Medium)),
        Verdict::Pass | Verdict::Low => (Outcome::Succeeded, None),
        Verdict::Inconclusive => (Outcome::Inconclusive, None),
    };
    let milliseconds = |micros: f64| model::number((micros / 10.0).round() / 100.0);
    let text = format!("latency of {module} against {}: {}", before.version, compared.text);
    let found = severity.map(|severity| {
        let shift = compared.shift.as_ref().map_or(0.0, |shift| shift.estimate);
        let message = format!(
            "requests to {module} {} take {} ms longer than with {} (median {} ms): {}",
            now.version,
            milliseconds(shift),
            before.version,
            milliseconds(median),
            compared.text
        );
        finding("performance/regression", severity, module, message)
    });
    let gate = verdict(
        "latency-regression",
        (outcome, compared.shift.as_ref().map(|shift| shift.estimate / 1000.0)),
        format!("fails beyond {} ms more", milliseconds(limit)),
        now.latency.count(),
        text,
        at,
    );
    (gate, found)
}

fn errors(module: &Token, now: &Measured, before: &Measured, at: Timestamp) -> Judged {
    let surely = |tolerated: f64| {
        let good = |of: &Measured| of.requests.saturating_sub(of.errors);
        let mut test = Sequential::against_baseline_times(ALPHA, tolerated);
        test.observe(good(now), now.errors, good(before), before.errors) == Decision::Harmful
    };
    let rate = |of: &Measured| of.errors as f64 / of.requests.max(1) as f64;
    let least = Rules::default().minimum_sample;
    let (outcome, severity) = if now.requests.min(before.requests) < least {
        (Outcome::Inconclusive, None)
    } else if surely(FAR_ERRORS) && rate(now) >= FELT_ERRORS {
        (Outcome::Failed, Some(Severity::High))
    } else if surely(1.0) {
        (Outcome::Succeeded, Some(Severity::Medium))
    } else {
        (Outcome::Succeeded, None)
    };
    let text = format!(
        "errors of {module} against {}: {} of {} requests failed, before {} of {}",
        before.version, now.errors, now.requests, before.errors, before.requests
    );
    let found = severity.map(|severity| {
        let message = format!("more requests to {module} {} fail: {text}", now.version);
        finding("performance/errors", severity, module, message)
    });
    let gate = verdict(
        "error-regression",
        (outcome, (now.requests > 0).then(|| rate(now))),
        format!(
            "fails when surely more than {FAR_ERRORS} times {} and at least {FELT_ERRORS}",
            model::number(rate(before))
        ),
        now.requests,
        text,
        at,
    );
    (gate, found)
}

/// Told only; none when one of the two was not measured.
fn throughput(module: &Token, now: &Measured, before: &Measured, at: Timestamp) -> Option<Judged> {
    let (is, was) = (now.throughput?, before.throughput?);
    let number = |value: f64| model::number((value * 10.0).round() / 10.0);
    let text = format!(
        "throughput of {module} against {}: {} requests per second, before {}",
        before.version,
        number(is),
        number(was)
    );
    let found = (is < was * FEW).then(|| {
        let message = format!("{text}: fewer came, or fewer could be answered");
        finding("performance/throughput", Severity::Info, module, message)
    });
    let gate = verdict(
        "throughput",
        (Outcome::Succeeded, Some(is)),
        "told, not judged".to_owned(),
        now.requests,
        text,
        at,
    );
    Some((gate, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(revision: &str, median_micros: u64, number: u64) -> Measured {
        let mut latency = Histogram::default();
        (0..number).for_each(|at| latency.record_micros(median_micros + at % 20 * median_micros / 100));
        let revision = revision.parse().unwrap();
        Measured {
            revision,
            version: "1.0.0".to_owned(),
            at: Timestamp(0),
            requests: number,
            errors: 0,
            latency,
            throughput: None,
        }
    }

    fn by(gate: &str, now: &Measured, before: &Measured) -> (Outcome, Option<Severity>) {
        let (now, before) = (now.clone(), before.clone());
        let compared = Regression { module: "web".parse().unwrap(), now, before };
        let (gate, found) = compared.judge(gate, Timestamp(0)).unwrap();
        (gate.outcome, found.map(|found| found.severity))
    }

    fn latency(new: u64, old: u64, number: u64) -> (Outcome, Option<Severity>) {
        by("latency-regression", &of("b", new, number), &of("a", old, number))
    }

    fn errors(new: (u64, u64), old: (u64, u64)) -> (Outcome, Option<Severity>) {
        let with = |revision, (errors, number)| Measured { errors, ..of(revision, 1000, number) };
        by("error-regression", &with("b", new), &with("a", old))
    }

    #[test]
    fn a_slower_revision_is_told_and_only_a_far_slower_one_fails() {
        assert_eq!(latency(1000, 1000, 200), (Outcome::Succeeded, None));
        assert_eq!(latency(1800, 1000, 200), (Outcome::Succeeded, Some(Severity::Medium)));
        assert_eq!(latency(500_000, 100_000, 200), (Outcome::Failed, Some(Severity::High)));
        assert_eq!(latency(90_000, 10_000, 200), (Outcome::Failed, Some(Severity::High)));
        assert_eq!(latency(150_000, 100_000, 200), (Outcome::Succeeded, Some(Severity::Medium)));
        assert_eq!(latency(500, 1000, 200), (Outcome::Succeeded, None));
    }

    #[test]
    fn what_nobody_notices_is_told_and_does_not_fail() {
        assert_eq!(latency(5000, 1000, 200), (Outcome::Succeeded, Some(Severity::Medium)));
    }

    #[test]
    fn what_lies_within_the_usual_spread_of_the_old_does_not_fail() {
        let mut restless = of("a", 20_000, 180);
        (0..20).for_each(|_| restless.latency.record_micros(300_000));

        let judged = by("latency-regression", &of("b", 60_000, 200), &restless);

        assert_eq!(judged, (Outcome::Succeeded, Some(Severity::Medium)));
    }

    #[test]
    fn more_errors_are_told_and_far_more_fail() {
        assert_eq!(errors((2, 500), (1, 500)), (Outcome::Succeeded, None));
        assert_eq!(errors((60, 500), (0, 500)), (Outcome::Failed, Some(Severity::High)));
        assert_eq!(errors((200, 2000), (110, 2000)), (Outcome::Succeeded, Some(Severity::Medium)));
        assert_eq!(errors((0, 500), (60, 500)), (Outcome::Succeeded, None));
    }

    #[test]
    fn a_few_requests_decide_nothing() {
        assert_eq!(latency(5000, 1000, 10), (Outcome::Inconclusive, None));
        assert_eq!(errors((10, 10), (0, 500)), (Outcome::Inconclusive, None));
    }

    #[test]
    fn fewer_requests_per_second_are_told_and_never_fail() {
        let with =
            |revision, throughput| Measured { throughput: Some(throughput), ..of(revision, 1000, 200) };

        assert_eq!(
            by("throughput", &with("b", 40.0), &with("a", 100.0)),
            (Outcome::Succeeded, Some(Severity::Info))
        );
        assert_eq!(by("throughput", &with("b", 90.0), &with("a", 100.0)), (Outcome::Succeeded, None));
    }
}
