//! 7: baselines and regressions. What the requests of a revision took, how many failed and how many came is kept when
//! the release is about to be promoted, by revision, and held against the revision before.

use std::{collections::BTreeMap, time::Duration};

use model::{
    DeploymentSpec, Finding, GateResult, Outcome, Severity, TargetId, Timestamp, Token,
    deployment::StepJob,
    plan::Revision,
    route::RevisionCount,
    step::{Agent, StepResult},
};
use serde::{Deserialize, Serialize};
use stats::{Decision, Histogram, Rules, Sequential, Verdict, compare_histograms};

use super::{finding, judged};
use crate::{
    Error,
    context::Ctx,
    counts::{Heard, Window},
    error::Result,
};

/// Revisions of a module whose measurements are kept, the latest ones.
const KEPT: usize = 8;
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

/// The measurements of a module, one of each revision, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// At most eight.
    pub revisions: Vec<Measured>,
}

impl Kept {
    /// The measurement of a revision.
    pub fn of(&self, revision: &Revision) -> Option<&Measured> {
        self.revisions.iter().find(|kept| kept.revision == *revision)
    }

    /// Takes a measurement in; whether anything changed. Few requests say little: a measurement of the same revision
    /// with more of them stays.
    pub fn keep(&mut self, now: Measured) -> bool {
        let better = |kept: &Measured| kept.requests > now.requests;
        if now.requests == 0 || self.of(&now.revision).is_some_and(better) {
            return false;
        }
        self.revisions.retain(|kept| kept.revision != now.revision);
        self.revisions.push(now);
        let surplus = self.revisions.len().saturating_sub(KEPT);
        self.revisions.drain(..surplus);
        true
    }
}

/// Where the measurements of a module are kept.
pub fn key(target: &TargetId, module: &Token) -> String {
    format!("performance.{}.{module}", target.token())
}

/// Measures every exposed module and holds it against the revision before.
pub async fn validate(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let target = job.spec.target_id();
    let (mut findings, mut gates) = (Vec::new(), Vec::new());
    let exposed = || job.spec.modules.iter().filter(|module| module.expose.is_some());
    let heard = ctx.traffic.of(&target).await?;
    let mut windows: BTreeMap<&Token, Window> = BTreeMap::new();
    if exposed().next().is_some() {
        heard.settled().await;
        windows = exposed().map(|module| (&module.name, heard.window(&module.name))).collect();
        over(ctx, job.spec.soak_time().0).await?;
    }
    for module in exposed() {
        let revision = module.revision();
        let totals = heard.totals(&module.name);
        let count = totals.get(&revision).cloned().unwrap_or_default();
        let throughput = windows.get(&module.name).and_then(|window| throughput(&heard, window, &revision));
        let now = Measured { throughput, ..measured(&revision, &module.version, count, ctx.now()) };
        let key = key(&target, &module.name);
        let stored = ctx.store.measurement(&key).await?;
        let mut kept: Kept = stored.and_then(|kept| serde_json::from_value(kept).ok()).unwrap_or_default();
        let before = before(job.baseline.as_deref(), &module.name, &totals, &kept, ctx.now());
        if let Some(before) = before.filter(|before| before.revision != revision) {
            for (gate, found) in held_against(&module.name, &now, &before, ctx.now()) {
                gates.push(gate);
                findings.extend(found);
            }
        }
        if kept.keep(now)
            && let Ok(value) = serde_json::to_value(&kept)
        {
            ctx.store.remember(&key, &value).await?;
        }
    }
    let mut result = judged(Agent::Performance, findings);
    if result.outcome == Outcome::Succeeded
        && let Some(gate) = gates.first()
    {
        result.reason.clone_from(&gate.text);
    }
    result.gates = gates;
    Ok(result)
}

/// Waits while the guardian soaks.
async fn over(ctx: &Ctx, window: Duration) -> Result<()> {
    tokio::select! {
        () = tokio::time::sleep(window) => Ok(()),
        () = ctx.stop.cancel.cancelled() => Err(Error::trouble("the measuring was stopped")),
    }
}

fn throughput(heard: &Heard, window: &Window, revision: &Revision) -> Option<f64> {
    let seconds = window.age().as_secs_f64();
    let requests = heard.since(window).get(revision).map_or(0, |count| count.requests);
    (seconds > 0.0 && requests > 0).then(|| requests as f64 / seconds)
}

