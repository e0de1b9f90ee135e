//! What the agents hear, and what they do then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bus::Meta;
use chassis::Service;
use model::{
    Code, DeploymentSpec, Fault, Token,
    command::{DriftReply, DriftRequest, Holding, HoldingsReply, HoldingsRequest, ReviewRequest, Reviews},
    deployment::{StepAnswer, StepJob, StepQuestion, StepStop},
    route::RouteTable,
    step::Agent,
    view::Summary,
};
use platform::Instance;

use crate::{
    agents::{self, architect, certifier, integrator, security, validator},
    config::AgentsConfig,
    context::{Engine, Platforms},
    counts::Traffic,
    deploy::leftovers,
    door::HttpDoor,
    error::Result,
    http::Http,
    metrics::Counts,
    office::Office,
    runner::{Runner, Running, journal::Journal},
    store::BusStore,
};

/// What all handlers share.
pub(crate) struct Handlers {
    engine: Arc<Engine>,
    pub(crate) runner: Runner,
}

type Ctx = Arc<Handlers>;

impl Handlers {
    /// What all handlers share, and the loop that runs the steps.
    pub(crate) fn new(service: &Service<AgentsConfig>, platforms: Platforms) -> Result<(Handlers, Running)> {
        let engine = Arc::new(Engine {
            runner: service.replica.to_string(),
            config: Arc::clone(&service.config),
            clock: service.clock.clone(),
            platforms,
            store: Arc::new(BusStore(service.bus.clone())),
            traffic: Traffic::new(service.bus.clone(), service.tasks.clone()),
            http: Http::guarded(service.config.egress()?),
            door: Arc::new(HttpDoor { http: Http::default(), host: service.config.data_plane.clone() }),
            office: Office::new(&service.config, &service.replica),
        });
        let journal = Journal::open(service.config.state_dir.join("steps"))?;
        let (runner, running) = Runner::new(Arc::clone(&engine), journal, Counts::new(&service.metrics));
        Ok((Handlers { engine, runner }, running.side_by_side()))
    }
}

/// An owner hands a step over.
pub(crate) async fn on_step(ctx: Ctx, job: StepJob, _: Meta) -> std::result::Result<StepAnswer, Fault> {
    ctx.runner.offer(job).await
}

/// An owner asks how a step goes that this runner has.
pub(crate) async fn on_step_state(
    ctx: Ctx,
    asked: StepQuestion,
    _: Meta,
) -> std::result::Result<StepAnswer, Fault> {
    ctx.runner.ask(asked).await
}

/// An owner asks who has a step.
pub(crate) async fn on_step_find(ctx: Ctx, asked: StepQuestion) -> Option<StepAnswer> {
    ctx.runner.seek(asked).await
}

pub(crate) async fn on_stop(ctx: Ctx, _: String, stop: StepStop) {
    ctx.runner.stop(stop).await;
}

pub(crate) async fn tidy(ctx: Ctx) -> Result<()> {
    ctx.runner.tidy().await
}

/// The checking agents' findings on a plan; touches nothing and keeps nothing.
pub(crate) async fn on_review(ctx: Ctx, asked: ReviewRequest, _: Meta) -> Result<Reviews> {
    let (spec, baseline) = (&asked.spec, asked.baseline.as_ref());
    let capacity = ctx.engine.platform(&spec.target)?.capacity().await?;
    let mut architect = architect::check(spec, baseline, capacity).0;
    architect.extend(architect::ports(spec, baseline, &ctx.engine.store.tables().await?));
    let found = [
        (Agent::Architect, architect),
        (Agent::Integrator, integrator::check(spec, baseline)),
        (Agent::Security, security::check(spec, ctx.engine.now())),
    ];
    Ok(Reviews {
        reviews: found.map(|(agent, findings)| agents::reply(agent, agents::judged(agent, findings))).into(),
    })
}

/// What differs between what should run and what does.
pub(crate) async fn on_drift(
    ctx: Ctx,
    asked: DriftRequest,
    _: Meta,
) -> std::result::Result<DriftReply, Fault> {
    let Some(spec) = &asked.spec else {
        let text = format!("what should run at {} was not said: ask the orchestrator", asked.target);
        return Err(Fault::new(Code::Invalid, text));
    };
    let drifts = validator::differences(&ctx.engine, &asked.target, Some(spec), None, &[]).await?;
    Ok(DriftReply { drifts, at: ctx.engine.now() })
}

/// What a target holds; what nothing asks for is taken away when a fence is given.
pub(crate) async fn on_holdings(
    ctx: Ctx,
    asked: HoldingsRequest,
    _: Meta,
) -> std::result::Result<HoldingsReply, Fault> {
    let target = &asked.target;
    let specs: Vec<&DeploymentSpec> = asked.spec.iter().collect();
    let platform = ctx.engine.platform(&target.platform)?;
    let instances = platform.observe(target).await.map_err(crate::Error::from)?;
    let left: Vec<Instance> = leftovers::of(instances.clone(), &specs, None);
    let mut troubles = BTreeMap::new();
    if let Some(fence) = asked.clear {
        troubles = leftovers::clear(&ctx.engine, target, fence, &specs, &left).await?;
    }
    let holding = |instance: &Instance| {
        let asked_for = !left.iter().any(|left| left.id == instance.id);
        let trouble = troubles.get(&instance.id).cloned();
        Holding {
            id: instance.id.clone(),
            module: instance.module.clone(),
            revision: instance.revision.clone(),
            state: leftovers::state(&instance.state),
            deployment: instance.deployment.clone(),
            asked_for,
            cleared: asked.clear.is_some() && !asked_for && trouble.is_none(),
            trouble,
        }
    };
    let mut highest = platform.highest_fence(target).await.map_err(crate::Error::from)?;
    let modules: BTreeSet<&Token> = instances.iter().map(|instance| &instance.module).collect();
    for module in modules {
        if let Some(table) = ctx.engine.store.routes(&RouteTable::key(target, module)).await? {
            highest = highest.max(table.fence);
        }
    }
    let instances = instances.iter().map(holding).collect();
    Ok(HoldingsReply { instances, highest, at: ctx.engine.now() })
}

/// Keeps output within bounds.
pub(crate) async fn tend(ctx: Ctx) -> Result<()> {
    for platform in ctx.engine.platforms.values() {
        platform.tend().await?;
    }
    Ok(())
}

/// Every deployment that is over has its certificate, also one that came to no step of the certifier.
pub(crate) async fn on_closed(ctx: Ctx, summary: Summary, _: Meta) -> Result<()> {
    Box::pin(certifier::issue(&ctx.engine, &summary.deployment)).await.map(drop)
}

/// What the keyring says of the signing keys is told to everybody.
pub(crate) async fn tell_keys(ctx: Ctx) -> Result<()> {
    ctx.engine.office.tell_keys(ctx.engine.store.as_ref()).await
}

/// Certificates that the audit log did not answer for are brought to it again.
pub(crate) async fn bring_to_log(ctx: Ctx) -> Result<()> {
    certifier::bring_to_log(&ctx.engine).await
}
