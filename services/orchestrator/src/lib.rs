//! Decides: one event-sourced aggregate per deployment, one per target, any number of replicas.
//!
//! Answers the calls of `subjects::orchestrator`, writes the journals of deployments and targets, hands steps to the
//! agents and asks how they go. What follows from what is in [`heart`], which does no I/O. It never touches a
//! platform or a route itself, and never decides on anything but journals.

mod aside;
pub mod config;
mod error;
pub mod handlers;
pub mod heart;
mod hub;
mod metrics;
mod signers;
mod store;
mod trace;

use std::sync::Arc;

use bus::{Attempt, Start, WorkRules, subjects};
use chassis::Service;
use futures::StreamExt;

pub use config::OrchestratorConfig as Config;
pub use error::Error;

/// Subscribes, recovers what is not over, and begins to drive it.
pub async fn start(service: Service<Config>) -> Result<(), Error> {
    let signers = signers::Source::open(&service.config.approvals).await?;
    let counts = metrics::Counts::new(&service.metrics);
    let (bus, me, clock) = (service.bus.clone(), service.replica.clone(), service.clock.clone());
    let (config, tasks, terms) = (service.config.clone(), service.tasks.clone(), signers.in_force());
    let hub = Arc::new(hub::Hub::new(bus, me, clock, config, tasks, counts, terms));
    signers.follow(&service, &hub);
    follow(&service, &hub).await?;
    hub.sweep().await?;
    live_among_others(&service, &hub).await?;
    answer(&service, &hub).await
}

/// Follows both kinds of journals; the sweep that comes after finds what was written before.
async fn follow(service: &Service<Config>, hub: &Arc<hub::Hub>) -> Result<(), Error> {
    let mut targets =
        hub.bus.follow(&subjects::target::JOURNAL, Start::Now).await.attempt("follow targets")?;
    let mut deployments =
        hub.bus.follow(&subjects::deployment::JOURNAL, Start::Now).await.attempt("follow the journals")?;
    let heard = hub.clone();
    critical(service, "follow targets", async move {
        while let Some(entry) = targets.next().await {
            if let Err(error) = heard.heard_target(&entry).await {
                tracing::warn!(%error, "a target's record was not folded; the sweep finds it");
            }
        }
    });
    let heard = hub.clone();
    critical(service, "follow deployments", async move {
        while let Some(entry) = deployments.next().await {
            if let Err(error) = heard.heard(entry).await {
                tracing::warn!(%error, "a record was not taken in; the sweep finds it");
            }
        }
    });
    Ok(())
}

/// Work that never ends by itself ends with the service, so that an orderly stop does not wait for it.
fn critical(service: &Service<Config>, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let stopping = service.stopping();
    service.tasks.critical(name, async move {
        stopping.run_until_cancelled(work).await;
        Ok::<(), Error>(())
    });
}

/// Beats, hears others beat, claims from the silent, drains when told, hands over when stopping.
async fn live_among_others(service: &Service<Config>, hub: &Arc<hub::Hub>) -> Result<(), Error> {
    let mut beats =
        hub.bus.listen(&subjects::orchestrator::BEAT, None).await.attempt("hear other replicas")?;
    let mut drains = hub
        .bus
        .listen(&subjects::orchestrator::DRAIN, Some(hub.me.as_str()))
        .await
        .attempt("hear who asks to drain")?;
    let heard = hub.clone();
    critical(service, "hear beats", async move {
        while let Some(beat) = beats.next().await {
            heard.beat(&beat.message);
        }
    });
    let asked = hub.clone();
    critical(service, "hear drains", async move {
        while let Some(drain) = drains.next().await {
            asked.drain(&drain.meta.principal).await;
        }
    });
    service.every("beat", hub.config.beat.0, hub.clone(), |hub| async move { hub.live().await });
    service.every("patrol", hub::PACE, hub.clone(), |hub| async move {
        hub.patrol().await;
        Ok::<(), Error>(())
    });
    service.every("sweep", hub.config.sweep.0, hub.clone(), |hub| async move { hub.sweep().await });
    Ok(())
}

async fn answer(service: &Service<Config>, hub: &Arc<hub::Hub>) -> Result<(), Error> {
    use subjects::orchestrator as ours;
    let rules = WorkRules { concurrency: hub.config.concurrency, ..WorkRules::default() };
    service.work(&ours::ADVICE, None, rules, hub.clone(), handlers::on_advice).await?;
    service.answer(&ours::SUBMIT, hub.clone(), handlers::on_submit).await?;
    service.answer(&ours::PLAN, hub.clone(), handlers::on_plan).await?;
    service.answer(&ours::STATUS, hub.clone(), handlers::on_status).await?;
    service.answer(&ours::LIST, hub.clone(), handlers::on_list).await?;
    service.answer(&ours::HISTORY, hub.clone(), handlers::on_history).await?;
    service.answer(&ours::COMMAND, hub.clone(), handlers::on_command).await?;
    service.answer(&ours::TARGET, hub.clone(), handlers::on_target).await?;
    service.answer(&ours::DRIFT, hub.clone(), handlers::on_drift).await?;
    service.answer(&ours::HOLDINGS, hub.clone(), handlers::on_holdings).await?;
    service.answer(&ours::JOURNAL, hub.clone(), handlers::on_journal).await?;
    service.inbox(&subjects::inbox::SUBMIT, hub.clone(), handlers::on_inbox).await.map_err(Error::from)
}
