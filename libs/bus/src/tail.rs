//! Reads a stream from a place on, for ever, through lost connections, without losing or repeating an entry.

use std::time::Duration;

use async_nats::jetstream::{
    Message,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
    stream::State,
};
use futures::{Stream, StreamExt, stream};
use ground::Backoff;
use tracing::{debug, warn};

use crate::{Bus, Error, subject::ADVISORY};

/// Entries asked for at once: what lies in memory when who reads is slow.
const BATCH: usize = 100;
/// How long one request for entries waits at the server. Half of it is the heartbeat: how soon a silent leader is noticed.
const PULL: Duration = Duration::from_secs(4);
/// The broker forgets a consumer that nobody has read from for so long.
const FORGOTTEN: Duration = Duration::from_secs(30);
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
        Ok(self.state_of(stream).await?.last_sequence)
    }

    /// On how many subjects the stream has messages.
    pub(crate) async fn subjects_of(&self, stream: &str) -> Result<u64, Error> {
        Ok(self.state_of(stream).await?.subjects_count)
    }

    async fn state_of(&self, stream: &str) -> Result<State, Error> {
        let info = self.stream(stream).await?.get_info().await;
        Ok(info
            .map_err(|error| Error::broker(format!("asking for the end of stream {stream}"), error))?
            .state)
    }

    /// A name for a consumer of this connection's own, which no other has.
    pub(crate) fn consumer_name(&self) -> String {
        format!("{}-{:016x}", self.shared.settings.user, rand::random::<u64>())
    }

    /// Everything on `filter` (none: everything) from sequence `next` on. Ends only when it is dropped.
    pub(crate) fn tail(
        &self,
        name: String,
        filter: Option<String>,
        next: u64,
    ) -> impl Stream<Item = Stored> + Send + 'static + use<> {
        Tail::new(self, name, filter, next).stream()
    }

    /// Everything on `filter`, and everything again after each lost connection: the server may have come back with an older
    /// copy of the stream, whose next entries have sequences that were read before.
    pub(crate) fn tail_again(
        &self,
        name: String,
        filter: String,
    ) -> impl Stream<Item = Stored> + Send + 'static + use<> {
        Tail { rewinds: true, ..Tail::new(self, name, Some(filter), 1) }.stream()
    }
}

struct Tail {
    bus: Bus,
    name: String,
    filter: Option<String>,
    /// The sequence that is read next.
    next: u64,
    /// Whether a new connection is a new beginning.
    rewinds: bool,
    connections: tokio::sync::watch::Receiver<u64>,
    reader: Option<Reader>,
    failures: u32,
}

/// A consumer that is read from. It is made anew, under a new name, whenever something is missing.
struct Reader {
    stored: pull::Stream,
    /// What it has given out, by its own count: a number that is left out is an entry that was lost on the way.
    given: u64,
}

impl Tail {
    fn new(bus: &Bus, name: String, filter: Option<String>, next: u64) -> Tail {
        let mut connections = bus.shared.connections.clone();
        connections.mark_unchanged();
        Tail { bus: bus.clone(), name, filter, next, rewinds: false, connections, reader: None, failures: 0 }
    }

    fn stream(self) -> impl Stream<Item = Stored> + Send + 'static {
        stream::unfold(self, |mut tail| async move {
            let stored = tail.next().await;
            Some((stored, tail))
        })
    }

    async fn next(&mut self) -> Stored {
        loop {
            let Some(reader) = &mut self.reader else {
                self.open().await;
                continue;
            };
            let read = tokio::select! {
                biased;
                // The consumer may have died with the server: begin anew where we are.
                _ = self.connections.changed() => {
                    self.connections.mark_changed();
                    None
                }
                read = reader.stored.next() => read,
            };
            match read {
                Some(Ok(message)) => {
                    let place = message.info().map(|info| (info.stream_sequence, info.consumer_sequence));
                    match place {
                        // One was lost on the way: it is read again from where we are.
                        Ok((_, given)) if given != reader.given + 1 => self.reader = None,
                        Ok((seq, given)) => {
                            (reader.given, self.next, self.failures) = (given, seq + 1, 0);
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
        let is_another = self.connections.has_changed().unwrap_or(false);
        self.connections.mark_unchanged();
        if is_another && self.rewinds {
            self.next = 1;
        }
        match read(&self.bus, &self.name, self.filter.as_deref(), self.next).await {
            Ok(stored) => self.reader = Some(Reader { stored, given: 0 }),
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

async fn read(bus: &Bus, name: &str, filter: Option<&str>, next: u64) -> Result<pull::Stream, Error> {
    let failed = |error: async_nats::Error| Error::broker(format!("reading stream {name}"), error);
    let config = pull::Config {
        // Without a name the filter would stand in the request's body, where the broker's permissions do not look.
        name: Some(bus.consumer_name()),
        filter_subject: filter.unwrap_or_default().to_owned(),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next.max(1) },
        ack_policy: AckPolicy::None,
        inactive_threshold: FORGOTTEN,
        memory_storage: true,
        num_replicas: 1,
        ..Default::default()
    };
    let made = bus.stream(name).await?.create_consumer(config).await;
    let consumer: PullConsumer = made.map_err(|error| failed(error.into()))?;
    let stored = consumer.stream().max_messages_per_batch(BATCH).expires(PULL).heartbeat(PULL / 2);
    stored.messages().await.map_err(|error| failed(error.into()))
}
