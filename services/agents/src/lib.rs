//! Does: the runner of steps and the ten agents, one module each.
//!
//! Answers `rpc.agents.step.<agent>`, one lane per agent with a concurrency of its own, so that one agent's trouble does
//! not starve the others, and then, under its own name, how those steps go; answers `rpc.agents.review` and
//! `rpc.agents.drift`; hears `sig.step.stop` and `sig.traffic.count`; says `sig.step.progress`. The certifier hears
//! `evt.deployment.closed` too and hands what it signed to the audit log. How a step is run at least once with its
//! effects at most once per fence is in [`runner`].
//!
//! It must never decide what happens next to a deployment (the orchestrator does), never act under a fence lower than
//! one already seen on the target, never print a secret, and never call something measured that was not.

#![warn(missing_docs)]

pub mod agents;
pub mod analysis;
pub mod config;
pub mod context;
pub mod counts;
pub mod dated;
pub mod deploy;
pub mod door;
pub mod egress;
mod error;
mod evidence;
mod handlers;
pub mod http;
pub mod metrics;
pub mod platforms;
pub mod runner;
pub mod signing;
pub mod store;

use std::{process::ExitCode, sync::Arc, time::Duration};

use bus::{Attempt, subjects};
use chassis::Service;
use model::step::Agent;

pub use config::AgentsConfig;
pub use context::Platforms;
pub use error::Error;
pub use platforms::take_down;
pub use sandbox::output;

/// How often old entries of the runner's journal are dropped.
const TIDY: Duration = Duration::from_secs(3600);
/// How often platforms are tended.
const TEND: Duration = Duration::from_secs(1);
/// How often it is looked whether the keyring says something new.
const KEYS: Duration = Duration::from_secs(2);
/// How often certificates that are not in the audit log yet, or wrongly dated, are seen to.
const CERTIFICATES: Duration = Duration::from_secs(30);

/// So many questions about steps are held at once, each for seconds; eight times as many wait.
const ASKED_AT_ONCE: usize = 4096;

/// The whole process: the service, or what keeps the output of an instance that it started.
pub fn main(package: &'static str) -> ExitCode {
    if output::serve_if_asked() { ExitCode::SUCCESS } else { chassis::run(package, start) }
}

/// Starts with the platforms that the settings name.
pub async fn start(service: Service<AgentsConfig>) -> Result<(), Error> {
    let platforms = platforms::of(&service.config, &service.clock)?;
    start_with(service, platforms).await
}

/// Starts with these platforms, whatever the settings name.
pub async fn start_with(service: Service<AgentsConfig>, platforms: Platforms) -> Result<(), Error> {
    let certifier = service.bus.another(bus::Role::Certifier).await.attempt("connect as the certifier")?;
    certifier.check().await.attempt("look what the certifier may do")?;
    let (handlers, running) = handlers::Handlers::new(&service, certifier.clone(), platforms)?;
    let ctx = Arc::new(handlers);
    service.tasks.critical("run steps", running.run());
    // Stops first: a step that is taken must be stoppable; then the name under which it is asked for.
    service.listen(&subjects::agents::STOP, None, ctx.clone(), handlers::on_stop).await?;
    answer_for_steps(&service, &ctx).await?;
    service.answer(&subjects::agents::REVIEW, ctx.clone(), handlers::on_review).await?;
    service.answer(&subjects::agents::DRIFT, ctx.clone(), handlers::on_drift).await?;
    service.hear_by(&certifier, &subjects::deployment::CLOSED, ctx.clone(), handlers::on_closed).await?;
    service.every("tend the certificates", CERTIFICATES, ctx.clone(), handlers::tend_certificates);
    service.answer(&subjects::agents::HOLDINGS, ctx.clone(), handlers::on_holdings).await?;
    service.every("tend the platforms", TEND, ctx.clone(), handlers::tend);
    service.every("publish the signing keys", KEYS, ctx.clone(), handlers::publish_keys);
    service.every("tidy the runner's journal", TIDY, ctx, handlers::tidy);
    Ok(())
}

/// Steps that are handed over stop coming when the service stops; how those that run go is told until they have ended and
/// their ends were fetched.
async fn answer_for_steps(
    service: &Service<AgentsConfig>,
    ctx: &Arc<handlers::Handlers>,
) -> Result<(), Error> {
    let nameless = |bad: model::id::BadToken| bus::Error::from(bad);
    let name = subjects::agents::STEP_STATE.to(service.replica.as_str()).map_err(nameless);
    let name = name.attempt("name the call under which this runner is asked")?;
    let asked = ctx.clone();
    let state = move |question, meta| handlers::on_step_state(asked.clone(), question, meta);
    let named = service.bus.answer_to(&name, ASKED_AT_ONCE, state).await;
    let named = named.attempt("answer how a step goes")?;
    let sought = ctx.clone();
    let find = move |question, _| handlers::on_step_find(sought.clone(), question);
    let found = service.bus.answer_if_known(&subjects::agents::STEP_FIND, find).await;
    let found = found.attempt("answer who has a step")?;
    let runner = ctx.runner.clone();
    service.on_stop(move || async move {
        runner.leave().await;
        drop((named, found));
    });
    for agent in Agent::ALL {
        let lane = subjects::agents::STEP.to(agent.as_str()).map_err(nameless);
        let lane = lane.attempt(format!("name the lane of the {agent} agent"))?;
        service.answer_to(&lane, ASKED_AT_ONCE, ctx.clone(), handlers::on_step).await?;
    }
    Ok(())
}