fn measured(revision: &Revision, version: &str, count: RevisionCount, at: Timestamp) -> Measured {
    Measured {
        revision: revision.clone(),
        version: version.to_owned(),
        at,
        requests: count.requests,
        errors: count.errors,
        latency: Histogram::from(count.latency),
        throughput: None,
    }
}

/// The revision before, as the data planes still count it beside the new one, else as it was kept; without a baseline
/// that was ever measured, the latest that was.
fn before(
    baseline: Option<&DeploymentSpec>,
    module: &Token,
    totals: &BTreeMap<Revision, RevisionCount>,
    kept: &Kept,
    at: Timestamp,
) -> Option<Measured> {
    let old = baseline.and_then(|spec| spec.module(module));
    let stored = match old {
        Some(old) => kept.of(&old.revision()),
        None => kept.revisions.last(),
    };
    let live = old.and_then(|old| {
        let live = measured(&old.revision(), &old.version, totals.get(&old.revision())?.clone(), at);
        Some(Measured { throughput: stored.and_then(|stored| stored.throughput), ..live })
    });
    live.filter(|live| live.requests >= Rules::default().minimum_sample).or_else(|| stored.cloned())
}

/// Compares two revisions: latency, errors, throughput. Pure.
pub fn held_against(
    module: &Token,
    now: &Measured,
    before: &Measured,
    at: Timestamp,
) -> Vec<(GateResult, Option<Finding>)> {
    let mut judged = vec![latency(module, now, before, at), errors(module, now, before, at)];
    judged.extend(requests(module, now, before, at));
    judged
}

fn latency(
    module: &Token,
    now: &Measured,
    before: &Measured,
    at: Timestamp,
) -> (GateResult, Option<Finding>) {
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
    let milliseconds = |micros: f64| model::view::number((micros / 10.0).round() / 100.0);
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
        finding("performance/regression", severity, Some(module), message)
    });
    let gate = GateResult {
        gate: "latency-regression".to_owned(),
        outcome,
        measured: compared.shift.as_ref().map(|shift| shift.estimate / 1000.0),
        limit: format!("fails beyond {} ms more", milliseconds(limit)),
        samples: now.latency.count(),
        text,
        at,
    };
    (gate, found)
}

fn errors(module: &Token, now: &Measured, before: &Measured, at: Timestamp) -> (GateResult, Option<Finding>) {
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
        finding("performance/errors", severity, Some(module), message)
    });
    let gate = GateResult {
        gate: "error-regression".to_owned(),
        outcome,
        measured: (now.requests > 0).then(|| rate(now)),
        limit: format!(
            "fails when surely more than {FAR_ERRORS} times {} and at least {FELT_ERRORS}",
            model::view::number(rate(before))
        ),
        samples: now.requests,
        text,
        at,
    };
    (gate, found)
}

/// Told only; none when one of the two was not measured.
fn requests(
    module: &Token,
    now: &Measured,
    before: &Measured,
    at: Timestamp,
) -> Option<(GateResult, Option<Finding>)> {
    let (is, was) = (now.throughput?, before.throughput?);
    let number = |value: f64| model::view::number((value * 10.0).round() / 10.0);
    let text = format!(
        "throughput of {module} against {}: {} requests per second, before {}",
        before.version,
        number(is),
        number(was)
    );
    let found = (is < was * FEW).then(|| {
        let message = format!("{text}: fewer came, or fewer could be answered");
        finding("performance/throughput", Severity::Info, Some(module), message)
    });
    let gate = GateResult {
        gate: "throughput".to_owned(),
        outcome: Outcome::Succeeded,
        measured: Some(is),
        limit: "told, not judged".to_owned(),
        samples: now.requests,
        text,
        at,
    };
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
        let judged = held_against(&"web".parse().unwrap(), now, before, Timestamp(0));
        let (gate, found) = judged.into_iter().find(|(judged, _)| judged.gate == gate).unwrap();
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

    #[test]
    fn every_revision_has_a_measurement_of_its_own_and_the_latest_ones_are_kept() {
        let mut kept = Kept::default();
        for number in 0..20 {
            assert!(kept.keep(of(&format!("r{number}"), 1000, 100)));
        }
        assert!(!kept.keep(of("r19", 9000, 50)), "fewer requests say less");
        assert!(!kept.keep(of("r20", 9000, 0)));
        assert!(kept.keep(of("r15", 2000, 100)));

        let names: Vec<&str> = kept.revisions.iter().map(|kept| kept.revision.as_str()).collect();
        assert_eq!(names, ["r12", "r13", "r14", "r16", "r17", "r18", "r19", "r15"]);
    }
}
