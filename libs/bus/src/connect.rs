//! The one connection of a process, and what happens to it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{ConnectOptions, Event, HeaderMap, jetstream, service::Service};
use futures::StreamExt;
use ground::Backoff;
use model::Code;
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tracing::{info, warn};

use crate::{Error, Settings};

/// Waits between tries to connect: quick enough that a restarted server is found within half a second, and spread, so
/// that a whole fleet does not come at once.
const AGAIN: Backoff = Backoff::millis(20, 500);

/// A connection to NATS; cheap to clone. It reconnects for ever; what waits meanwhile is bounded by deadlines.
#[derive(Clone)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// Grows with every new connection; loops renew what a server forgets.
    pub(crate) connections: watch::Receiver<u64>,
    /// One NATS service per service name, with its endpoints.
    pub(crate) services: Mutex<HashMap<&'static str, Service>>,
    pub(crate) faults: Arc<Faults>,
    /// Says which calls were refused; made with the first.
    pub(crate) denials: std::sync::OnceLock<Option<crate::Outbox>>,
    counters: Arc<Counters>,
}

/// How often each call was answered with a fault, by `<service>.<verb>` and code; shown in `$SRV.STATS`.
#[derive(Default)]
pub(crate) struct Faults(std::sync::Mutex<BTreeMap<String, BTreeMap<&'static str, u64>>>);

impl Faults {
    pub(crate) fn count(&self, call: &str, code: Code) {
        if let Ok(mut counts) = self.0.lock() {
            *counts.entry(call.to_owned()).or_default().entry(code.as_str()).or_default() += 1;
        }
    }

    pub(crate) fn of(&self, call: &str) -> BTreeMap<&'static str, u64> {
        self.0.lock().ok().and_then(|counts| counts.get(call).cloned()).unwrap_or_default()
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    disconnects: AtomicU64,
    slow_consumers: AtomicU64,
    errors: AtomicU64,
    dead_letters: AtomicU64,
    redelivered: AtomicU64,
}

/// What happened on this connection since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The server was lost; the client reconnects by itself.
    pub disconnects: u64,
    /// Times that messages were dropped because we read too slowly.
    pub slow_consumers: u64,
    /// Errors the server told us.
    pub errors: u64,
    /// Messages this process gave up on.
    pub dead_letters: u64,
    /// Messages this process was given a second time or more.
    pub redelivered: u64,
}

