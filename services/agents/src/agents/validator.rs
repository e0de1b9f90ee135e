//! 8: what runs equals the plan, and consumers and providers still match after the change.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::BoxFuture;
use model::{
    DeploymentSpec, Finding, Outcome, Severity, TargetId, Token,
    command::Drift,
    deployment::StepJob,
    plan::Revision,
    route::RouteTable,
    spec::Module,
    step::{Agent, Stage, StepResult},
};
use platform::{Instance, Platform, State};

use super::{blocking, finding, integrator, judged};
use crate::{
    Error,
    context::{Ctx, Engine, side_by_side},
    deploy::{leftovers, planes},
    door,
    error::Result,
    openapi,
};

/// How long data planes may take to have the last table in force.
const IN_FORCE: Duration = Duration::from_secs(5);
/// A probe is tried so often; one that is lost says nothing.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// Compares what runs with the spec; on the way back with the baseline.
pub async fn validate(job: &StepJob, ctx: &Ctx) -> Result<StepResult> {
    let back = job.step.stage == Stage::Rollback;
    let expected = if back { job.baseline.as_deref() } else { Some(job.spec.as_ref()) };
    // Until the promotion the old set may stand beside the new one.
    let tolerated = if back { None } else { job.baseline.as_deref() };
    let target = job.spec.target_id();
    let modules = job.spec.modules.iter().chain(job.baseline.iter().flat_map(|spec| &spec.modules));
    let names: Vec<Token> = modules.map(|module| module.name.clone()).collect();
    let specs: Vec<&DeploymentSpec> = expected.into_iter().chain(tolerated).collect();
    let mut findings = leftovers(job, ctx, &specs).await?;
    let stays: BTreeSet<&str> = findings.iter().map(|finding| finding.field.as_str()).collect();
    let drifts = looked(ctx, &target, expected, tolerated, &names, &stays).await?;
    findings.extend(drifts.iter().map(|drift| {
        finding("validator/difference", Severity::High, Some(&drift.module), drift.text.clone())
    }));
    in_force(job, ctx, &target, expected, &mut findings).await?;
    if !back {
        findings.extend(contracts(job, ctx).await?);
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
    for module in expected.iter().flat_map(|spec| &spec.modules).filter(|module| module.expose.is_some()) {
        let Some(table) = ctx.store.routes(&RouteTable::key(target, &module.name)).await? else {
            continue;
        };
        match planes::acknowledge(ctx, &table, IN_FORCE).await {
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
    let path = door::path(job, &module.name);
    match door::opens(ctx, table, path, IN_FORCE).await {
        // Shares that are not as they should be are told by the comparison.
        Ok(door::Opened::By(_, status)) if status < 500 => Ok(None),
        Ok(door::Opened::By(revision, status)) => {
            let text = format!("clients of {} get {status} of {revision} for {path}", module.name);
            told("validator/answers-with-errors", Severity::High, text)
        }
        Ok(door::Opened::Late) => {
            let text = format!("{path} of {} took too long: who answers clients is not known", module.name);
            told("validator/unknown-door", Severity::Low, text)
        }
        Err(Error::Trouble(text)) => told("validator/closed-door", Severity::High, text),
        Err(error) => Err(error),
    }
}

/// What differs between what should run and what does. `tolerated` revisions may run beside it; `others` are modules
/// whose routes are looked at although they are not expected.
pub async fn differences(
    engine: &Engine,
    target: &TargetId,
    expected: Option<&DeploymentSpec>,
    tolerated: Option<&DeploymentSpec>,
    others: &[Token],
) -> Result<Vec<Drift>> {
    looked(engine, target, expected, tolerated, others, &BTreeSet::new()).await
}

/// The same without these instances.
async fn looked(
    engine: &Engine,
    target: &TargetId,
    expected: Option<&DeploymentSpec>,
    tolerated: Option<&DeploymentSpec>,
    others: &[Token],
    without: &BTreeSet<&str>,
) -> Result<Vec<Drift>> {
    let platform = engine.platform(&target.platform)?;
    let mut instances = platform.observe(target).await?;
    instances.retain(|instance| !without.contains(instance.id.as_str()));
    let unwell = unwell(platform.as_ref(), target, expected, &instances).await?;
    let mut tables = BTreeMap::new();
    for name in others.iter().chain(expected.iter().flat_map(|spec| &spec.modules).map(|module| &module.name))
    {
        if !tables.contains_key(name)
            && let Some(table) = engine.store.routes(&RouteTable::key(target, name)).await?
        {
            tables.insert(name.clone(), table);
        }
    }
    Ok(compare(expected, tolerated, &instances, &unwell, &tables))
}

/// An instance, and why it is not well.
type Unwell = (String, String);

/// Instances of expected revisions that do not answer their probe, with the reason.
async fn unwell(
    platform: &dyn Platform,
    target: &TargetId,
    expected: Option<&DeploymentSpec>,
    instances: &[Instance],
) -> Result<BTreeMap<String, String>> {
    let mut work: Vec<BoxFuture<'_, Result<Option<Unwell>>>> = Vec::new();
    for instance in instances.iter().filter(|instance| instance.is_running()) {
        let module = expected.and_then(|spec| spec.module(&instance.module));
        let module = module.filter(|module| module.revision() == instance.revision);
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
            Ok(Some((instance.id.clone(), why)))
        }));
    }
    let asked = side_by_side(16, work).await.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(asked.into_iter().flatten().collect())
}

