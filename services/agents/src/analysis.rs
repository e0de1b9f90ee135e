//! Runs an analysis: measures at intervals, judges every measurement, ends as soon as one metric is bad for good.
//!
//! A measurement of the traffic that has too few requests is not judged but goes on into the next one, so that little
//! traffic means fewer measurements and not none. What is judged and how is in the crate `stats`; here is only when.

mod meter;
pub mod providers;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use model::{
    GateResult, Outcome, StepKind, Token, deployment::StepJob, plan::Revision, route::RevisionCount,
    spec::Analysis, step::StepResult,
};
use tokio::time::Instant;

use crate::{Error, context::Ctx, error::Result, evidence};
use meter::Meter;

pub use gates::analysis::required;

/// Whose measurements are judged.
pub(crate) struct Trial<'a> {
    pub(crate) job: &'a StepJob,
    pub(crate) ctx: &'a Ctx,
    pub(crate) module: &'a Token,
    pub(crate) revision: &'a Revision,
    pub(crate) baseline: Option<&'a Revision>,
}

/// Runs the analysis of the step. In the background it ends well only when it is told to finish.
pub async fn run(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let StepKind::Analyse { module, revision, baseline, analysis, background } = &job.step.kind else {
        return Err(Error::verdict(format!("{} is no analysis", job.step.id)));
    };
    let trial = Trial { job, ctx, module, revision, baseline: baseline.as_ref() };
    judge(&trial, analysis, *background).await
}

async fn judge(trial: &Trial<'_>, analysis: &Analysis, background: bool) -> Result<StepResult> {
    let (job, ctx) = (trial.job, trial.ctx);
    let heard = ctx.traffic.of(&job.spec.target_id()).await?;
    heard.settled().await;
    let began = Instant::now();
    let room = analysis.duration.0 + job.extend.map_or(Duration::ZERO, |extend| extend.0);
    let end = (!background).then(|| began + room);
    let mut meters = Vec::new();
    for metric in &analysis.metrics {
        meters.push(Meter::new(metric, trial, &heard, began)?);
    }
    let mut shown = heard.window(trial.module);
    loop {
        let due = meters.iter().filter(|meter| !meter.has_ended()).map(Meter::due).min();
        let next = [due, end].into_iter().flatten().min();
        let told = ctx.stop.finish.is_cancelled();
        let over = if told && !meters.iter().any(Meter::knows_nothing) {
            true
        } else {
            tokio::select! {
                () = until(next) => end.is_some_and(|end| Instant::now() >= end),
                () = ctx.stop.finish.cancelled(), if !told => true,
            }
        };
        // An extension is used only as far as it is needed.
        let extended = !background && job.extend.is_some() && began.elapsed() >= analysis.duration.0;
        let over = over || (extended && !meters.iter().any(Meter::knows_nothing));
        // One that was given because nothing was known is used: told to finish, it goes on waiting for data.
        let has_room = background && job.extend.is_some_and(|extend| began.elapsed() < extend.0);
        let stop = (over || told) && !(has_room && meters.iter().any(Meter::knows_nothing));
        for meter in
            meters.iter_mut().filter(|meter| !meter.has_ended() && (stop || meter.due() <= Instant::now()))
        {
            meter.measure(trial, &heard, stop).await;
        }
        let gates: Vec<GateResult> = meters.iter().filter_map(Meter::gate).collect();
        let share = end.map(|_| began.elapsed().as_secs_f64() / room.as_secs_f64().max(0.001));
        ctx.show_all(job, summary(&gates), share, traffic(&heard.since(&shown)), gates);
        shown = heard.window(trial.module);
        if stop || meters.iter().any(Meter::decides_now) {
            return Ok(ended(trial, meters).await);
        }
    }
}

/// Nothing to wait for: for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The worst metric decides; dry runs never do.
async fn ended(trial: &Trial<'_>, meters: Vec<Meter>) -> StepResult {
    let now = trial.ctx.now();
    let dry: Vec<bool> = meters.iter().map(Meter::is_dry).collect();
    let closed = meters.into_iter().map(|meter| meter.close(now)).collect();
    let gates = evidence::kept(trial.job, trial.ctx, closed).await;
    let deciding = gates.iter().zip(dry).filter(|(_, dry)| !dry).map(|(gate, _)| gate);
    let result = match deciding.max_by_key(|gate| gate.outcome) {
        None => StepResult::new(Outcome::Succeeded, "nothing but dry runs"),
        Some(gate) if gate.outcome == Outcome::Succeeded => {
            let all: Vec<&str> = gates.iter().map(|gate| gate.text.as_str()).collect();
            StepResult::new(Outcome::Succeeded, all.join("; "))
        }
        Some(gate) => StepResult::new(gate.outcome, gate.text.clone()),
    };
    StepResult { gates, ..result }
}

fn summary(gates: &[GateResult]) -> String {
    let texts: Vec<&str> = gates.iter().map(|gate| gate.text.as_str()).collect();
    if texts.is_empty() { "nothing measured yet".to_owned() } else { texts.join("; ") }
}

/// The shares that really arrived, in percent; who got nothing has no line.
fn traffic(counts: &BTreeMap<Revision, RevisionCount>) -> Vec<(String, f64)> {
    let all: u64 = counts.values().map(|count| count.requests).sum();
    let percent = |requests: u64| requests as f64 * 100.0 / all.max(1) as f64;
    let asked = counts.iter().filter(|(_, count)| count.requests > 0);
    asked.map(|(revision, count)| (revision.to_string(), percent(count.requests))).collect()
}
