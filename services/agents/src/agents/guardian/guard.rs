//! The guard of a trial: from when its first instances stand until the release has all of the traffic, whatever is
//! waited for meanwhile, every instance that was well once has to stay well.
//!
//! What was well is known from the probes of this guard and from the routes, so that one that begins anew, after its
//! runner died, finds what happened in between.

use std::{collections::BTreeSet, time::Duration};

use model::{
    Outcome, Token,
    deployment::StepJob,
    route::RouteTable,
    step::{Agent, StepResult},
};
use tokio::time::Instant;

use super::soak::Soak;
use crate::{Error, agents::judged, context::Ctx, error::Result};

/// Looks at the platform are so far apart.
const LOOK: Duration = Duration::from_secs(1);
/// What instances must not do meanwhile, as findings say it.
const MEANWHILE: &str = "while it was on trial";

/// Looks until it is told to finish, or until an instance is not well any more. A platform that cannot be looked at for a
/// while says nothing about the release.
pub async fn guard(job: &StepJob, ctx: &Ctx, module: &Token) -> Result<StepResult> {
    let (began, mut seen) = (Instant::now(), Soak::of(module, MEANWHILE));
    loop {
        let told = ctx.stop.finish.is_cancelled();
        let looked = look(job, ctx, module, &mut seen).await;
        let findings = seen.findings(job);
        if !findings.is_empty() {
            let gate = seen.gate("trial", job, ctx, began.elapsed()).await?;
            return Ok(StepResult { gates: vec![gate], ..judged(Agent::Guardian, findings) });
        }
        match &looked {
            Ok(()) if told => return passed(job, ctx, module, &seen, began.elapsed()).await,
            Ok(()) => {
                ctx.show(job, format!("{} well, for {} s", seen.count(), began.elapsed().as_secs()), None)
            }
            Err(error) if told => {
                return Err(Error::trouble(format!("what runs could not be looked at: {error}")));
            }
            Err(error) => ctx.show(job, format!("what runs cannot be looked at: {error}"), None),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = ctx.stop.finish.cancelled(), if !told => {}
            () = ctx.stop.cancel.cancelled() => return Err(Error::trouble("the guard was stopped")),
        }
    }
}

async fn look(job: &StepJob, ctx: &Ctx, module: &Token, seen: &mut Soak) -> Result<()> {
    let table = ctx.store.routes(&RouteTable::key(&job.spec.target_id(), module)).await?;
    let revision = job.spec.module(module).map(model::spec::Module::revision);
    let routed: BTreeSet<String> = match (table, revision) {
        (Some(table), Some(revision)) => {
            let endpoints = table.endpoints.get(&revision).into_iter().flatten();
            endpoints.map(|endpoint| endpoint.instance.clone()).collect()
        }
        _ => BTreeSet::new(),
    };
    seen.look_once_well(job, ctx, &routed).await
}

async fn passed(
    job: &StepJob,
    ctx: &Ctx,
    module: &Token,
    seen: &Soak,
    window: Duration,
) -> Result<StepResult> {
    let gate = seen.gate("trial", job, ctx, window).await?;
    if gate.samples == 0 {
        return Err(Error::trouble(format!("no instance of {module} was ever seen well")));
    }
    let text = format!("{} stayed well over {}", seen.count(), model::Span(window));
    Ok(StepResult { gates: vec![gate], ..StepResult::new(Outcome::Succeeded, text) })
}
