//! 7: baselines and regressions. What a revision's requests took is stored when the release is about to be promoted,
//! and compared with what the revision before took.

use model::{
    DeploymentSpec, Finding, GateResult, Outcome, Severity, TargetId, Timestamp, Token,
    deployment::StepJob,
    plan::Revision,
    route::RevisionCount,
    step::{Agent, StepResult},
};
use serde::{Deserialize, Serialize};
use stats::{Histogram, Rules, Verdict, compare_histograms};

use super::{finding, judged};
use crate::{context::Ctx, error::Result};

/// A regression beyond this multiple of the old median is no longer only told: the release fails.
const FAR: f64 = 2.0;
/// And only beyond this, in microseconds: two revisions are measured at different times, and on a busy machine a
/// median below a millisecond multiplies by itself. 0.1 s is what people begin to notice (Nielsen, 1993).
const FELT: f64 = 100_000.0;

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
}

/// Where the last promoted revision's measurement is kept.
pub fn key(target: &TargetId, module: &Token) -> String {
    format!("latency.{}.{module}", target.token())
}

/// Measures every exposed module and holds it against the revision before.
pub async fn validate(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let target = job.spec.target_id();
    let (mut findings, mut gates) = (Vec::new(), Vec::new());
    let exposed = job.spec.modules.iter().filter(|module| module.expose.is_some());
    let heard = ctx.traffic.of(&target).await?;
    if job.spec.modules.iter().any(|module| module.expose.is_some()) {
        heard.settled().await;
    }
    for module in exposed {
        let revision = module.revision();
        let totals = heard.totals(&module.name);
        let count = totals.get(&revision).cloned().unwrap_or_default();
        let now = measured(&revision, &module.version, count, ctx.now());
        let key = key(&target, &module.name);
        let before = before(job.baseline.as_deref(), &module.name, &totals, ctx, &key).await?;
        if let Some(before) = before.filter(|before| before.revision != revision) {
            let (gate, found) = held_against(&module.name, &now, &before, ctx.now());
            gates.push(gate);
            findings.extend(found);
        }
        // Few requests say little: a better measurement of the same revision is not written over.
        let stored = ctx
            .store
            .measurement(&key)
            .await?
            .and_then(|value| serde_json::from_value::<Measured>(value).ok());
        let better =
            stored.is_some_and(|stored| stored.revision == revision && stored.requests > now.requests);
        if now.requests > 0
            && !better
            && let Ok(value) = serde_json::to_value(&now)
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

fn measured(revision: &Revision, version: &str, count: RevisionCount, at: Timestamp) -> Measured {
    Measured {
        revision: revision.clone(),
        version: version.to_owned(),
        at,
        requests: count.requests,
        errors: count.errors,
        latency: Histogram::from(count.latency),
    }
}

/// The revision before, as the data planes still count it beside the new one, else as it was stored.
async fn before(
    baseline: Option<&DeploymentSpec>,
    module: &Token,
    totals: &std::collections::BTreeMap<Revision, RevisionCount>,
    ctx: &Ctx,
    key: &str,
) -> Result<Option<Measured>> {
    let old = baseline.and_then(|spec| spec.module(module));
    let live = old.and_then(|old| {
        Some(measured(&old.revision(), &old.version, totals.get(&old.revision())?.clone(), ctx.now()))
    });
    if let Some(live) = live.filter(|live| live.requests >= Rules::default().minimum_sample) {
        return Ok(Some(live));
    }
    let stored = ctx.store.measurement(key).await?;
    Ok(stored.and_then(|value| serde_json::from_value(value).ok()))
}

/// Compares two revisions. Pure.
pub fn held_against(
    module: &Token,
    now: &Measured,
    before: &Measured,
    at: Timestamp,
) -> (GateResult, Option<Finding>) {
    let compared = compare_histograms(&now.latency, &before.latency, &Rules::default());
    let median = compared.baseline_median.unwrap_or(0.0);
    let limit = (median * FAR).max(FELT);
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
        }
    }

    fn judged(new: u64, old: u64, number: u64) -> (Outcome, Option<Severity>) {
        let (gate, found) =
            held_against(&"web".parse().unwrap(), &of("b", new, number), &of("a", old, number), Timestamp(0));
        (gate.outcome, found.map(|found| found.severity))
    }

    #[test]
    fn a_slower_revision_is_told_and_only_a_far_slower_one_fails() {
        assert_eq!(judged(1000, 1000, 200), (Outcome::Succeeded, None));
        assert_eq!(judged(1800, 1000, 200), (Outcome::Succeeded, Some(Severity::Medium)));
        assert_eq!(judged(500_000, 100_000, 200), (Outcome::Failed, Some(Severity::High)));
        assert_eq!(judged(500, 1000, 200), (Outcome::Succeeded, None));
    }

    #[test]
    fn what_nobody_notices_is_told_and_does_not_fail() {
        assert_eq!(judged(5000, 1000, 200), (Outcome::Succeeded, Some(Severity::Medium)));
    }

    #[test]
    fn a_few_requests_decide_nothing() {
        assert_eq!(judged(5000, 1000, 10), (Outcome::Inconclusive, None));
    }
}
