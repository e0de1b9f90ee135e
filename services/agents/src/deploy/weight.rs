//! The shares of the traffic: set by compare-and-set, in force in every data plane, and seen to arrive.

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;
use model::{
    GateResult, Outcome, TargetId, Token,
    deployment::StepJob,
    plan::Revision,
    route::{Endpoint, RouteTable, Weights},
    step::{Stage, StepResult},
};
use platform::Instance;
use tokio::time::Instant;

use super::{fleet::TICK, planes, routes};
use crate::{
    Error,
    context::{Ctx, described, made_as, side_by_side},
    door,
    error::Result,
    store::edit_routes,
};

/// How long instances that another step of the same wave starts are waited for, forwards and on the way back.
const FORWARD: Duration = Duration::from_secs(3);
const BACK: Duration = Duration::from_secs(15);
/// How long data planes may take to have a table in force.
const IN_FORCE: Duration = Duration::from_secs(5);
/// Requests that must have come before shares are judged, and how long they are waited for.
const REQUESTS: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(5);
/// One of our own requests.
const PROBE: Duration = Duration::from_secs(2);

/// Sets the shares.
pub async fn run(
    job: &StepJob,
    ctx: &Ctx,
    module: &Token,
    weights: &Weights,
    verify: bool,
) -> Result<StepResult> {
    let target = job.spec.target_id();
    let key = RouteTable::key(&target, module);
    if !weights.is_valid() {
        return Err(Error::verdict(format!("the shares {weights} do not sum to 100")));
    }
    let first = (job.step.stage == Stage::Rollback).then(|| job.baseline.as_ref()?.module(module)).flatten();
    let shown = first.or_else(|| described(job, module));
    let Some(expose) = shown.and_then(|module| module.expose.as_ref()) else {
        return Err(Error::verdict(format!("{module} is not exposed, it has no traffic to share out")));
    };
    if weights.0.is_empty() && ctx.store.routes(&key).await?.is_none() {
        return Ok(StepResult::new(
            Outcome::Succeeded,
            format!("{module} has no routes, it gets no traffic"),
        ));
    }
    ready(job, ctx, &key, module, weights).await?;

    let before = ctx.store.routes(&key).await?.map(|table| table.weights).unwrap_or_default();
    let table = edit_routes(ctx.store.as_ref(), &key, job.fence, |stored| {
        let mut table = match stored {
            Some(table) => table.clone(),
            None => routes::empty(&target, module, expose, ctx.now()),
        };
        let empty = |revision: &&Revision| table.endpoints.get(*revision).is_none_or(Vec::is_empty);
        if let Some(revision) =
            weights.0.iter().filter(|(_, share)| **share > 0).map(|(revision, _)| revision).find(empty)
        {
            // It has been ready a moment ago: another step or a crash took its instances.
            return Err(nobody(module, revision, weights));
        }
        routes::describe(&mut table, expose);
        table.weights = weights.clone();
        routes::preview(&mut table, job);
        Ok(Some(table))
    })
    .await?;
    let Some(table) = table else {
        return Err(Error::trouble(format!("no routes of {module} were written")));
    };

    ctx.show(job, format!("waiting for the data planes to send {weights}"), None);
    let planes = match planes::acknowledge(ctx, &table, IN_FORCE).await? {
        planes::Taken::By(planes) => planes,
        planes::Taken::Nobody if weights.0.is_empty() => 0,
        planes::Taken::Nobody => return Err(Error::trouble("no data plane answers")),
    };
    let text = if weights.0.is_empty() {
        format!("{module} gets no traffic")
    } else {
        let met = match door::opens(ctx, &table, door::path(job, module), IN_FORCE).await? {
            door::Opened::By(revision, _) => format!("{revision} answers at port {}", table.listen),
            door::Opened::Late => format!("who answers at port {} took too long to say", table.listen),
        };
        format!("traffic of {module}: {weights}, in force in {planes} data planes; {met}")
    };
    let mut result = StepResult::new(Outcome::Succeeded, text);
    if verify && !weights.0.is_empty() {
        let gate = arrives(job, ctx, &target, &table, &before).await?;
        result.reason = format!("{}; {}", result.reason, gate.text);
        if gate.outcome != Outcome::Succeeded {
            result.outcome = Outcome::Errored;
            result.reason.clone_from(&gate.text);
        }
        result.gates.push(gate);
    }
    Ok(result)
}

fn nobody(module: &Token, revision: &Revision, weights: &Weights) -> Error {
    let share = weights.of(revision);
    Error::trouble(format!(
        "{module} {revision} has no healthy instance, it gets no {share} % of the traffic"
    ))
}

