//! What the agents hear, and what they do then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bus::{Bus, Meta, Signalled};
use chassis::Service;
use model::{
    Code, DeploymentSpec, Fault, Token,
    command::{DriftReply, DriftRequest, Holding, HoldingsReply, HoldingsRequest, ReviewRequest, Reviews},
    deployment::{StepAnswer, StepJob, StepQuestion, StepStop},
    plan::Versions,
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
    dated::Dated,
    deploy::leftovers,
    door::HttpDoor,
    error::Result,
    http::Http,
    metrics::Counts,
    runner::{Runner, Running, journal::Journal},
    signing::Signing,
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
    pub(crate) fn new(
        service: &Service<AgentsConfig>,
        certifier: Bus,
        platforms: Platforms,
    ) -> Result<(Handlers, Running)> {
        let engine = Arc::new(Engine {
            runner: service.replica.to_string(),
            config: Arc::clone(&service.config),
            clock: service.clock.clone(),
            platforms,
            store: Arc::new(BusStore { runner: service.bus.clone(), certifier }),
            traffic: Traffic::new(service.bus.clone(), service.tasks.clone()),
            http: Http::guarded(service.config.egress()?),
            door: Arc::new(HttpDoor { http: Http::default(), host: service.config.data_plane.clone() }),
            signing: Signing::new(&service.config, &service.replica),
            dated: Dated::default(),
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

pub(crate) async fn on_stop(ctx: Ctx, stop: Signalled<StepStop>) {
    ctx.runner.stop(stop.message).await;
}

pub(crate) async fn tidy(ctx: Ctx) -> Result<()> {
    ctx.runner.tidy().await
}

/// The checking agents' findings on a plan; touches nothing and keeps nothing.
pub(crate) async fn on_review(ctx: Ctx, asked: ReviewRequest, _: Meta) -> Result<Reviews> {
    let (spec, baseline) = (&asked.spec, asked.baseline.as_ref());
    let platform = ctx.engine.platform(&spec.target)?;
    let capacity = platform.capacity().await?;
    let mut architect = architect::check(spec, baseline, capacity).0;
    architect.extend(architect::ports(spec, baseline, &ctx.engine.store.tables().await?));
    let mut security = security::check(spec, ctx.engine.now());
    security.extend(security::missing_secrets(spec, &ctx.engine.config));
    security.extend(security::registries_inside(spec, &ctx.engine.config).await);
    architect.extend(architect::unenforced(platform.unenforced(&spec.modules).await?));
    let found = [
        (Agent::Architect, architect),
        (Agent::Integrator, integrator::check(spec, baseline)),
        (Agent::Security, security),
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
    let trial = asked.under_way.iter().map(|under_way| &*under_way.spec);
    let specs: Vec<&DeploymentSpec> = trial.chain(&asked.spec).collect();
    let drifts = match (&asked.under_way, &asked.spec) {
        (Some(under_way), _) => {
            validator::against(&ctx.engine, &asked.target, &under_way.asked, &specs).await?
        }
        (None, Some(spec)) => validator::differences(&ctx.engine, &asked.target, Some(spec)).await?,
        (None, None) => {
            let text = format!("what should run at {} was not said: ask the orchestrator", asked.target);
            return Err(Fault::new(Code::Invalid, text));
        }
    };
    let versions = Versions::of(specs);
    let under_way = asked.under_way.map(|under_way| under_way.text);
    Ok(DriftReply { drifts, under_way, versions, at: ctx.engine.now() })
}

/// What a target holds; what nothing asks for is taken away when a fence is given.
pub(crate) async fn on_holdings(
    ctx: Ctx,
    asked: HoldingsRequest,
    _: Meta,
) -> std::result::Result<HoldingsReply, Fault> {
    let target = &asked.target;
    let specs: Vec<&DeploymentSpec> = asked.spec.iter().chain(&asked.trial).collect();
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
    // A step that changes nothing on the platform, such as a hook, was seen by its runner alone.
    let mut highest = platform.highest_fence(target).await.map_err(crate::Error::from)?;
    highest = highest.max(ctx.runner.highest_fence(target).await?);
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

/// What the keyring says of the signing keys is published.
pub(crate) async fn publish_keys(ctx: Ctx) -> Result<()> {
    ctx.engine.signing.keys.publish_news(ctx.engine.store.as_ref()).await
}

/// Certificates for which the audit log did not answer are handed to it again; those that a wrong clock dated ahead are
/// issued anew.
pub(crate) async fn tend_certificates(ctx: Ctx) -> Result<()> {
    Box::pin(certifier::renew(&ctx.engine)).await?;
    certifier::log_missing(&ctx.engine).await
}
