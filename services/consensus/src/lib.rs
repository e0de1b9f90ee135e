//! Computes: many experts' answers become one opinion, on threads of its own.
//!
//! Answers `rpc.consensus.weigh` (one question, full answers) and `rpc.consensus.weigh-votes` (many questions, votes
//! only); calls are shared by all workers, so more workers mean more throughput. What counts as agreement is in
//! `opinion`, which does no I/O.
//!
//! It must never keep anything between calls that changes a result, never ask an expert, and never let its arithmetic
//! hold up the threads that speak to the bus.

#![warn(missing_docs)]

mod compute;
pub mod config;
mod error;
mod handlers;
mod metrics;

use bus::subjects::consensus::{WEIGH, WEIGH_VOTES};
use chassis::Service;

pub use config::ConsensusConfig;
pub use error::Error;

/// Measures the kernels, then subscribes.
pub async fn start(service: Service<ConsensusConfig>) -> Result<(), Error> {
    let ctx = handlers::open(&service).await?;
    let at_once = ctx.at_once();
    service.answer_at_once(&WEIGH, at_once, ctx.clone(), handlers::on_weigh).await?;
    service.answer_at_once(&WEIGH_VOTES, at_once, ctx, handlers::on_weigh_votes).await?;
    Ok(())
}
