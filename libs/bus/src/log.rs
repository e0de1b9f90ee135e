//! Journals: appended only on top of what the writer knew, read back from the leader.

use std::{collections::HashMap, str::FromStr, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
};
use bytes::Bytes;
use futures::{StreamExt, future::try_join_all};
use model::{Digest, Record, Token};
use serde::{Serialize, de::DeserializeOwned};
use wire::Message;

use crate::{AppendError, Bus, Error, Log, SHARDS, frame};

/// Messages asked for at once when the last entries are read.
const BATCH: usize = 100;

/// A record and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<E> {
    /// Its place in its shard's stream; what the next [`Bus::append`] to the same journal expects.
    pub seq: u64,
    /// The record.
    pub record: Record<E>,
}

/// How far the streams of a log were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since([u64; SHARDS as usize]);

impl Bus {
    /// Appends a record if the journal's last entry is still at `expected_last_seq` (0: the journal is empty).
    /// Of several writers that knew the same, exactly one succeeds. When it returns, the record is durable.
    ///
    /// Appending the same record again is safe and finds it. The message id is
    /// `<id>:<version>:<writer>:<digest>`: the digest keeps two writers within one replica apart, which the broker's
    /// deduplication would else both tell that they had won.
    pub async fn append<E>(
        &self,
        log: &Log<E>,
        id: &str,
        record: &Record<E>,
        expected_last_seq: u64,
    ) -> Result<u64, AppendError>
    where
        E: Serialize + DeserializeOwned,
    {
        for text in [id, record.id.as_str()] {
            Token::from_str(text).map_err(|error| AppendError::Unavailable(error.into()))?;
        }
        let payload = Bytes::from(record.encode());
        let digest = Digest::of_bytes(&payload).short();
        let message_id = format!("{id}:{}:{}:{digest}", record.version, record.writer);
        let headers = frame::headers::<Record<E>>(self.identity());
        let stream = log.stream(crate::shard_of(id));
        self.publish_on_top(&stream, &log.subject(id), headers, payload, &message_id, expected_last_seq).await
    }

    /// The whole journal in order; empty when there is none. Read from the leader: it contains every record whose
    /// append has returned. A hole in the versions is [`Error::Gap`].
    pub async fn load<E>(&self, log: &Log<E>, id: &str) -> Result<Vec<Entry<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        self.read(log, id, 0, Some(1)).await
    }

    /// The entries after sequence `seq`, like [`Bus::load`]. The caller knows the version at `seq`.
    pub async fn load_after<E>(&self, log: &Log<E>, id: &str, seq: u64) -> Result<Vec<Entry<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        self.read(log, id, seq, None).await
    }

    async fn read<E>(
        &self,
        log: &Log<E>,
        id: &str,
        after: u64,
        mut expected: Option<u64>,
    ) -> Result<Vec<Entry<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        Token::from_str(id)?;
        let (stream, subject) = (log.stream(crate::shard_of(id)), log.subject(id));
        let mut entries: Vec<Entry<E>> = Vec::new();
        let mut from = after + 1;
        while let Some(message) = self.next_on(&stream, &subject, from).await? {
            let seq = message.sequence;
            let record: Record<E> = frame::decode(Some(&message.headers), &message.payload)?;
            if let Some(expected) = expected
                && record.version != expected
            {
                return Err(Error::Gap { id: id.to_owned(), expected, found: record.version, seq });
            }
            expected = Some(record.version + 1);
            from = seq + 1;
            entries.push(Entry { seq, record });
        }
        Ok(entries)
    }

    /// The last entry of every journal, in no order. A little old when a follower of the broker answers: for lists
    /// and sweeps, never to decide on. Bounded by the broker timeout per 100 records.
    pub async fn last_of_each<E>(&self, log: &Log<E>) -> Result<Vec<Entry<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        Ok(self.last_of_each_since(log, Since::default()).await?.0)
    }

    /// The last entry of every journal that was written to since, and how far was read: what is new costs, not what
    /// there is. [`Since::default`] is the beginning.
    pub async fn last_of_each_since<E>(
        &self,
        log: &Log<E>,
        since: Since,
    ) -> Result<(Vec<Entry<E>>, Since), Error>
    where
        E: Serialize + DeserializeOwned,
    {
        let shards = (0..SHARDS).zip(since.0).map(|(shard, after)| self.last_of_shard(log, shard, after));
        let mut read = since;
        let mut all = Vec::new();
        for (after, entries) in read.0.iter_mut().zip(try_join_all(shards).await?) {
            *after = entries.iter().map(|entry| entry.seq).max().unwrap_or(0).max(*after);
            all.extend(entries);
        }
        Ok((all, read))
    }

    /// In memory is one message per journal and one batch, however much was written since.
    async fn last_of_shard<E>(&self, log: &Log<E>, shard: u32, after: u64) -> Result<Vec<Entry<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        let stream = log.stream(shard);
        let failed = |error: async_nats::Error| Error::broker(format!("listing stream {stream}"), error);
        let config = pull::Config {
            deliver_policy: match after {
                0 => DeliverPolicy::LastPerSubject,
                after => DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            },
            ack_policy: AckPolicy::None,
            filter_subject: log.filter(shard),
            inactive_threshold: Duration::from_secs(30),
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        };
        let consumer: PullConsumer = self
            .stream(&stream)
            .await?
            .create_consumer(config)
            .await
            .map_err(|error| failed(error.into()))?;
        let total = consumer.cached_info().num_pending;
        let mut last: HashMap<String, Last> = HashMap::new();
        let mut seen = 0;
        while seen < total {
            let want = usize::try_from(total - seen).unwrap_or(usize::MAX).min(BATCH);
            let batch = consumer.batch().max_messages(want).expires(self.shared.settings.broker_timeout.0);
            let mut batch = batch.messages().await.map_err(|error| failed(error.into()))?;
            let before = seen;
            while let Some(message) = batch.next().await {
                let message = message.map_err(failed)?;
                let seq = message.info().map_err(failed)?.stream_sequence;
                let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                // A copy: a slice would keep the whole buffer that was read from the connection.
                let payload = Bytes::copy_from_slice(&message.payload);
                last.insert(id, Last { seq, headers: message.message.headers, payload });
                seen += 1;
            }
            if seen == before {
                // Fewer than were counted: a journal grew meanwhile and its older last entry is no longer the last.
                break;
            }
        }
        let read = |last: Last| {
            Ok(Entry { seq: last.seq, record: frame::decode(last.headers.as_ref(), &last.payload)? })
        };
        last.into_values().map(read).collect()
    }
}

/// The newest message of one journal so far.
struct Last {
    seq: u64,
    headers: Option<HeaderMap>,
    payload: Bytes,
}