/// The comparison itself. Pure.
pub fn compare(
    expected: Option<&DeploymentSpec>,
    tolerated: Option<&DeploymentSpec>,
    instances: &[Instance],
    unwell: &BTreeMap<String, String>,
    tables: &BTreeMap<Token, RouteTable>,
) -> Vec<Drift> {
    let mut drifts = Vec::new();
    let mut say = |module: &Token, revision: &Revision, text: String| {
        drifts.push(Drift { module: module.clone(), revision: revision.clone(), text });
    };
    for module in expected.iter().flat_map(|spec| &spec.modules) {
        let revision = module.revision();
        let ours: Vec<&Instance> =
            instances.iter().filter(|it| it.module == module.name && it.revision == revision).collect();
        let running = ours.iter().filter(|it| it.is_running()).count();
        if running != module.replicas as usize {
            say(
                &module.name,
                &revision,
                format!("{running} instances of {} {revision} run, {} should", module.name, module.replicas),
            );
        }
        for instance in &ours {
            if let State::Exited { code, .. } = &instance.state {
                let code = code.map_or("unknown".to_owned(), |code| code.to_string());
                say(
                    &module.name,
                    &revision,
                    format!("instance {} has ended with exit status {code}", instance.id),
                );
            } else if let Some(why) = unwell.get(&instance.id) {
                say(&module.name, &revision, format!("instance {} is not healthy: {why}", instance.id));
            }
        }
        if module.expose.is_some() {
            routes(module, &revision, &ours, tables.get(&module.name), &mut say);
        }
    }
    let known = |spec: Option<&DeploymentSpec>, instance: &Instance| {
        spec.and_then(|spec| spec.module(&instance.module))
            .is_some_and(|module| module.revision() == instance.revision)
    };
    for instance in instances.iter().filter(|it| !known(expected, it) && !known(tolerated, it)) {
        say(
            &instance.module,
            &instance.revision,
            format!("instance {} is left over: nothing asks for it", instance.id),
        );
    }
    for (name, table) in
        tables.iter().filter(|(name, _)| expected.is_none_or(|spec| spec.module(name).is_none()))
    {
        let forgotten = tolerated.is_some_and(|spec| spec.module(name).is_some());
        if let Some(revision) = table.weights.0.keys().next().filter(|_| !forgotten) {
            say(
                name,
                revision,
                format!("traffic of {name} still goes to {}, nothing asks for it", table.weights),
            );
        }
    }
    drifts
}

fn routes(
    module: &Module,
    revision: &Revision,
    ours: &[&Instance],
    table: Option<&RouteTable>,
    say: &mut impl FnMut(&Token, &Revision, String),
) {
    let name = &module.name;
    let Some(table) = table else {
        say(name, revision, format!("{name} is exposed and has no routes"));
        return;
    };
    if table.weights.of(revision) != 100 {
        let now = if table.weights.0.is_empty() { "nobody".to_owned() } else { table.weights.to_string() };
        say(name, revision, format!("traffic of {name} goes to {now}, all of it should go to {revision}"));
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

/// Holds the new contracts against the old ones. A break that the version does not announce (a higher first number)
/// fails the release; an announced one is told.
async fn contracts(job: &StepJob, ctx: &Ctx) -> Result<Vec<Finding>> {
    let (target, mut findings) = (job.spec.target_id(), Vec::new());
    let platform = ctx.platform(&target.platform)?;
    for new in job.spec.modules.iter().filter(|module| module.openapi.is_some()) {
        let Some(old) = job.baseline.as_ref().and_then(|spec| spec.module(&new.name)) else { continue };
        if old.openapi.is_none() || old.revision() == new.revision() {
            continue;
        }
        let kept =
            ctx.store.measurement(&integrator::contract_key(&target, &new.name, &old.revision())).await?;
        let before = match kept {
            Some(document) => Ok(document),
            None => integrator::contract(ctx, platform.as_ref(), &target, old, &old.revision()).await,
        };
        let now = integrator::contract(ctx, platform.as_ref(), &target, new, &new.revision()).await;
        match (before, now) {
            (Ok(before), Ok(now)) => {
                findings.extend(broken(&job.spec, old, new, &openapi::breaking(&before, &now)))
            }
            (before, now) => {
                let why = before.err().or(now.err()).unwrap_or_default();
                let text = format!("the contracts of {} could not be compared: {why}", new.name);
                findings.push(finding("validator/no-contract", Severity::Low, Some(&new.name), text));
            }
        }
    }
    Ok(findings)
}

fn broken(spec: &DeploymentSpec, old: &Module, new: &Module, breaks: &[openapi::Breaking]) -> Vec<Finding> {
    let major = |module: &Module| semver::Version::parse(&module.version).ok().map(|version| version.major);
    let announced = matches!((major(old), major(new)), (Some(old), Some(new)) if new > old);
    let severity = if announced { Severity::Medium } else { Severity::High };
    let consumers: Vec<&str> = spec
        .modules
        .iter()
        .filter(|module| module.depends_on.iter().any(|dependency| dependency.module == new.name))
        .map(|module| module.name.as_str())
        .collect();
    let whom =
        if consumers.is_empty() { String::new() } else { format!("; {} depend on it", consumers.join(", ")) };
    breaks
        .iter()
        .map(|what| {
            let text =
                format!("{} {} breaks clients of {}: {what}{whom}", new.name, new.version, old.version);
            let mut found = finding("validator/breaking-change", severity, Some(&new.name), text);
            found.cure = "keep what was promised, or announce the break by a higher major version".to_owned();
            found
        })
        .collect()
}
