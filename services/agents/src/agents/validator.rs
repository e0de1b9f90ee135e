//! 8: what runs equals the plan, and consumers and providers still match after the change.

mod contracts;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::BoxFuture;
use model::{
    DeploymentSpec, Finding, Outcome, Severity, TargetId, Token,
    asked::{Asked, Share},
    command::Drift,
    deployment::StepJob,
    plan::Revision,
    route::RouteTable,
    spec::Module,
    step::{Agent, StepResult},
};
use platform::{Instance, Platform, State};

use super::{blocking, finding, judged};
use crate::{
    Error,
    context::{Ctx, Engine, side_by_side},
    deploy::{front_door, leftovers, planes, routes},
    error::Result,
};

/// How long data planes may take to have the last table in force.
const IN_FORCE: Duration = Duration::from_secs(5);
/// A probe is tried so often; one that is lost says nothing.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// Compares what runs with the spec; on the way back with the baseline.
pub async fn validate(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let (back, expected) = (job.goes_back(), job.leads_to());
    // Until the promotion the old set may stand beside the new one.
    let tolerated = if back { None } else { job.baseline.as_deref() };
    let target = job.spec.target_id();
    let modules = job.spec.modules.iter().chain(job.baseline.iter().flat_map(|spec| &spec.modules));
    let names: Vec<Token> = modules.map(|module| module.name.clone()).collect();
    let specs: Vec<&DeploymentSpec> = expected.into_iter().chain(tolerated).collect();
    let mut findings = leftovers(job, ctx, &specs).await?;
    let stays: BTreeSet<&str> = findings.iter().map(|finding| finding.field.as_str()).collect();
    let asked = expected.map(Asked::by).unwrap_or_default();
    let (specs, others, without) = (expected.as_slice(), &names, &stays);
    let look = Look { asked: &asked, specs, tolerated, others, without, reached_as: expected };
    let drifts = looked(ctx, &target, &look).await?;
    findings.extend(drifts.iter().map(|drift| {
        finding("validator/difference", Severity::High, Some(&drift.module), drift.text.clone())
    }));
    in_force(job, ctx, &target, expected, &mut findings).await?;
    if !back {
        findings.extend(contracts::compare(job, ctx).await?);
    }
    let mut result = judged(Agent::Validator, findings);
    if blocking(&result.findings).next().is_none() {
        let what = if back { "the baseline" } else { "the plan" };
        result.reason = format!("what runs equals {what}");
        if !result.findings.is_empty() {
            result.reason = format!("{}, with {} findings", result.reason, result.findings.len());
        }
    } else if result.outcome != Outcome::Failed {
        result.outcome = Outcome::Failed;
    }
    Ok(result)
}

/// Takes away what other deployments left here. What stays is told and decides nothing: it is not this release's.
async fn leftovers(job: &StepJob, ctx: &Ctx, specs: &[&DeploymentSpec]) -> Result<Vec<Finding>> {
    let target = job.spec.target_id();
    let instances = ctx.platform(&target.platform)?.observe(&target).await?;
    let left = leftovers::of(instances, specs, Some(&job.deployment));
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let troubles = leftovers::clear(ctx, &target, job.fence, specs, &left).await?;
    let told = left.iter().filter_map(|instance| {
        let why = troubles.get(&instance.id)?;
        let text = format!(
            "instance {} of {} is left over and could not be taken away: {why}",
            instance.id, instance.deployment
        );
        let told = finding("validator/left-over", Severity::Medium, Some(&instance.module), text);
        Some(Finding { field: instance.id.clone(), cure: format!("codectl target clear {target}"), ..told })
    });
    Ok(told.collect())
}

