//! The data plane: carries requests to the instances that the route tables name, and measures them by revision.
//!
//! Hears the bucket `routes`, says `sig.traffic.count` four times a second. Where a request goes is decided in
//! [`route`] and who is left out for a while in [`eject`], which do no I/O; [`proxy`] carries and knows nothing of
//! NATS. It must never decide about a deployment: it follows tables, and goes on with the last ones it knows when
//! nobody tells it anything.

#![warn(missing_docs)]

mod budget;
pub mod config;
mod count;
pub mod eject;
mod error;
mod handlers;
mod handover;
pub mod metrics;
pub mod proxy;
pub mod route;
mod store;

use chassis::{Backoff, Service};
use tokio_util::sync::CancellationToken;

use handover::Turn;

pub use config::TrafficConfig;
pub use error::Error;
pub use handover::Place;
pub use store::Store;

/// Serves the last known routes, then follows those that NATS has.
pub async fn start(service: Service<TrafficConfig>) -> Result<(), Error> {
    let ctx = handlers::Ctx::new(&service)?;
    carry(&service, &ctx);
    let turn = match &service.config.handover_dir {
        Some(folder) => Some(Turn::begin(Place::new(folder), &ctx.plane).await?),
        None => None,
    };
    ctx.begin().await;
    if let Some((turn, before)) = turn {
        turn.take(before, &ctx.plane).await?;
        take_turns(&service, &ctx, turn);
    }
    let tasks = &service.tasks;
    tasks.restarted("follow the routes", Backoff::default(), with(&ctx, handlers::follow_routes));
    tasks.restarted("keep a copy of the routes", Backoff::default(), with(&ctx, handlers::keep_copy));
    tasks.restarted("watch the ports", Backoff::default(), with(&ctx, handlers::watch_ports));
    service.every("say the counts", service.config.count_period.0, ctx, handlers::say_counts);
    Ok(())
}

/// The plane lives as long as the service: it ends in order with it, and at once when it crashes.
fn carry(service: &Service<TrafficConfig>, ctx: &handlers::Ctx) {
    let (plane, cut, drain) = (ctx.plane.clone(), ctx.plane.cut_on_drop(), service.config.drain.0);
    let ended = CancellationToken::new();
    let until = ended.clone();
    service.tasks.critical("carry", async move {
        until.cancelled().await;
        drop(cut);
        Ok::<(), Error>(())
    });
    service.on_stop(move || async move {
        plane.stop(drain).await;
        ended.cancel();
    });
}

/// Until another plane takes this one's place.
fn take_turns(service: &Service<TrafficConfig>, ctx: &handlers::Ctx, turn: Turn) {
    let (plane, drain, stopping) = (ctx.plane.clone(), service.config.drain.0, service.stopping());
    service.tasks.restarted("take turns", Backoff::default(), move || {
        let (turn, plane, stopping) = (turn.clone(), plane.clone(), stopping.clone());
        async move { stopping.run_until_cancelled(turn.end(plane, drain)).await.unwrap_or(Ok(())) }
    });
}

fn with<F>(ctx: &handlers::Ctx, task: fn(handlers::Ctx) -> F) -> impl Fn() -> F + Send + 'static
where
    F: 'static,
{
    let ctx = ctx.clone();
    move || task(ctx.clone())
}
