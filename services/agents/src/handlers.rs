//! What the agents hear, and what they do then.

use std::sync::Arc;

use bus::Meta;
use chassis::Service;
use model::{
    Code, Fault,
    command::{DriftReply, DriftRequest, ReviewRequest, Reviews},
    deployment::{StepJob, StepStop},
    step::Agent,
    view::Summary,
};

use crate::{
    agents::{self, architect, certifier, integrator, security, validator},
    config::AgentsConfig,
    context::{Engine, Platforms},
    counts::Traffic,
    door::HttpDoor,
    error::Result,
    http::Http,
    metrics::Counts,
    office::Office,
    runner::{Runner, journal::Journal},
    store::BusStore,
};

/// What all handlers share.
pub(crate) struct Handlers {
    engine: Arc<Engine>,
    runner: Runner,
}

type Ctx = Arc<Handlers>;

impl Handlers {
    pub(crate) fn new(service: &Service<AgentsConfig>, platforms: Platforms) -> Result<Handlers> {
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
        let runner = Runner::new(Arc::clone(&engine), journal, Counts::new(&service.metrics));
        Ok(Handlers { engine, runner })
    }
}

pub(crate) async fn on_step(ctx: Ctx, job: StepJob, _: Meta) -> std::result::Result<(), Fault> {
    ctx.runner.on_step(job).await
}

pub(crate) async fn on_stop(ctx: Ctx, _: String, stop: StepStop) {
    ctx.runner.on_stop(stop);
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

/// Every deployment that is over has its certificate, also one that came to no step of the certifier.
pub(crate) async fn on_closed(ctx: Ctx, summary: Summary, _: Meta) -> Result<()> {
    Box::pin(certifier::issue(&ctx.engine, &summary.deployment)).await.map(drop)
}

/// Certificates that the audit log did not answer for are brought to it again.
pub(crate) async fn bring_to_log(ctx: Ctx) -> Result<()> {
    certifier::bring_to_log(&ctx.engine).await
}