/// W1 and W2: waits until every revision with a share has instances that are routed to and still there; takes out of
/// the routes those that are not.
async fn ready(job: &StepJob, ctx: &Ctx, key: &str, module: &Token, weights: &Weights) -> Result<()> {
    let target = job.spec.target_id();
    let platform = ctx.platform(&target.platform)?;
    let until = Instant::now() + if job.step.stage == Stage::Rollback { BACK } else { FORWARD };
    loop {
        let observed = platform.observe(&target).await?;
        let table = ctx.store.routes(key).await?;
        let endpoints = table.map(|table| table.endpoints).unwrap_or_default();
        let mut dead: Vec<String> = Vec::new();
        let mut missing = None;
        for revision in weights.0.iter().filter(|(_, share)| **share > 0).map(|(revision, _)| revision) {
            let routed = endpoints.get(revision).map(Vec::as_slice).unwrap_or_default();
            let alive = alive(job, ctx, &target, module, revision, routed, &observed).await?;
            dead.extend(
                routed.iter().map(|endpoint| endpoint.instance.clone()).filter(|id| !alive.contains(id)),
            );
            if alive.is_empty() {
                missing = Some(revision);
            }
        }
        if !dead.is_empty() {
            edit_routes(ctx.store.as_ref(), key, job.fence, |stored| {
                Ok(stored.map(|stored| {
                    let mut table = stored.clone();
                    for endpoints in table.endpoints.values_mut() {
                        endpoints.retain(|endpoint| !dead.contains(&endpoint.instance));
                    }
                    table
                }))
            })
            .await?;
        }
        match missing {
            None => return Ok(()),
            Some(revision) if Instant::now() >= until => return Err(nobody(module, revision, weights)),
            Some(_) => tokio::time::sleep(TICK).await,
        }
    }
}

/// Which of the routed instances run and answer their probe.
async fn alive(
    job: &StepJob,
    ctx: &Ctx,
    target: &TargetId,
    module: &Token,
    revision: &Revision,
    routed: &[Endpoint],
    observed: &[Instance],
) -> Result<Vec<String>> {
    let platform = ctx.platform(&target.platform)?;
    let health = made_as(job, module, revision).and_then(|module| module.health.as_ref());
    let mut work: Vec<BoxFuture<'_, Result<Option<String>>>> = Vec::new();
    for instance in observed
        .iter()
        .filter(|it| it.is_running() && routed.iter().any(|endpoint| endpoint.instance == it.id))
    {
        work.push(Box::pin(async move {
            let Some(health) = health else { return Ok(Some(instance.id.clone())) };
            // A probe may be lost; an instance is out only when it fails as often as the spec says.
            for _ in 0..health.unhealthy_threshold.max(1) {
                if platform.probe(target, instance, &health.probe, health.timeout.0).await?.is_ok() {
                    return Ok(Some(instance.id.clone()));
                }
            }
            Ok(None)
        }));
    }
    let asked = side_by_side(16, work).await.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(asked.into_iter().flatten().collect())
}

/// Counts what arrives until it can be judged: as the data planes count it, and with requests of our own when there is
/// too little traffic or when cookies bind clients to revisions.
async fn arrives(
    job: &StepJob,
    ctx: &Ctx,
    target: &TargetId,
    table: &RouteTable,
    before: &Weights,
) -> Result<GateResult> {
    let heard = ctx.traffic.of(target).await?;
    let mut judged = None;
    // Requests that were under way when the table changed count for the old shares: a second look decides.
    for _ in 0..2 {
        let window = heard.window(&table.module);
        let mut counts: BTreeMap<Revision, u64> = BTreeMap::new();
        while table.sticky_cookie.is_none() && window.age() < PATIENCE {
            counts = heard
                .since(&window)
                .into_iter()
                .map(|(revision, count)| (revision, count.requests))
                .collect();
            if counts.values().sum::<u64>() >= REQUESTS {
                break;
            }
            ctx.show_all(job, "counting what arrives", None, percents(&counts), Vec::new());
            heard.news(Duration::from_millis(250)).await;
        }
        let came: u64 = counts.values().sum();
        if came < REQUESTS {
            for (revision, count) in own(job, ctx, table, REQUESTS - came).await? {
                *counts.entry(revision).or_default() += count;
            }
        }
        let gate = judge(&table.weights, before, &counts, ctx.now());
        ctx.show_all(job, gate.text.clone(), None, percents(&counts), vec![gate.clone()]);
        let good = gate.outcome == Outcome::Succeeded;
        judged = Some(gate);
        if good {
            break;
        }
    }
    judged.ok_or_else(|| Error::trouble("nothing was counted"))
}

