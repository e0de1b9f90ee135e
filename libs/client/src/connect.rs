//! The way to the engine.

use std::time::Duration;

use bus::{Bus, Call, Message, Settings};
use model::{Principal, Span};

use crate::Error;

/// A connection, whose principal is who asks, and how long answers are waited for. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) bus: Bus,
    url: String,
    timeout: Duration,
}

impl Client {
    /// Connects within `timeout`, as the settings' principal. An address where nothing listens is told at once.
    pub async fn connect(settings: &Settings, timeout: Duration) -> Result<Client, Error> {
        let url = &settings.url;
        let unreachable = |why: String| Error::Unreachable { url: url.clone(), why };
        knock(url, timeout).await.map_err(unreachable)?;
        let patience = settings.patience.min(Span(timeout));
        let settings = Settings { patience, ..settings.clone() };
        let bus = match tokio::time::timeout(timeout, Bus::connect(&settings)).await {
            Ok(Ok(bus)) => bus,
            Ok(Err(bus::Error::Connect { source, .. })) => return Err(unreachable(source.to_string())),
            Ok(Err(error)) => return Err(unreachable(model::Fault::from(error).message)),
            Err(_) => return Err(unreachable(format!("no NATS server answered within {}", Span(timeout)))),
        };
        Ok(Client { bus, url: settings.url, timeout })
    }

    /// Over a connection that is there, as its principal.
    pub fn over(bus: Bus, timeout: Duration) -> Client {
        Client { url: bus.url().to_owned(), bus, timeout }
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        self.bus.principal()
    }

    pub(crate) async fn ask<Req: Message, Rep: Message>(
        &self,
        call: &Call<Req, Rep>,
        request: &Req,
    ) -> Result<Rep, Error> {
        self.ask_within(call, request, self.timeout).await
    }

    /// Asks what may take longer than other questions.
    pub(crate) async fn ask_within<Req: Message, Rep: Message>(
        &self,
        call: &Call<Req, Rep>,
        request: &Req,
        within: Duration,
    ) -> Result<Rep, Error> {
        let answer = self.bus.call(call, request, within.max(self.timeout)).await;
        answer.map_err(|error| self.absent(error))
    }

    /// Tells that nobody was there from what else goes wrong.
    pub(crate) fn absent(&self, error: bus::Error) -> Error {
        match error {
            bus::Error::NoResponders { subject } => Error::Unserved { url: self.url.clone(), subject },
            bus::Error::Timeout { after, .. } => Error::Silent { url: self.url.clone(), after },
            other => Error::Bus(other),
        }
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
