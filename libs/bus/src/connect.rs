//! The one connection of a process, and what happens to it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    ConnectErrorKind, ConnectOptions, Event, HeaderMap, ServerError, jetstream, service::Service,
};
use futures::StreamExt;
use ground::Backoff;
use model::{Code, Principal};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tracing::{error, info, warn};

use crate::{
    Error, Role, Settings,
    key::{Key, key_file},
};

/// Waits between tries to connect: quick enough that a restarted server is found within half a second, and spread, so
/// that a whole fleet does not come at once.
const AGAIN: Backoff = Backoff::millis(20, 500);
/// Subjects on which the server refused us are remembered, so that who waits for an answer is told: so many.
const REFUSED: usize = 64;

/// A connection to NATS; cheap to clone. It reconnects for ever; what waits meanwhile is bounded by deadlines.
#[derive(Clone)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// Who speaks on this connection, and how that stands in headers.
    principal: Principal,
    said_by: String,
    /// Grows with every new connection; loops renew what a server forgets.
    pub(crate) connections: watch::Receiver<u64>,
    /// One NATS service per service name, with its endpoints.
    pub(crate) services: Mutex<HashMap<&'static str, Service>>,
    pub(crate) faults: Arc<Faults>,
    /// Says which calls were refused; made with the first.
    pub(crate) facts: std::sync::OnceLock<Option<crate::Outbox>>,
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
    violations: AtomicU64,
    refused: parking_lot::Mutex<VecDeque<String>>,
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
    /// Errors the server told us, permission errors among them.
    pub errors: u64,
    /// Times that the server refused what its permissions do not allow us.
    pub violations: u64,
    /// Messages this process gave up on.
    pub dead_letters: u64,
    /// Messages this process was given a second time or more.
    pub redelivered: u64,
}

/// Who speaks on a connection that is made with these settings.
fn speaker(settings: &Settings) -> Result<Principal, Error> {
    match &settings.principal {
        Some(principal) => Ok(principal.clone()),
        None => Ok(Principal::stated(&settings.name)?),
    }
}

impl Bus {
    /// Connects, trying for `settings.patience`. Fails at once when the server does not know the key, and when it is older
    /// than 2.14.0.
    pub async fn connect(settings: &Settings) -> Result<Bus, Error> {
        let principal = speaker(settings)?;
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
                Err(error) if error.kind() == ConnectErrorKind::AuthorizationViolation => {
                    return Err(stranger(settings));
                }
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
        Ok(Bus::over(client, settings, principal, connections, counters))
    }

    /// The same for who can work without NATS: returns at once and connects when the server is there. Fails only when the
    /// settings cannot be used.
    pub async fn connect_later(settings: &Settings) -> Result<Bus, Error> {
        let principal = speaker(settings)?;
        let (epoch, connections) = watch::channel(0_u64);
        let counters = Arc::new(Counters::default());
        let options = options(settings, Arc::new(epoch), counters.clone()).await?;
        let addresses: Vec<&str> = settings.url.split(',').map(str::trim).collect();
        let client = options.retry_on_initial_connect().connect(addresses).await.map_err(|error| {
            Error::Connect { url: settings.url.clone(), patience: Duration::ZERO, source: Box::new(error) }
        })?;
        Ok(Bus::over(client, settings, principal, connections, counters))
    }

    /// Another connection of this process, as another user whose key lies beside this one's.
    pub async fn another(&self, role: Role) -> Result<Bus, Error> {
        let mut settings = self.shared.settings.clone();
        settings.user = role.as_str().to_owned();
        settings.key = settings.key.and_then(|key| Some(key_file(key.parent()?, role.as_str())));
        Bus::connect(&settings).await
    }

