//! 5: requests that must succeed against the new revision before it gets traffic.

use std::time::Duration;

use futures::future::BoxFuture;
use gates::{
    Measurements,
    smoke::{Request, Smoked},
};
use model::{
    Digest, Finding, Outcome, Severity, Span, Token, deployment::StepJob, plan::Revision, route::RouteTable,
    spec::Module, step::StepResult,
};
use tokio::time::Instant;

use super::finding;
use crate::{
    Error,
    context::{Ctx, made_as, side_by_side},
    deploy::planes,
    error::Result,
    evidence::{self, scrubbed},
};

/// Requests at once.
const AT_ONCE: usize = 8;
/// A request that gets no answer is an answer too after so long, unless the module says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long data planes may take to know the preview.
const PREVIEW: Duration = Duration::from_secs(3);

/// Where requests go: an instance itself, or the data plane with the header that asks for the preview.
struct Way {
    name: String,
    base: String,
    header: Option<(String, String)>,
}

/// How many requests over one way failed.
#[derive(Default)]
struct Tally {
    asked: u64,
    failed: u64,
    first: Option<String>,
}

/// Runs the smoke tests of a module.
pub async fn smoke(job: &StepJob, ctx: &Ctx, module: &Token, revision: &Revision) -> Result<StepResult> {
    let Some(made) = made_as(job, module, revision) else {
        return Err(Error::verdict(format!("the spec does not describe revision {revision} of {module}")));
    };
    let ways = ways(job, ctx, made, revision).await?;
    if ways.is_empty() {
        return Err(Error::trouble(format!(
            "no instance of {module} {revision} runs, there is nothing to test"
        )));
    }
    let timeout = made.expose.as_ref().map_or(PATIENCE, |expose| expose.request_timeout.0);
    let (mut findings, mut gates) = (Vec::new(), Vec::new());
    for (at, test) in made.smoke.iter().enumerate() {
        ctx.show(
            job,
            format!("smoke test {} of {}: GET {}", at + 1, made.smoke.len(), test.path),
            Some(at as f64 / made.smoke.len() as f64),
        );
        let mut smoked = Smoked::new(module, revision, test, Span(timeout));
        for (way, times) in shares(&ways, test.times) {
            let tally = ask(ctx, way, &mut smoked, times).await;
            if let Some(first) = &tally.first {
                findings.push(failed(module, at, way, &tally, first));
            }
        }
        gates.push(evidence::judged(job, ctx, &test.gate(), Measurements::Smoke(smoked)).await?);
    }
    let asked: u64 = gates.iter().map(|gate| gate.samples).sum();
    let ways: Vec<&str> = ways.iter().map(|way| way.name.as_str()).collect();
    let (outcome, reason) = match findings.first() {
        None => {
            (Outcome::Succeeded, format!("{asked} requests answered as expected, over {}", ways.join(", ")))
        }
        Some(first) => (Outcome::Failed, first.message.clone()),
    };
    Ok(StepResult { findings, gates, ..StepResult::new(outcome, reason) })
}

/// Every way is asked at least once; a load test is spread over them.
fn shares(ways: &[Way], times: u32) -> impl Iterator<Item = (&Way, u32)> {
    let (each, more) = (times / ways.len() as u32, times as usize % ways.len());
    ways.iter().enumerate().map(move |(at, way)| (way, (each + u32::from(at < more)).max(1)))
}

async fn ways(job: &StepJob, ctx: &Ctx, module: &Module, revision: &Revision) -> Result<Vec<Way>> {
    let target = job.spec.target_id();
    let observed = ctx.platform(&target.platform)?.observe(&target).await?;
    let port = module.expose.as_ref().and_then(|expose| expose.port.as_ref());
    let ours =
        observed.iter().filter(|it| it.module == module.name && it.revision == *revision && it.is_running());
    let mut ways: Vec<Way> = ours
        .filter_map(|it| {
            Some(Way { name: it.id.clone(), base: format!("http://{}", it.address(port)?), header: None })
        })
        .collect();
    let table = ctx.store.routes(&RouteTable::key(&target, &module.name)).await?;
    let pin = table
        .as_ref()
        .and_then(|table| Some((table, table.pins.iter().find(|pin| pin.revision == *revision)?)));
    if let Some((table, pin)) = pin.filter(|(_, pin)| !pin.source.starts_with("cookie:")) {
        // Without a data plane there is no preview to be asked; the step that moves traffic says so loudly.
        if let planes::Taken::By(_) = planes::acknowledge(ctx, table, PREVIEW).await? {
            let base = format!("http://{}:{}", ctx.config.data_plane, table.listen);
            let header = Some((pin.source.clone(), pin.value.clone()));
            ways.push(Way { name: "the data plane".to_owned(), base, header });
        }
    }
    Ok(ways)
}

async fn ask(ctx: &Ctx, way: &Way, smoked: &mut Smoked, times: u32) -> Tally {
    let (url, contains) = (format!("{}{}", way.base, smoked.test.path), smoked.test.contains.clone());
    let (url, contains, timeout) = (url.as_str(), contains.as_deref(), smoked.timeout.0);
    let mut work: Vec<BoxFuture<'_, Request>> = Vec::new();
    for _ in 0..times {
        work.push(Box::pin(one(ctx, way, url, contains, timeout)));
    }
    let mut tally = Tally::default();
    for request in side_by_side(AT_ONCE, work).await {
        tally.asked += 1;
        if let Some(why) = smoked.take(request) {
            tally.failed += 1;
            tally.first.get_or_insert(why);
        }
    }
    tally
}

/// One request, and what came back.
async fn one(ctx: &Ctx, way: &Way, url: &str, contains: Option<&str>, timeout: Duration) -> Request {
    let headers: Vec<(&str, &str)> =
        way.header.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let began = Instant::now();
    let answer = ctx.http.get(url, &headers, timeout).await;
    let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let request = Request {
        way: way.name.clone(),
        url: url.to_owned(),
        preview: way.header.is_some(),
        at: ctx.now(),
        micros: micros(began.elapsed()),
        status: None,
        body: None,
        contained: None,
        by: None,
        error: None,
    };
    match answer {
        Ok(answer) => Request {
            micros: micros(answer.took),
            status: Some(answer.status),
            body: Some(Digest::of_bytes(&answer.body)),
            contained: contains.map(|text| String::from_utf8_lossy(&answer.body).contains(text)),
            by: answer.headers.get("x-code-revision").and_then(|value| value.to_str().ok()).map(scrubbed),
            ..request
        },
        Err(error) => Request { error: Some(scrubbed(&chassis::chain(&error))), ..request },
    }
}

fn failed(module: &Token, at: usize, way: &Way, tally: &Tally, first: &str) -> Finding {
    let text = match tally.asked {
        1 => first.to_owned(),
        asked => format!("{} of {asked} requests to {} failed, the first: {first}", tally.failed, way.name),
    };
    let mut found = finding("tester/smoke", Severity::High, Some(module), text);
    found.field = format!("smoke[{at}]");
    found
}
