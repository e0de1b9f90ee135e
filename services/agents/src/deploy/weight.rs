//! The shares of the traffic: set by compare-and-set, in force in every data plane, and seen to arrive.

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;
use gates::{
    Measurements,
    traffic::{self, Arrival, Arrived},
};
use model::{
    GateResult, Outcome, TargetId, Token,
    deployment::StepJob,
    plan::Revision,
    route::{Endpoint, RouteTable, Weights},
    spec::Module,
    step::StepResult,
};
use platform::Instance;
use tokio::time::Instant;

use super::{fleet::TICK, front_door, planes, routes};
use crate::{
    Error,
    context::{Ctx, described, made_as, side_by_side},
    counts::Heard,
    error::Result,
    evidence,
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
    // What is no longer reached by the data plane still has its routes taken away.
    let is_routed = |module: &&Module| weights.0.is_empty() || job.spec.is_routed(module);
    let Some(shown) = described(job, module).filter(is_routed) else {
        return Err(Error::verdict(format!(
            "{module} is not reached by the data plane, it has no traffic to share out"
        )));
    };
    if weights.0.is_empty() && ctx.store.routes(&key).await?.is_none() {
        return Ok(StepResult::new(
            Outcome::Succeeded,
            format!("{module} has no routes, it gets no traffic"),
        ));
    }
    ready(job, ctx, &key, shown, weights).await?;

    let before = ctx.store.routes(&key).await?.map(|table| table.weights).unwrap_or_default();
    let table = edit_routes(ctx.store.as_ref(), &key, job.fence, |stored| {
        let mut table = stored.cloned().unwrap_or_else(|| routes::empty(&target, module, ctx.now()));
        let empty = |revision: &&Revision| table.endpoints.get(*revision).is_none_or(Vec::is_empty);
        if let Some(revision) =
            weights.0.iter().filter(|(_, share)| **share > 0).map(|(revision, _)| revision).find(empty)
        {
            // It has been ready a moment ago: another step or a crash took its instances.
            return Err(nobody(module, revision, weights));
        }
        routes::describe(&mut table, shown);
        table.weights = weights.clone();
        routes::preview(&mut table, job);
        Ok(Some(table))
    })
    .await?;
    let Some(table) = table else {
        return Err(Error::trouble(format!("no routes of {module} were written")));
    };

    let mut result = StepResult::new(Outcome::Succeeded, in_force(job, ctx, &table).await?);
    if verify && !weights.0.is_empty() && !table.internal {
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

/// Waits until the data planes have the table, and clients of an exposed module meet it; says so.
async fn in_force(job: &StepJob, ctx: &Ctx, table: &RouteTable) -> Result<String> {
    let (module, weights) = (&table.module, &table.weights);
    ctx.show(job, format!("waiting for the data planes to send {weights}"), None);
    let planes = match planes::acknowledge(ctx, table, IN_FORCE).await? {
        planes::Taken::By(planes) => planes,
        planes::Taken::Nobody if weights.0.is_empty() => 0,
        planes::Taken::Nobody => return Err(Error::trouble("no data plane answers")),
    };
    if weights.0.is_empty() {
        return Ok(format!("{module} gets no traffic"));
    }
    if table.internal {
        return Ok(format!("other modules reach {module} at {weights}, in force in {planes} data planes"));
    }
    let met = match front_door::opens(ctx, table, front_door::path(job, module), IN_FORCE).await? {
        front_door::Opened::By(revision, _) => format!("{revision} answers at port {}", table.listen),
        front_door::Opened::Late => format!("who answers at port {} took too long to say", table.listen),
    };
    Ok(format!("traffic of {module}: {weights}, in force in {planes} data planes; {met}"))
}

fn nobody(module: &Token, revision: &Revision, weights: &Weights) -> Error {
    let share = weights.of(revision);
    Error::trouble(format!(
        "{module} {revision} has no healthy instance, it gets no {share} % of the traffic"
    ))
}

/// W1 and W2: waits until every revision with a share has instances that are routed to and still there; takes out of
/// the routes those that are not. A module that is not exposed may be older than its routes: what runs is put into them.
async fn ready(job: &StepJob, ctx: &Ctx, key: &str, shown: &Module, weights: &Weights) -> Result<()> {
    let (target, module) = (job.spec.target_id(), &shown.name);
    let platform = ctx.platform(&target.platform)?;
    let until = Instant::now() + if job.goes_back() { BACK } else { FORWARD };
    loop {
        let observed = platform.observe(&target).await?;
        let table = ctx.store.routes(key).await?;
        let endpoints = table.map(|table| table.endpoints).unwrap_or_default();
        let mut well: BTreeMap<Revision, Vec<Endpoint>> = BTreeMap::new();
        for revision in weights.0.iter().filter(|(_, share)| **share > 0).map(|(revision, _)| revision) {
            let runs: Vec<Endpoint>;
            let routed = match endpoints.get(revision) {
                Some(routed) => routed.as_slice(),
                None if shown.expose.is_none() => {
                    runs = running(job, shown, revision, &observed);
                    &runs
                }
                None => &[],
            };
            let alive = alive(job, ctx, &target, module, revision, routed, &observed).await?;
            let routed = routed.iter().filter(|endpoint| alive.contains(&endpoint.instance));
            well.insert(revision.clone(), routed.cloned().collect());
        }
        if well.iter().any(|(revision, well)| of(&endpoints, revision) != well.as_slice()) {
            edit_routes(ctx.store.as_ref(), key, job.fence, |stored| {
                let mut table = stored.cloned().unwrap_or_else(|| routes::empty(&target, module, ctx.now()));
                for (revision, well) in &well {
                    let all = table.endpoints.entry(revision.clone()).or_default();
                    // What another step added meanwhile stays.
                    all.retain(|it| !of(&endpoints, revision).contains(it) || well.contains(it));
                    let new: Vec<Endpoint> =
                        well.iter().filter(|endpoint| !all.contains(endpoint)).cloned().collect();
                    all.extend(new);
                }
                Ok(Some(table))
            })
            .await?;
        }
        match well.iter().find(|(_, well)| well.is_empty()) {
            None => return Ok(()),
            Some((revision, _)) if Instant::now() >= until => return Err(nobody(module, revision, weights)),
            Some(_) => tokio::time::sleep(TICK).await,
        }
    }
}

fn of<'a>(all: &'a BTreeMap<Revision, Vec<Endpoint>>, revision: &Revision) -> &'a [Endpoint] {
    all.get(revision).map(Vec::as_slice).unwrap_or_default()
}

