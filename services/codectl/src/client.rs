//! The way to the engine.

use std::time::Duration;

use bus::{Bus, Call, Message, Settings, subjects};
use model::{
    DeploymentId, Phase, Span,
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
    url: String,
    timeout: Duration,
}

impl Client {
    /// Connects to the engine that was named, that `codectl up` started here, or that is on port 4222.
    pub async fn connect(global: &Global) -> Result<Client, Failure> {
        let home = Home::of(global).running().map(|running| running.nats);
        let url = global.nats.clone().or(home).unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
        let unreachable = |why: String| {
            Failure::unreachable(format!(
                "no engine at {url}: {why}\n  start one with `codectl up`, or name it with --nats or --home"
            ))
        };
        knock(&url, global.timeout.0).await.map_err(unreachable)?;
        let settings = Settings {
            url: url.clone(),
            name: "codectl".to_owned(),
            identity: who(global),
            credentials: global.credentials.clone(),
            patience: Span(global.timeout.0.min(Duration::from_secs(3))),
            ..Settings::default()
        };
        let within = global.timeout;
        let bus = match tokio::time::timeout(within.0, Bus::connect(&settings)).await {
            Ok(Ok(bus)) => bus,
            Ok(Err(bus::Error::Connect { source, .. })) => return Err(unreachable(source.to_string())),
            Ok(Err(error)) => return Err(unreachable(chassis::chain(&error))),
            Err(_) => return Err(unreachable(format!("no NATS server answered within {within}"))),
        };
        Ok(Client { bus, who: who(global), url, timeout: global.timeout.0 })
    }

    /// Asks.
    pub async fn ask<Req, Rep>(&self, call: &Call<Req, Rep>, request: &Req) -> Result<Rep, Failure>
    where
        Req: Message,
        Rep: Message,
    {
        self.ask_within(call, request, self.timeout).await
    }

    /// Asks what may take longer than other questions.
    pub async fn ask_within<Req, Rep>(
        &self,
        call: &Call<Req, Rep>,
        request: &Req,
        within: Duration,
    ) -> Result<Rep, Failure>
    where
        Req: Message,
        Rep: Message,
    {
        self.bus.call(call, request, within.max(self.timeout)).await.map_err(|error| match error {
            bus::Error::NoResponders { subject } => Failure::unreachable(format!(
                "NATS answers at {}, but nobody answers {subject}\n  is it still starting? see `codectl up` and its log",
                self.url
            )),
            bus::Error::Timeout { after, .. } => Failure::unreachable(format!(
                "the engine at {} did not answer within {}; what was asked may still happen\n  \
                 look with codectl list, or wait longer with --timeout",
                self.url,
                Span(after)
            )),
            other => Failure::from(other),
        })
    }

    /// One deployment as it stands.
    pub async fn view(&self, deployment: &DeploymentId) -> Result<DeploymentView, Failure> {
        let request = StatusRequest { deployment: deployment.clone() };
        Ok(self.ask(&subjects::orchestrator::STATUS, &request).await?.view)
    }

    /// The deployment that was named, or the newest.
    pub async fn resolve(&self, named: Option<DeploymentId>, active: bool) -> Result<DeploymentId, Failure> {
        self.resolve_in(named, active, None).await
    }

    /// The deployment that was named, or the newest in this phase, or the newest.
    pub async fn resolve_in(
        &self,
        named: Option<DeploymentId>,
        active: bool,
        phase: Option<Phase>,
    ) -> Result<DeploymentId, Failure> {
        if let Some(named) = named {
            return Ok(named);
        }
        let limit = if phase.is_some() { 1000 } else { 1 };
        let request = ListRequest { target: None, active, limit: Some(limit) };
        let list = self.ask(&subjects::orchestrator::LIST, &request).await?;
        let none = if active {
            "no deployment is under way; codectl list shows those that ended"
        } else {
            "there is no deployment yet; make one with codectl apply FILE"
        };
        let waiting = list.deployments.iter().find(|summary| Some(summary.phase) == phase);
        waiting
            .or(list.deployments.first())
            .map(|summary| summary.deployment.clone())
            .ok_or_else(|| Failure::other(none))
    }
}

/// Tries the first address once, so that an engine that is not there is told at once. What cannot be tried this way,
/// such as a websocket, is left to the client.
async fn knock(url: &str, within: Duration) -> Result<(), String> {
    let address = url.trim_start_matches("nats://").trim_start_matches("tls://");
    if url.contains(',') || address.contains("://") || address.contains('/') {
        return Ok(());
    }
    let address = address.rsplit('@').next().unwrap_or(address);
    let port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if port { address.to_owned() } else { format!("{address}:4222") };
    match tokio::time::timeout(within, tokio::net::TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing answered within {}", Span(within))),
    }
}

/// Who is asking: as named, else the user of this process.
pub fn who(global: &Global) -> String {
    let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    global.who.clone().or_else(user).unwrap_or_else(|| "nobody".to_owned())
}
