//! Reads a stream from a place on, for ever, through lost connections, without losing or repeating an entry.

use std::time::Duration;

use async_nats::jetstream::{
    Message,
    consumer::{DeliverPolicy, OrderedPullConsumer, pull},
};
use futures::{Stream, StreamExt, stream};
use ground::Backoff;
use tracing::{debug, warn};

use crate::{Bus, Error, streams::ADVISORY};

/// Entries asked for at once: what lies in memory when who reads is slow.
const BATCH: i64 = 100;
/// Waits before the stream is opened again.
const AGAIN: Backoff = Backoff::millis(100, 1600);

/// One stored message.
pub(crate) struct Stored {
    pub seq: u64,
    pub message: Message,
}

impl Bus {
    /// How many messages were ever stored in all streams and buckets: each is at least one fsync of the broker. Without
    /// the broker's own advisories, which whoever only reads causes too.
    pub async fn durable_writes(&self) -> Result<u64, Error> {
        let mut streams = self.jetstream.streams();
        let mut writes = 0;
        while let Some(stream) = streams.next().await {
            let stream = stream.map_err(|error| Error::broker("counting durable writes", error))?;
            if stream.config.name != ADVISORY {
                writes += stream.state.last_sequence;
            }
        }
        Ok(writes)
    }

    /// The last sequence that the stream has given out.
    pub(crate) async fn last_sequence(&self, stream: &str) -> Result<u64, Error> {
        let info = self.stream(stream).await?.get_info().await;
        Ok(info
            .map_err(|error| Error::broker(format!("asking for the end of stream {stream}"), error))?
            .state
            .last_sequence)
    }

    /// Everything on `filter` from sequence `next` on. Ends only when it is dropped.
    pub(crate) fn tail(
        &self,
        name: String,
        filter: String,
        next: u64,
    ) -> impl Stream<Item = Stored> + Send + 'static + use<> {
        let tail = Tail { bus: self.clone(), name, filter, next, reader: None, failures: 0 };
        stream::unfold(tail, |mut tail| async move {
            let stored = tail.next().await;
            Some((stored, tail))
        })
    }
}

struct Tail {
    bus: Bus,
    name: String,
    filter: String,
    /// The sequence that is read next.
    next: u64,
    reader: Option<(pull::Ordered, tokio::sync::watch::Receiver<u64>)>,
    failures: u32,
}

impl Tail {
    async fn next(&mut self) -> Stored {
        loop {
            let Some((reader, connections)) = &mut self.reader else {
                self.open().await;
                continue;
            };
            let read = tokio::select! {
                biased;
                read = reader.next() => read,
                // The consumer may have died with the server: begin anew where we are.
                _ = connections.changed() => None,
            };
            match read {
                Some(Ok(message)) => {
                    let seq = message.info().map(|info| info.stream_sequence);
                    match seq {
                        // What we already gave out may come again from an older reader.
                        Ok(seq) if seq < self.next => {}
                        Ok(seq) => {
                            self.next = seq + 1;
                            self.failures = 0;
                            return Stored { seq, message };
                        }
                        Err(error) => {
                            warn!(stream = self.name, %error, "a stored message without its place");
                            self.reader = None;
                        }
                    }
                }
                Some(Err(error)) => {
                    debug!(stream = self.name, %error, "reading broke off, beginning anew");
                    self.reader = None;
                    self.pause().await;
                }
                None => self.reader = None,
            }
        }
    }

    async fn open(&mut self) {
        let mut connections = self.bus.shared.connections.clone();
        connections.mark_unchanged();
        match reader(&self.bus, &self.name, &self.filter, self.next).await {
            Ok(reader) => self.reader = Some((reader, connections)),
            Err(error) => {
                if self.failures == 5 {
                    warn!(
                        stream = self.name,
                        error = crate::error::chain(&error),
                        "reading a stream fails, going on trying"
                    );
                }
                self.pause().await;
            }
        }
    }

    async fn pause(&mut self) {
        self.failures = self.failures.saturating_add(1);
        AGAIN.pause(self.failures).await;
    }
}

async fn reader(bus: &Bus, name: &str, filter: &str, next: u64) -> Result<pull::Ordered, Error> {
    let failed = |error: async_nats::Error| Error::broker(format!("reading stream {name}"), error);
    let config = pull::OrderedConfig {
        filter_subject: filter.to_owned(),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next.max(1) },
        // Half of it is the heartbeat: how soon a silent leader is noticed.
        max_expires: Duration::from_secs(4),
        max_batch: BATCH,
        ..Default::default()
    };
    let made = bus.stream(name).await?.create_consumer(config).await;
    let consumer: OrderedPullConsumer = made.map_err(|error| failed(error.into()))?;
    consumer.messages().await.map_err(|error| failed(error.into()))
}