fn running(job: &StepJob, shown: &Module, revision: &Revision, observed: &[Instance]) -> Vec<Endpoint> {
    let made = made_as(job, &shown.name, revision).unwrap_or(shown);
    let ours = |it: &&Instance| it.is_running() && it.module == shown.name && it.revision == *revision;
    observed.iter().filter(ours).filter_map(|it| routes::endpoint(it, made)).collect()
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
    let (module, weights, before) = (table.module.clone(), table.weights.clone(), before.clone());
    let mut arrived = Arrived { module, weights, before, looks: Vec::new() };
    // Requests that were under way when the table changed count for the old shares: a second look decides.
    for _ in 0..2 {
        arrived.looks.push(look(job, ctx, table, &heard).await?);
        let gate = arrived.judge(ctx.now());
        let counts = arrived.looks.last().map(Arrival::counts).unwrap_or_default();
        let good = gate.outcome == Outcome::Succeeded;
        ctx.show_all(job, gate.text.clone(), None, percents(&counts), vec![gate]);
        if good {
            break;
        }
    }
    evidence::judged(job, ctx, traffic::GATE, Measurements::Traffic(arrived)).await
}

async fn look(job: &StepJob, ctx: &Ctx, table: &RouteTable, heard: &Heard) -> Result<Arrival> {
    let (from, window) = (ctx.now(), heard.window(&table.module));
    let mut counted: BTreeMap<Revision, u64> = BTreeMap::new();
    while table.sticky_cookie.is_none() && window.age() < PATIENCE {
        let came = heard.since(&window).into_iter();
        counted = came.map(|(revision, count)| (revision, count.requests)).collect();
        if counted.values().sum::<u64>() >= REQUESTS {
            break;
        }
        ctx.show_all(job, "counting what arrives", None, percents(&counted), Vec::new());
        heard.news(Duration::from_millis(250)).await;
    }
    let came: u64 = counted.values().sum();
    let asked = if came < REQUESTS { own(job, ctx, table, REQUESTS - came).await? } else { BTreeMap::new() };
    Ok(Arrival { from, until: ctx.now(), counted, asked })
}

/// Sends requests through the data plane and counts which revision answers. They go where the health probe goes, so
/// that they are answered well and cost little.
async fn own(job: &StepJob, ctx: &Ctx, table: &RouteTable, number: u64) -> Result<BTreeMap<Revision, u64>> {
    let path = front_door::path(job, &table.module);
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