impl Bus {
    /// Connects, trying for `settings.patience`. Fails when the server is older than 2.14.0.
    pub async fn connect(settings: &Settings) -> Result<Bus, Error> {
        let (epoch, connections) = watch::channel(0_u64);
        let epoch = Arc::new(epoch);
        let counters = Arc::new(Counters::default());
        let started = Instant::now();
        let patience = settings.patience.0;
        let client = loop {
            let options = options(settings, epoch.clone(), counters.clone()).await?;
            let addresses: Vec<&str> = settings.url.split(',').map(str::trim).collect();
            match options.connect(addresses).await {
                Ok(client) => break client,
                Err(error) if started.elapsed() >= patience => {
                    return Err(Error::Connect {
                        url: settings.url.clone(),
                        patience,
                        source: Box::new(error),
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        if !client.is_server_compatible(2, 14, 0) {
            let found = client.server_info().version;
            return Err(Error::TooOld { url: settings.url.clone(), found });
        }
        let jetstream =
            jetstream::ContextBuilder::new().timeout(settings.broker_timeout.0).build(client.clone());
        let shared = Shared {
            settings: settings.clone(),
            connections,
            services: Mutex::default(),
            faults: Arc::default(),
            denials: std::sync::OnceLock::new(),
            counters,
        };
        Ok(Bus { client, jetstream, shared: Arc::new(shared) })
    }

    /// Who we say we are in every message.
    pub fn identity(&self) -> &str {
        let settings = &self.shared.settings;
        if settings.identity.is_empty() { &settings.name } else { &settings.identity }
    }

    /// Whether the server is reached now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The version of the server that was last reached.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// What happened on this connection so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        Counts {
            disconnects: counters.disconnects.load(Ordering::Relaxed),
            slow_consumers: counters.slow_consumers.load(Ordering::Relaxed),
            errors: counters.errors.load(Ordering::Relaxed),
            dead_letters: counters.dead_letters.load(Ordering::Relaxed),
            redelivered: counters.redelivered.load(Ordering::Relaxed),
        }
    }

    /// Returns when the server has taken in everything that was sent before, subscriptions above all: a flush only says
    /// that it left this process. A message to ourselves, because the server works on a connection in order.
    pub(crate) async fn round_trip(&self) -> Result<(), Error> {
        let lost = |error: async_nats::Error| {
            Error::broker("waiting for the server to take in what was sent", error)
        };
        let inbox = self.client.new_inbox();
        let mut heard = self.client.subscribe(inbox.clone()).await.map_err(|error| lost(error.into()))?;
        self.client.publish(inbox, bytes::Bytes::new()).await.map_err(|error| lost(error.into()))?;
        self.client.flush().await.map_err(|error| lost(error.into()))?;
        let within = self.shared.settings.broker_timeout.0;
        match tokio::time::timeout(within, heard.next()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(lost(format!("nothing came back within {within:?}").into())),
        }
    }

    /// Sends what is still buffered; at most 2 s. For the end of a process.
    pub async fn flush(&self) {
        let sent = async {
            if let Some(Some(denials)) = self.shared.denials.get() {
                denials.emptied().await;
            }
            self.client.flush().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), sent).await;
    }

    /// Refuses what the server would refuse by cutting the connection.
    pub(crate) fn fits(&self, subject: &str, headers: &HeaderMap, payload: &[u8]) -> Result<(), Error> {
        let named: usize = headers
            .iter()
            .map(|(name, values)| {
                let name: &[u8] = name.as_ref();
                values.iter().map(|value| name.len() + value.as_str().len() + 4).sum::<usize>()
            })
            .sum();
        let (size, limit) = (payload.len() + named + 12, self.client.max_payload());
        if size > limit {
            return Err(Error::TooLarge { subject: subject.to_owned(), size, limit });
        }
        Ok(())
    }

    pub(crate) fn count_dead_letter(&self) {
        self.shared.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_redelivered(&self) {
        self.shared.counters.redelivered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn options(
    settings: &Settings,
    epoch: Arc<watch::Sender<u64>>,
    counters: Arc<Counters>,
) -> Result<ConnectOptions, Error> {
    let name = settings.name.clone();
    let mut options = ConnectOptions::new()
        .name(&settings.name)
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(Duration::from_secs(3))
        .request_timeout(Some(settings.broker_timeout.0))
        .reconnect_delay_callback(|attempt| AGAIN.wait(u32::try_from(attempt).unwrap_or(u32::MAX)))
        .event_callback(move |event| {
            on_event(&name, &event, &epoch, &counters);
            std::future::ready(())
        });
    if let Some(file) = &settings.credentials {
        let credentials = std::fs::read_to_string(file).map_err(|source| Error::Io {
            what: format!("reading credentials {}", file.display()),
            source,
        })?;
        options = options
            .credentials(&credentials)
            .map_err(|source| Error::Io { what: format!("using credentials {}", file.display()), source })?;
    }
    if let Some(authority) = &settings.tls.authority {
        options = options.add_root_certificates(authority.clone());
    }
    if let (Some(certificate), Some(key)) = (&settings.tls.certificate, &settings.tls.key) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if settings.tls.required {
        options = options.require_tls(true);
    }
    Ok(options)
}

fn on_event(name: &str, event: &Event, epoch: &watch::Sender<u64>, counters: &Counters) {
    match event {
        Event::Connected => {
            epoch.send_modify(|epoch| *epoch += 1);
            info!(connection = name, "connected to nats");
        }
        Event::Disconnected => {
            counters.disconnects.fetch_add(1, Ordering::Relaxed);
            warn!(connection = name, "disconnected from nats, reconnecting");
        }
        Event::SlowConsumer(subscription) => {
            counters.slow_consumers.fetch_add(1, Ordering::Relaxed);
            warn!(connection = name, subscription, "messages were dropped: a subscription reads too slowly");
        }
        Event::ServerError(error) => {
            counters.errors.fetch_add(1, Ordering::Relaxed);
            warn!(connection = name, %error, "nats reports an error");
        }
        Event::ClientError(error) => {
            counters.errors.fetch_add(1, Ordering::Relaxed);
            warn!(connection = name, %error, "the connection to nats has an error");
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            info!(connection = name, %event, "nats connection");
        }
    }
}
