//! The way to the engine.

use std::time::Duration;

use bus::{Bus, Call, Message, Settings, subjects};
use model::{
    DeploymentId, Span,
    command::{ListRequest, StatusRequest},
    view::DeploymentView,
};

use crate::{cli::Global, failure::Failure, home::Home};

/// A connection and how long to wait.
#[derive(Clone)]
pub struct Client {
    /// The connection.
    pub bus: Bus,
    /// Who asks.
    pub who: String,
    timeout: Duration,
}

impl Client {
    /// Connects to the engine that was named, that `codectl up` started here, or that is on port 4222.
    pub async fn connect(global: &Global) -> Result<Client, Failure> {
        let home = Home::of(global).running().map(|running| running.nats);
        let url = global.nats.clone().or(home).unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
        let settings = Settings {
            url: url.clone(),
            name: "codectl".to_owned(),
            identity: who(global),
            credentials: global.credentials.clone(),
            patience: Span(global.timeout.0.min(Duration::from_secs(3))),
            ..Settings::default()
        };
        let bus = Bus::connect(&settings).await.map_err(|error| {
            Failure::unreachable(format!(
                "no engine at {url}: {error}\n  start one with `codectl up`, or name it with --nats"
            ))
        })?;
        Ok(Client { bus, who: who(global), timeout: global.timeout.0 })
    }

    /// Asks.
    pub async fn ask<Req, Rep>(&self, call: &Call<Req, Rep>, request: &Req) -> Result<Rep, Failure>
    where
        Req: Message,
        Rep: Message,
    {
        Ok(self.bus.call(call, request, self.timeout).await?)
    }

    /// One deployment as it stands.
    pub async fn view(&self, deployment: &DeploymentId) -> Result<DeploymentView, Failure> {
        let request = StatusRequest { deployment: deployment.clone() };
        Ok(self.ask(&subjects::orchestrator::STATUS, &request).await?.view)
    }

    /// The deployment that was named, or the newest.
    pub async fn resolve(&self, named: Option<DeploymentId>, active: bool) -> Result<DeploymentId, Failure> {
        if let Some(named) = named {
            return Ok(named);
        }
        let request = ListRequest { target: None, active, limit: Some(1) };
        let list = self.ask(&subjects::orchestrator::LIST, &request).await?;
        let none = if active { "no deployment is under way" } else { "there is no deployment yet" };
        list.deployments.first().map(|summary| summary.deployment.clone()).ok_or_else(|| Failure::other(none))
    }
}

/// Who is asking: as named, else the user of this process.
pub fn who(global: &Global) -> String {
    let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    global.who.clone().or_else(user).unwrap_or_else(|| "nobody".to_owned())
}