    fn over(
        client: async_nats::Client,
        settings: &Settings,
        principal: Principal,
        connections: watch::Receiver<u64>,
        counters: Arc<Counters>,
    ) -> Bus {
        let jetstream =
            jetstream::ContextBuilder::new().timeout(settings.broker_timeout.0).build(client.clone());
        let shared = Shared {
            settings: settings.clone(),
            said_by: principal.as_text(),
            principal,
            connections,
            services: Mutex::default(),
            faults: Arc::default(),
            facts: std::sync::OnceLock::new(),
            counters,
        };
        Bus { client, jetstream, shared: Arc::new(shared) }
    }

    /// Who speaks on this connection: stands in every message.
    pub fn principal(&self) -> &Principal {
        &self.shared.principal
    }

    pub(crate) fn said_by(&self) -> &str {
        &self.shared.said_by
    }

    /// Which user of the broker this is.
    pub fn user(&self) -> &str {
        &self.shared.settings.user
    }

    /// The last subject on which the server refused us, of all that was sent before; none when it refused nothing or is not
    /// reached.
    pub async fn refused(&self) -> Option<String> {
        if self.is_connected() && self.round_trip().await.is_ok() {
            // What the server said before the message to ourselves is on its way to where it is counted.
            tokio::task::yield_now().await;
        }
        self.shared.counters.refused.lock().back().cloned()
    }

    /// Where the broker is, as the settings say.
    pub fn url(&self) -> &str {
        &self.shared.settings.url
    }

    /// Whether the server is reached now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// What happened on this connection so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        Counts {
            disconnects: counters.disconnects.load(Ordering::Relaxed),
            slow_consumers: counters.slow_consumers.load(Ordering::Relaxed),
            errors: counters.errors.load(Ordering::Relaxed),
            violations: counters.violations.load(Ordering::Relaxed),
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
            if let Some(Some(facts)) = self.shared.facts.get() {
                facts.emptied().await;
            }
            self.client.flush().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), sent).await;
    }

    /// What an unanswered question is: the server says on another way that it refused one.
    pub(crate) fn unanswered(&self, subject: String, after: Duration) -> Error {
        if self.shared.counters.refused.lock().contains(&subject) {
            return Error::Refused { user: self.shared.settings.user.clone(), subject };
        }
        Error::Timeout { subject, after }
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
    let (name, user) = (settings.name.clone(), settings.user.clone());
    let mut options = ConnectOptions::new()
        .name(&settings.name)
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(Duration::from_secs(3))
        .request_timeout(Some(settings.broker_timeout.0))
        .reconnect_delay_callback(|attempt| AGAIN.wait(u32::try_from(attempt).unwrap_or(u32::MAX)))
        .event_callback(move |event| {
            on_event((&name, &user), &event, &epoch, &counters);
            std::future::ready(())
        })
        .custom_inbox_prefix(format!("_INBOX.{}", settings.user));
    if let Some(file) = &settings.key {
        options = options.nkey(Key::read(file)?.seed()?.reveal().to_owned());
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

/// The subject of a permission error: `Permissions Violation for Publish to "a.b"`.
fn violated(text: &str) -> Option<&str> {
    text.to_ascii_lowercase()
        .starts_with("permissions violation")
        .then(|| text.split('"').nth(1).unwrap_or(text))
}

fn stranger(settings: &Settings) -> Error {
    let Settings { url, user, key, .. } = settings.clone();
    Error::Stranger { url, user, key }
}

fn on_event((name, user): (&str, &str), event: &Event, epoch: &watch::Sender<u64>, counters: &Counters) {
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
        Event::ServerError(ServerError::Other(text)) if violated(text).is_some() => {
            let subject = violated(text).unwrap_or_default();
            counters.errors.fetch_add(1, Ordering::Relaxed);
            counters.violations.fetch_add(1, Ordering::Relaxed);
            let mut refused = counters.refused.lock();
            refused.push_back(subject.to_owned());
            while refused.len() > REFUSED {
                refused.pop_front();
            }
            error!(connection = name, user, subject, "nats refused what this user may not do: {text}");
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
