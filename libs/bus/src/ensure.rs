//! Makes what is missing, and looks whether all is there; never changes what is there.

use std::{collections::BTreeSet, time::Duration};

use async_nats::jetstream::{
    ErrorCode,
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind},
    object_store,
    stream::{Config, StorageType},
};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::debug;

use crate::{
    Bus, Error, Event, Job, Role, access,
    rights::{Rights, USER_INFO},
    streams,
    subject::Lane,
    subjects::{self, LINES},
    work::{self, WorkRules},
};

/// How often is looked again whether something is there.
const LOOK: Duration = Duration::from_millis(100);

impl Bus {
    /// Makes all streams, buckets and consumers that are missing. For the provisioner, and safe to run again and by several
    /// at once. A stream that is there with another configuration is an error that names every difference, and is left
    /// alone.
    pub async fn ensure(&self) -> Result<(), Error> {
        let settings = &self.shared.settings;
        // A server that has just started may not be ready for this yet.
        let until = Instant::now() + settings.patience.0;
        for wanted in streams::all(settings) {
            self.ensure_stream(&wanted, until).await?;
        }
        let name = subjects::evidence::ALL.name;
        let store = object_store::Config {
            bucket: name.to_owned(),
            description: Some("evidence by digest".to_owned()),
            max_bytes: settings.limits.evidence,
            storage: StorageType::File,
            num_replicas: settings.replicas,
            ..Default::default()
        };
        if self.jetstream.get_object_store(name).await.is_err() {
            self.jetstream
                .create_object_store(store)
                .await
                .map_err(|error| Error::broker("making the object store for evidence", error))?;
        }
        for lane in LINES.iter().flat_map(|line| line.lanes()) {
            self.ensure_lane(&lane, WorkRules::default().ack_wait).await?;
        }
        Ok(())
    }

    /// Makes the consumer of a job that is not in the table: for tests and measurements.
    pub async fn ensure_job<M>(&self, job: &Job<M>, ack_wait: Duration) -> Result<(), Error> {
        self.ensure_lane(&job.lane(None), ack_wait).await
    }

    /// Makes the consumer under which an event is heard by somebody who is not in the table: for tests.
    pub async fn ensure_event<M>(&self, event: &Event<M>, durable: &str) -> Result<(), Error> {
        self.ensure_lane(&event.lane(durable), WorkRules::default().ack_wait).await
    }

    async fn ensure_lane(&self, lane: &Lane, ack_wait: Duration) -> Result<(), Error> {
        let made = self.stream(lane.stream).await?.create_consumer(work::configuration(lane, ack_wait)).await;
        let failed =
            |error| Error::broker(format!("making consumer {} of {}", lane.durable, lane.stream), error);
        made.map(drop).map_err(failed)
    }

    /// Looks whether a service may do what it will, and whether the streams it uses are there as it wants them. What is not
    /// there yet is waited for as long as connecting is tried; what differs is an error at once.
    pub async fn check(&self) -> Result<(), Error> {
        let settings = &self.shared.settings;
        let role = settings.user.parse::<Role>();
        let role = role.map_err(|error| Error::broker("looking who this is", error))?;
        let rights = access::rights(role);
        self.check_rights(&rights).await?;
        let until = Instant::now() + settings.patience.0;
        let used: BTreeSet<&str> = rights
            .publish
            .iter()
            .filter_map(|subject| subject.strip_prefix("$JS.API.STREAM.INFO."))
            .collect();
        for wanted in streams::all(settings) {
            if !used.contains(wanted.name.as_str()) {
                continue;
            }
            let found = loop {
                match self.jetstream.get_stream(&wanted.name).await {
                    Ok(stream) => break stream,
                    Err(error) if Instant::now() < until => {
                        debug!(stream = wanted.name, %error, "stream not there yet, looking again");
                        tokio::time::sleep(LOOK).await;
                    }
                    Err(error) if is_missing(&error) => {
                        return Err(Error::Unprovisioned { what: format!("stream {}", wanted.name) });
                    }
                    Err(error) => {
                        return Err(Error::broker(format!("looking at stream {}", wanted.name), error));
                    }
                }
            };
            same(&found.cached_info().config, &wanted)?;
        }
        Ok(())
    }

    /// Compares what the server lets this user do with what the table says, to the letter: what is missing would fail one
    /// day in silence, and what is too much is a door left open.
    async fn check_rights(&self, wanted: &Rights) -> Result<(), Error> {
        let settings = &self.shared.settings;
        let asked = self.client.request(USER_INFO, "".into()).await;
        let answer = asked.map_err(|error| Error::broker("asking NATS what this user may do", error))?;
        let told: Told = serde_json::from_slice(&answer.payload)
            .map_err(|error| Error::broker("reading what NATS lets this user do", error))?;
        let rights =
            |what: String| Error::Rights { url: settings.url.clone(), user: settings.user.clone(), what };
        let Some(found) = told.data.permissions else {
            return Err(rights("the server asks nobody who they are".to_owned()));
        };
        for (verb, wanted, found) in [
            ("publish to", &wanted.publish, &found.publish.allow),
            ("subscribe to", &wanted.subscribe, &found.subscribe.allow),
        ] {
            if let Some(missing) = wanted.difference(found).next() {
                return Err(rights(format!("it may not {verb} {missing}")));
            }
            if let Some(extra) = found.difference(wanted).next() {
                return Err(rights(format!("it may {verb} {extra}, which it does not need")));
            }
        }
        Ok(())
    }

    async fn ensure_stream(&self, wanted: &Config, until: Instant) -> Result<(), Error> {
        loop {
            let trouble: Box<dyn std::error::Error + Send + Sync> = match self
                .jetstream
                .get_stream(&wanted.name)
                .await
            {
                Ok(stream) => return same(&stream.cached_info().config, wanted),
                Err(_) => match self.jetstream.create_stream(wanted.clone()).await {
                    Ok(stream) => return same(&stream.cached_info().config, wanted),
                    Err(error) if has_no_room(&error) => {
                        return Err(Error::NoRoom { stream: wanted.name.clone(), bytes: wanted.max_bytes });
                    }
                    Err(error) => Box::new(error),
                },
            };
            // Also met when another service makes the same stream at this moment: the next look finds it.
            if Instant::now() >= until {
                return Err(Error::Broker {
                    what: format!("making stream {}", wanted.name),
                    source: trouble,
                });
            }
            debug!(stream = wanted.name, error = %trouble, "stream not ready, trying again");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What the server tells a user about itself, as far as it matters here.
#[derive(Deserialize)]
struct Told {
    data: User,
}

#[derive(Deserialize)]
struct User {
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    publish: Subjects,
    #[serde(default)]
    subscribe: Subjects,
}

#[derive(Default, Deserialize)]
struct Subjects {
    #[serde(default)]
    allow: BTreeSet<String>,
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Waiting does not help: what streams reserve does not fit into what the server has.
fn has_no_room(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED)
}

fn same(found: &Config, wanted: &Config) -> Result<(), Error> {
    let differences = streams::differences(found, wanted);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Differs { stream: wanted.name.clone(), differences })
}