/// Every data plane has the last table of every exposed module in force, and who asks where clients do is answered by
/// the revision that should answer.
async fn in_force(
    job: &StepJob,
    ctx: &Ctx,
    target: &TargetId,
    expected: Option<&DeploymentSpec>,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let routed: Vec<&Module> = match expected {
        Some(spec) => spec.modules.iter().filter(|module| spec.is_routed(module)).collect(),
        None => Vec::new(),
    };
    for module in routed {
        let Some(table) = ctx.store.routes(&RouteTable::key(target, &module.name)).await? else {
            continue;
        };
        match planes::acknowledge(ctx, &table, IN_FORCE).await {
            Ok(planes::Taken::By(_)) if table.internal => {}
            Ok(planes::Taken::By(_)) => findings.extend(at_the_door(job, ctx, module, &table).await?),
            Ok(planes::Taken::Nobody) => {
                let text = format!("no data plane answers for {}", module.name);
                findings.push(finding("validator/no-data-plane", Severity::High, Some(&module.name), text));
            }
            Err(Error::Trouble(text)) => {
                findings.push(finding("validator/late-data-plane", Severity::High, Some(&module.name), text));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a client of the module meets.
async fn at_the_door(
    job: &StepJob,
    ctx: &Ctx,
    module: &Module,
    table: &RouteTable,
) -> Result<Option<Finding>> {
    let told = |rule, severity, text| Ok(Some(finding(rule, severity, Some(&module.name), text)));
    let path = front_door::path(job, &module.name);
    match front_door::opens(ctx, table, path, IN_FORCE).await {
        // Shares that are not as they should be are told by the comparison.
        Ok(front_door::Opened::By(_, status)) if status < 500 => Ok(None),
        Ok(front_door::Opened::By(revision, status)) => {
            let text = format!("clients of {} get {status} of {revision} for {path}", module.name);
            told("validator/answers-with-errors", Severity::High, text)
        }
        Ok(front_door::Opened::Late) => {
            let text = format!("{path} of {} took too long: who answers clients is not known", module.name);
            told("validator/unknown-door", Severity::Low, text)
        }
        Err(Error::Trouble(text)) => told("validator/closed-door", Severity::High, text),
        Err(error) => Err(error),
    }
}

/// What differs between what a release asks for and what runs.
pub async fn differences(
    engine: &Engine,
    target: &TargetId,
    expected: Option<&DeploymentSpec>,
) -> Result<Vec<Drift>> {
    let asked = expected.map(Asked::by).unwrap_or_default();
    let look = Look { reached_as: expected, ..Look::of(&asked, expected.as_slice()) };
    looked(engine, target, &look).await
}

/// What differs between what is asked for and what runs; `specs` describe the revisions in it.
pub async fn against(
    engine: &Engine,
    target: &TargetId,
    asked: &[Asked],
    specs: &[&DeploymentSpec],
) -> Result<Vec<Drift>> {
    looked(engine, target, &Look::of(asked, specs)).await
}

/// What is held against what runs.
struct Look<'a> {
    asked: &'a [Asked],
    specs: &'a [&'a DeploymentSpec],
    /// Its revisions may run beside what is asked for.
    tolerated: Option<&'a DeploymentSpec>,
    /// Modules whose routes are looked at although they are not asked for.
    others: &'a [Token],
    /// Instances that are passed over.
    without: &'a BTreeSet<&'a str>,
    /// How clients are to reach the modules; none while a change is under way, whose steps move ports in their turn.
    reached_as: Option<&'a DeploymentSpec>,
}

impl<'a> Look<'a> {
    fn of(asked: &'a [Asked], specs: &'a [&'a DeploymentSpec]) -> Look<'a> {
        static NONE: BTreeSet<&str> = BTreeSet::new();
        Look { asked, specs, tolerated: None, others: &[], without: &NONE, reached_as: None }
    }
}

async fn looked(engine: &Engine, target: &TargetId, look: &Look<'_>) -> Result<Vec<Drift>> {
    let platform = engine.platform(&target.platform)?;
    let mut instances = platform.observe(target).await?;
    instances.retain(|instance| !look.without.contains(instance.id.as_str()));
    let unwell = unwell(platform.as_ref(), target, look.specs, &instances).await?;
    let mut tables = BTreeMap::new();
    for name in look.others.iter().chain(look.asked.iter().map(|asked| &asked.module)) {
        if !tables.contains_key(name)
            && let Some(table) = engine.store.routes(&RouteTable::key(target, name)).await?
        {
            tables.insert(name.clone(), table);
        }
    }
    let mut drifts = compare(look.asked, look.tolerated, &instances, &unwell, &tables);
    drifts.extend(look.reached_as.map(|spec| doors(spec, &tables)).unwrap_or_default());
    Ok(drifts)
}

/// Where and how clients reach modules otherwise than the spec says. Pure.
pub fn doors(spec: &DeploymentSpec, tables: &BTreeMap<Token, RouteTable>) -> Vec<Drift> {
    let told = spec.modules.iter().filter_map(|module| {
        let table = tables.get(&module.name).filter(|table| !table.weights.0.is_empty())?;
        let mut meant = table.clone();
        routes::describe(&mut meant, module);
        let port = |table: &RouteTable| match table.listen {
            0 => "no port".to_owned(),
            port => format!("port {port}"),
        };
        let name = &module.name;
        let text = if (table.listen, table.internal) != (meant.listen, meant.internal) {
            format!("clients reach {name} at {}, it is to be {}", port(table), port(&meant))
        } else if *table != meant {
            format!("routes of {name} do not have the cookie, the bound of a request or the ports that are asked for")
        } else {
            return None;
        };
        Some(Drift { module: name.clone(), revision: module.revision(), text })
    });
    told.collect()
}

/// An instance that is not well.
struct Unwell {
    instance: String,
    why: String,
}

/// Instances of expected revisions that do not answer their probe, with the reason.
async fn unwell(
    platform: &dyn Platform,
    target: &TargetId,
    specs: &[&DeploymentSpec],
    instances: &[Instance],
) -> Result<BTreeMap<String, String>> {
    let mut work: Vec<BoxFuture<'_, Result<Option<Unwell>>>> = Vec::new();
    for instance in instances.iter().filter(|instance| instance.is_running()) {
        let mut modules = specs.iter().filter_map(|spec| spec.module(&instance.module));
        let module = modules.find(|module| module.revision() == instance.revision);
        let Some(health) = module.and_then(|module| module.health.as_ref()) else { continue };
        work.push(Box::pin(async move {
            let mut why = String::new();
            for at in 0..TRIES {
                if at > 0 {
                    tokio::time::sleep(PAUSE).await;
                }
                match platform.probe(target, instance, &health.probe, health.timeout.0).await? {
                    Ok(()) => return Ok(None),
                    Err(reason) => why = reason,
                }
            }
            Ok(Some(Unwell { instance: instance.id.clone(), why }))
        }));
    }
    let asked = side_by_side(16, work).await.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(asked.into_iter().flatten().map(|found| (found.instance, found.why)).collect())
}

/// The comparison itself. Pure. Of a revision whose number a step is changing only that is judged.
pub fn compare(
    asked: &[Asked],
    tolerated: Option<&DeploymentSpec>,
    instances: &[Instance],
    unwell: &BTreeMap<String, String>,
    tables: &BTreeMap<Token, RouteTable>,
) -> Vec<Drift> {
    let mut drifts = Vec::new();
    let mut say = |module: &Token, revision: &Revision, text: String| {
        drifts.push(Drift { module: module.clone(), revision: revision.clone(), text });
    };
    for asked in asked {
        let Asked { module, revision, least, most, .. } = asked;
        let ours: Vec<&Instance> =
            instances.iter().filter(|it| it.module == *module && it.revision == *revision).collect();
        let running = ours.iter().filter(|it| it.is_running()).count();
        if !(*least as usize..=*most as usize).contains(&running) {
            let should = if asked.is_settled() { most.to_string() } else { format!("{least} to {most}") };
            say(module, revision, format!("{running} instances of {module} {revision} run, {should} should"));
        }
        for instance in ours.iter().filter(|_| asked.is_settled()) {
            if let State::Exited { code, .. } = &instance.state {
                let code = code.map_or("unknown".to_owned(), |code| code.to_string());
                let text = format!("instance {} has ended with exit status {code}", instance.id);
                say(module, revision, text);
            } else if let Some(why) = unwell.get(&instance.id) {
                say(module, revision, format!("instance {} is not healthy: {why}", instance.id));
            }
        }
        if let Some(share) = asked.traffic {
            shares(asked, share, &ours, tables.get(module), &mut say);
        }
    }
    let known = |instance: &Instance| {
        let old = tolerated.and_then(|spec| spec.module(&instance.module));
        let asks = |asked: &Asked| asked.module == instance.module && asked.revision == instance.revision;
        asked.iter().any(asks) || old.is_some_and(|module| module.revision() == instance.revision)
    };
    for instance in instances.iter().filter(|it| !known(it)) {
        let text = format!("instance {} is left over: nothing asks for it", instance.id);
        say(&instance.module, &instance.revision, text);
    }
    for (name, table) in tables.iter().filter(|(name, _)| !asked.iter().any(|asked| asked.module == **name)) {
        let forgotten = tolerated.is_some_and(|spec| spec.module(name).is_some());
        if let Some(revision) = table.weights.0.keys().next().filter(|_| !forgotten) {
            let text = format!("traffic of {name} still goes to {}, nothing asks for it", table.weights);
            say(name, revision, text);
        }
    }
    drifts
}

fn shares(
    asked: &Asked,
    share: Share,
    ours: &[&Instance],
    table: Option<&RouteTable>,
    say: &mut impl FnMut(&Token, &Revision, String),
) {
    let Asked { module: name, revision, .. } = asked;
    let Some(table) = table else {
        if share.least > 0 {
            say(name, revision, format!("{name} has no routes: nobody is sent to it"));
        }
        return;
    };
    if !share.is(table.weights.of(revision)) {
        let now = if table.weights.0.is_empty() { "nobody".to_owned() } else { table.weights.to_string() };
        let should = match (share.least, share.most) {
            (100, _) => "all of it should go".to_owned(),
            (0, 0) => "none of it should go".to_owned(),
            (least, most) if least == most => format!("{most} % should go"),
            (least, most) => format!("{least} to {most} % should go"),
        };
        say(name, revision, format!("traffic of {name} goes to {now}, {should} to {revision}"));
    }
    if !asked.is_settled() || share.least == 0 {
        return;
    }
    let routed = table.endpoints.get(revision).map(Vec::as_slice).unwrap_or_default();
    let running = |id: &str| ours.iter().any(|it| it.id == id && it.is_running());
    for endpoint in routed.iter().filter(|endpoint| !running(&endpoint.instance)) {
        say(name, revision, format!("routes of {name} name {}, which does not run", endpoint.instance));
    }
    for instance in
        ours.iter().filter(|it| it.is_running() && !routed.iter().any(|endpoint| endpoint.instance == it.id))
    {
        say(name, revision, format!("instance {} runs and is not in the routes", instance.id));
    }
}