/// Sends requests through the data plane and counts which revision answers. They go where the health probe goes, so
/// that they are answered well and cost little.
async fn own(job: &StepJob, ctx: &Ctx, table: &RouteTable, number: u64) -> Result<BTreeMap<Revision, u64>> {
    let path = door::path(job, &table.module);
    let url = format!("http://{}:{}{path}", ctx.config.data_plane, table.listen);
    let url = url.as_str();
    let mut work: Vec<BoxFuture<'_, Result<Option<Revision>>>> = Vec::new();
    for _ in 0..number {
        work.push(Box::pin(async move {
            let answer = ctx.http.get(url, &[("x-code-probe", "1")], PROBE).await?;
            let revision = answer.headers.get("x-code-revision").and_then(|value| value.to_str().ok());
            Ok(revision.and_then(|text| text.parse().ok()))
        }));
    }
    let mut counts = BTreeMap::new();
    for answer in side_by_side(8, work).await {
        match answer? {
            Some(revision) => *counts.entry(revision).or_default() += 1,
            None => {
                return Err(Error::trouble(format!(
                    "{url} answers without x-code-revision: it is no data plane of ours"
                )));
            }
        }
    }
    Ok(counts)
}

fn percents(counts: &BTreeMap<Revision, u64>) -> Vec<(String, f64)> {
    let all: u64 = counts.values().sum();
    let percent = |count: u64| if all == 0 { 0.0 } else { count as f64 * 100.0 / all as f64 };
    counts.iter().map(|(revision, count)| (revision.to_string(), percent(*count))).collect()
}

/// Whether the shares that arrived are those that were set: within three standard deviations of a binomial count, and
/// at least 5 points. The gate shows the revision whose share grew most, unless only another one is off.
pub fn judge(
    weights: &Weights,
    before: &Weights,
    counts: &BTreeMap<Revision, u64>,
    at: model::Timestamp,
) -> GateResult {
    let all: u64 = counts.values().sum();
    let mut revisions: Vec<&Revision> = weights.0.keys().chain(counts.keys()).collect();
    revisions.sort();
    revisions.dedup();
    let look = |revision: &Revision| {
        let wanted = weights.of(revision);
        let measured = counts.get(revision).copied().unwrap_or(0) as f64 * 100.0 / all.max(1) as f64;
        (wanted, measured, Weights::tolerance(wanted, all))
    };
    let excess = |revision: &Revision| {
        let (wanted, measured, tolerance) = look(revision);
        (measured - f64::from(wanted)).abs() - tolerance
    };
    let farthest = revisions.iter().copied().max_by(|one, two| excess(one).total_cmp(&excess(two)));
    let off = farthest.filter(|revision| excess(revision) > 0.0);
    let moved = revisions
        .iter()
        .copied()
        .max_by_key(|revision| i16::from(weights.of(revision)) - i16::from(before.of(revision)));
    let shown = moved.filter(|moved| off.is_none() || excess(moved) > 0.0).or(off);
    let Some(shown) = shown else {
        return gate(Outcome::Errored, None, String::new(), 0, "no request arrived".to_owned(), at);
    };
    let (wanted, measured, _) = look(shown);
    let limit = Weights::limit(wanted, all);
    let arrived = model::view::number((measured * 10.0).round() / 10.0);
    let text = format!("{arrived} % of {all} requests arrived at {shown}, {wanted} % were to");
    let good = off.is_none() && all > 0;
    gate(if good { Outcome::Succeeded } else { Outcome::Errored }, Some(measured), limit, all, text, at)
}

fn gate(
    outcome: Outcome,
    measured: Option<f64>,
    limit: String,
    samples: u64,
    text: String,
    at: model::Timestamp,
) -> GateResult {
    GateResult { gate: "traffic-share".to_owned(), outcome, measured, limit, samples, text, at }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    fn judged(share: u8, new: u64, old: u64) -> GateResult {
        let (a, b): (Revision, Revision) = ("aaa".parse().unwrap(), "bbb".parse().unwrap());
        let weights = Weights::split(b.clone(), share, a.clone());
        judge(&weights, &Weights::all_to(a.clone()), &[(a, old), (b, new)].into(), Timestamp(0))
    }

    #[test]
    fn shares_are_judged_by_what_chance_allows() {
        for (share, new, old, good) in [
            (10, 10, 90, true),
            (10, 19, 81, true),
            (10, 25, 75, false),
            (10, 1200, 8800, true),
            (10, 1600, 8400, false),
            (50, 36, 64, true),
            (50, 30, 70, false),
            (100, 100, 0, true),
            (100, 94, 6, false),
            (100, 0, 100, false),
            (0, 0, 100, true),
            (0, 6, 94, false),
        ] {
            let gate = judged(share, new, old);
            assert_eq!(
                gate.outcome == Outcome::Succeeded,
                good,
                "{share} %: {new} of {}: {}",
                new + old,
                gate.text
            );
        }
    }

    #[test]
    fn a_wrong_share_is_told_with_both_numbers() {
        let gate = judged(10, 40, 60);

        assert_eq!(gate.text, "40 % of 100 requests arrived at bbb, 10 % were to");
        assert_eq!((gate.measured, gate.samples), (Some(40.0), 100));
        assert_eq!(gate.limit, "10 ± 9.0 %");
    }

    #[test]
    fn no_request_at_all_is_no_pass() {
        assert_eq!(judged(10, 0, 0).outcome, Outcome::Errored);
    }
}
