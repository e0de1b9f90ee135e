//! 7: baselines and regressions. What the requests of a revision took, how many failed and how many came is kept when
//! the release is about to be promoted, by revision, and held against the revision before.

use std::{collections::BTreeMap, time::Duration};

use gates::{
    Measurements,
    regression::{Measured, Regression},
};
use model::{
    DeploymentSpec, Finding, GateResult, Outcome, TargetId, Timestamp, Token,
    deployment::StepJob,
    plan::Revision,
    route::RevisionCount,
    step::{Agent, StepResult},
};
use serde::{Deserialize, Serialize};
use stats::{Histogram, Rules};

use super::judged;
use crate::{
    Error,
    context::Ctx,
    counts::{Heard, Window},
    error::Result,
    evidence,
};

/// Revisions of a module whose measurements are kept, the latest ones.
const KEPT: usize = 8;
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
            let compared = Regression { module: module.name.clone(), now: now.clone(), before };
            let (judged, found) = held_against(&compared, ctx.now())?;
            gates.extend(evidence::kept(job, ctx, judged).await);
            findings.extend(found);
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

/// Gates, each with what it follows from.
type Judged = Vec<(GateResult, Measurements)>;

/// Every gate of a comparison, and what there is to say.
fn held_against(compared: &Regression, at: Timestamp) -> Result<(Judged, Vec<Finding>)> {
    let (mut judged, mut findings) = (Vec::new(), Vec::new());
    for gate in compared.gates() {
        let (verdict, found) =
            compared.judge(gate, at).map_err(|error| Error::trouble(format!("gate {gate}: {error}")))?;
        judged.push((verdict, Measurements::Regression(Box::new(compared.clone()))));
        findings.extend(found);
    }
    Ok((judged, findings))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(revision: &str, requests: u64) -> Measured {
        let count = RevisionCount { requests, ..RevisionCount::default() };
        measured(&revision.parse().unwrap(), "1.0.0", count, Timestamp(0))
    }

    #[test]
    fn every_revision_has_a_measurement_of_its_own_and_the_latest_ones_are_kept() {
        let mut kept = Kept::default();
        for number in 0..20 {
            assert!(kept.keep(of(&format!("r{number}"), 100)));
        }
        assert!(!kept.keep(of("r19", 50)), "fewer requests say less");
        assert!(!kept.keep(of("r20", 0)));
        assert!(kept.keep(of("r15", 100)));

        let names: Vec<&str> = kept.revisions.iter().map(|kept| kept.revision.as_str()).collect();
        assert_eq!(names, ["r12", "r13", "r14", "r16", "r17", "r18", "r19", "r15"]);
    }
}
