//! Makes what is missing; never changes what is there.

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    context::{CreateStreamError, CreateStreamErrorKind},
    object_store,
    stream::{Config, StorageType},
};
use tokio::time::Instant;
use tracing::debug;

use crate::{Bus, Error, streams};

impl Bus {
    /// Makes all streams and buckets that are missing. Safe to run again and by several services at once. A stream
    /// that is there with another configuration is an error that names every difference, and is left alone.
    pub async fn ensure(&self) -> Result<(), Error> {
        let settings = &self.shared.settings;
        // A server that has just started may not be ready for this yet.
        let until = Instant::now() + settings.patience.0;
        for wanted in streams::all(settings) {
            self.ensure_stream(&wanted, until).await?;
        }
        let store = object_store::Config {
            bucket: streams::EVIDENCE.to_owned(),
            description: Some("evidence by digest".to_owned()),
            max_bytes: settings.limits.evidence,
            storage: StorageType::File,
            num_replicas: settings.replicas,
            ..Default::default()
        };
        if self.jetstream.get_object_store(streams::EVIDENCE).await.is_err() {
            self.jetstream
                .create_object_store(store)
                .await
                .map_err(|error| Error::broker("making the object store for evidence", error))?;
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
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
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
