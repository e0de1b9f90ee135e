//! Asks: a question goes to a panel of experts, one opinion comes back, and everything that came of it is kept.
//!
//! Answers `rpc.experts.*`, works on `job.experts.advise`, hears `evt.deployment.closed`; says `job.orchestrator.advice`,
//! `sig.consultation.progress` and `evt.consultation.formed`, and writes `log.consultation.<question>`. Experts are
//! models behind [`providers`], programs behind a door on the bus, and rules ([`heart::rules`]). What an opinion is made
//! of is in `opinion`; consensus workers compute it.
//!
//! It must never let a text decide (only the closed schema votes), never send a secret that it can recognise, never count
//! a missing answer as a "no", never spend what no budget has, and never decide about a deployment: the gate does.

#![warn(missing_docs)]

mod asking;
pub mod config;
mod error;
mod handlers;
pub mod heart;
mod keys;
mod metrics;
mod panel;
mod plug_in;
mod store;

use bus::{WorkRules, subjects};
use chassis::Service;

pub use config::ExpertsConfig;
pub use error::Error;

/// Subscribes; experts are opened, nobody is asked yet.
pub async fn start(service: Service<ExpertsConfig>) -> Result<(), Error> {
    use subjects::experts::{ADVISE, ADVISE_NOW, ASK, HISTORY, LIST, REPLAY, SHOW, TEST};
    let ctx = handlers::open(&service)?;
    let at_once = service.config.concurrency;
    let rules = WorkRules { concurrency: at_once, ..WorkRules::default() };
    service.work(&ADVISE, None, rules, ctx.clone(), handlers::on_advise).await?;
    service.hear(&subjects::deployment::CLOSED, ctx.clone(), handlers::on_closed).await?;
    service.answer_at_once(&ASK, at_once, ctx.clone(), handlers::on_ask).await?;
    service.answer_at_once(&ADVISE_NOW, at_once, ctx.clone(), handlers::on_advise_now).await?;
    service.answer(&LIST, ctx.clone(), handlers::on_list).await?;
    service.serve(&TEST, at_once, ctx.clone(), handlers::on_test).await?;
    service.answer(&HISTORY, ctx.clone(), handlers::on_history).await?;
    service.answer(&SHOW, ctx.clone(), handlers::on_show).await?;
    service.answer(&REPLAY, ctx, handlers::on_replay).await?;
    Ok(())
}
