//! What the data plane hears and says.

use std::{sync::Arc, time::Duration};

use bus::{BucketEntry, Bus, subjects};
use chassis::{Clock, Health, Service, chain};
use futures::StreamExt;
use model::{ReplicaId, route::RouteTable};
use tokio_util::sync::CancellationToken;

use crate::{
    config::TrafficConfig,
    error::Error,
    metrics,
    proxy::{Applied, Plane},
    store::Store,
};

/// How long the start waits for the tables that NATS has.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub(crate) plane: Plane,
    store: Store,
    bus: Bus,
    clock: Clock,
    health: Health,
    replica: Arc<ReplicaId>,
    counts: metrics::Counts,
    stopping: CancellationToken,
}

impl Ctx {
    /// # Errors
    /// The system does not say how many files may be open.
    pub(crate) fn new(service: &Service<TrafficConfig>) -> Result<Ctx, Error> {
        let files = chassis::files::for_connections()?;
        let plane = Plane::new(service.config.settings().within(files));
        let counts = metrics::Counts::new(&service.metrics, &plane, &service.bus);
        Ok(Ctx {
            store: Store::new(&service.config.state_dir),
            bus: service.bus.clone(),
            clock: service.clock.clone(),
            health: service.health.clone(),
            replica: Arc::new(service.replica.clone()),
            counts,
            stopping: service.stopping(),
            plane,
        })
    }

    /// Serves what was served before, then what NATS has. Neither is needed to start: without the first the plane is
    /// empty, without the second it goes on with the first until NATS is back.
    pub(crate) async fn begin(&self) {
        match self.store.load().await {
            Ok(saved) => {
                for saved in saved {
                    let key = RouteTable::key(&saved.table.target, &saved.table.module);
                    if let Err(error) = self.plane.restore(saved) {
                        tracing::warn!(key, %error, "a saved table is not served");
                    }
                }
            }
            Err(error) => tracing::warn!(error = chain(&error), "the saved tables are not served"),
        }
        let tables = self.bus.bucket(&subjects::buckets::ROUTES);
        match tokio::time::timeout(FIRST_LOOK, tables.all()).await {
            Ok(Ok(entries)) => entries.into_iter().for_each(|entry| self.on_route(entry)),
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "going on with the saved tables"),
            Err(_) => tracing::warn!("NATS did not answer, going on with the saved tables"),
        }
    }

    /// A table changed or went. Safe to hear twice and in any order: versions and fences rule.
    pub(crate) fn on_route(&self, entry: BucketEntry<RouteTable>) {
        let key = entry.key;
        let Some(table) = entry.value else {
            tracing::info!(key, "routes removed");
            self.plane.remove(&key);
            return;
        };
        let (version, fence, weights) = (table.version, table.fence, table.weights.to_string());
        match self.plane.apply(table) {
            Ok(Applied::Taken) => tracing::info!(key, version, %fence, weights, "routes in force"),
            Ok(Applied::Known) => {}
            Ok(Applied::Stale) => tracing::warn!(key, version, %fence, "stale routes ignored"),
            Err(error) => {
                self.counts.refused_table();
                tracing::error!(key, version, %error, "routes that make no sense are ignored");
            }
        }
    }
}

/// Hears every change of the routes, through lost connections.
pub(crate) async fn follow_routes(ctx: Ctx) -> Result<(), Error> {
    let mut changes = ctx.bus.bucket(&subjects::buckets::ROUTES).watch_all();
    while let Some(change) = ctx.stopping.run_until_cancelled(changes.next()).await {
        ctx.on_route(change.ok_or(Error::Unwatched)?);
    }
    Ok(())
}

/// Says what was counted. While NATS is away nothing is said; the counts are cumulative, so nothing is lost.
pub(crate) async fn say_counts(ctx: Ctx) -> Result<(), Error> {
    if !ctx.bus.is_connected() {
        return Ok(());
    }
    for count in ctx.plane.counts(ctx.replica.as_str(), ctx.clock.now()) {
        let said = ctx.bus.signal(&subjects::traffic::COUNT, &count.target.token(), &count).await;
        said.map_err(|source| Error::Say { module: count.module.to_string(), source })?;
    }
    Ok(())
}

/// Keeps the copy on disk like the tables in force. A crash before it is written loses nothing that NATS does not
/// have.
pub(crate) async fn keep_copy(ctx: Ctx) -> Result<(), Error> {
    let mut changed = ctx.plane.changed();
    let mut saved = None;
    loop {
        changed.borrow_and_update();
        let tables = ctx.plane.in_force();
        if saved.as_ref() != Some(&tables) {
            if let Err(error) = ctx.store.save(&tables).await {
                ctx.counts.unsaved();
                return Err(error);
            }
            saved = Some(tables);
        }
        match ctx.stopping.run_until_cancelled(changed.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return Ok(()),
        }
    }
}

/// Not ready while a port cannot be opened; says which and why.
pub(crate) async fn watch_ports(ctx: Ctx) -> Result<(), Error> {
    let mut changed = ctx.plane.changed();
    let mut known: Vec<String> = Vec::new();
    let mut latches = Vec::new();
    loop {
        changed.borrow_and_update();
        let troubles = ctx.plane.troubles();
        if troubles != known {
            // The new ones first: with a moment of neither it would seem ready.
            latches = troubles.iter().map(|trouble| ctx.health.latch(trouble.clone())).collect();
            known = troubles;
        }
        match ctx.stopping.run_until_cancelled(changed.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => {
                drop(latches);
                return Ok(());
            }
        }
    }
}
