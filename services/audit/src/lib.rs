//! Remembers: keeps every fact of the engine in a log that cannot be rewritten unnoticed.
//!
//! Hears every stream of the bus and `rpc.audit.append`, answers `rpc.audit.*`. What is kept, in which order and how
//! often (once) is in [`heart`], which does no I/O; the log's files are `ledger`'s. It must never say that something is
//! kept before it is on disk, never sign what contradicts what was signed, never drop what it cannot read, and never
//! decide anything about deployments.
//!
//! - [`log`]: the log on disk: journal, tiles, checkpoint; survives a kill at any instruction.
//! - [`pipeline`]: what runs: hearing, sequencing, signing, indexing, witnessing.
//! - [`index`]: what is searched; made from the log, never the other way round.
//! - [`export`]: the log for other tools. [`witness`]: the other side, for another machine.

#![warn(missing_docs)]

pub mod config;
mod error;
pub mod export;
mod handlers;
pub mod heart;
pub mod index;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod pipeline;
pub mod witness;

use bus::subjects::audit as speech;
use chassis::Service;

pub use config::AuditConfig;
pub use error::Error;

/// Opens the log, goes on where it was, and answers.
pub async fn start(service: Service<AuditConfig>) -> Result<(), Error> {
    let ctx = pipeline::begin(&service).await?;
    service.answer_at_once(&speech::APPEND, 256, ctx.clone(), handlers::on_append).await?;
    service.answer_at_once(&speech::AWAIT, 1024, ctx.clone(), handlers::on_await).await?;
    service.answer(&speech::STATUS, ctx.clone(), handlers::on_status).await?;
    service.answer(&speech::PROVE, ctx.clone(), handlers::on_prove).await?;
    service.answer(&speech::CONSISTENCY, ctx.clone(), handlers::on_consistency).await?;
    service.answer(&speech::ENTRIES, ctx.clone(), handlers::on_entries).await?;
    service.answer(&speech::SEARCH, ctx.clone(), handlers::on_search).await?;
    service.answer(&speech::REPORT, ctx, handlers::on_report).await?;
    Ok(())
}
