//! The engine in this process: nats-server, orchestrator, obedient agents.

use std::time::Duration;

use anyhow::{Context, Result};
use chassis::Service;
use tokio::task::JoinSet;

use crate::{
    agents::Obedient,
    stage::Stage,
    watch::{Client, Watch},
};

/// An engine that ends with this.
pub struct Engine {
    /// Someone who deploys on it.
    pub client: Client,
    service: Service<orchestrator::Config>,
    _agents: Obedient,
    _following: JoinSet<()>,
    _stage: Stage,
}

impl Engine {
    /// Starts all of it.
    pub async fn start(run: String) -> Result<Engine> {
        let stage = Stage::start().await?;
        let (bus, mut following) = (stage.connect("client").await?, JoinSet::new());
        let watch = Watch::start(&bus, &mut following).await?;
        let agents = Obedient::start(&stage.connect("agents").await?, &watch).await?;
        let service =
            Service::for_tests(orchestrator::Config::default(), stage.connect("orchestrator").await?);
        orchestrator::start(service.clone()).await.context("starting the orchestrator")?;
        let client = Client { bus, watch, run };
        Ok(Engine { client, service, _agents: agents, _following: following, _stage: stage })
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.service.stop(Duration::from_secs(5)).await;
    }
}
