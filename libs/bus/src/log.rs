//! Journals: appended only on top of what the writer knew, read back from the leader.

use std::{collections::HashMap, str::FromStr, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
};
use bytes::Bytes;
use futures::{StreamExt, future::try_join_all};
use model::{Digest, Record, Timestamp, Token, journal::Unreadable};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use wire::Message;

use crate::{
    AppendError, Bus, Error, Examined, Log, SHARDS,
    cas::{Lost, Top},
    end::End,
    examine::Stored,
    frame,
};

/// Messages asked for at once when the last entries are read.
const BATCH: usize = 100;
/// So often in a row the server may give nothing of what it counts before the rest is asked for one by one.
const IN_VAIN: u32 = 3;

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

/// The last entry of every journal that was written to.
#[derive(Clone, Debug)]
pub struct Last<E> {
    /// Those that can be read.
    pub entries: Vec<Entry<E>>,
    /// The others, and what stands where no journal can.
    pub unreadable: Vec<Unreadable>,
    /// How far was read.
    pub since: Since,
}

impl Bus {
    /// Appends a record if the journal's last entry is still at `expected_last_seq` (0: the journal is empty).
    /// Of several writers that knew the same, exactly one succeeds. When it returns, the record is durable.
    ///
    /// Appending the same record again is safe and finds it. The message id is
    /// `<id>:<version>:<writer>:<digest>`: the digest keeps two writers within one replica apart, which the broker's
    /// deduplication would else both tell that they had won.
    ///
    /// [`Error::Unreadable`] when what stands on top of it cannot be given by the server: nobody was first, and to load
    /// again does not help.
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
        match self.publish_record(log, id, record, expected_last_seq.into()).await {
            Err(Lost::Unexplained) => {
                let examined = self.examine_after(log, id, expected_last_seq, None).await;
                let examined = examined.map_err(AppendError::Unavailable)?;
                if examined.ends_damaged {
                    examined.whole().map_err(AppendError::Unavailable)?;
                }
                Err(AppendError::Raced)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Appends a record on top of everything that was found there, usable or not: for a record that says what is to be
    /// passed over. Else like [`Bus::append`].
    pub async fn append_over<E>(
        &self,
        log: &Log<E>,
        id: &str,
        record: &Record<E>,
        found: &Examined<E>,
    ) -> Result<u64, AppendError>
    where
        E: Serialize + DeserializeOwned,
    {
        let after = found.last_seq;
        // For the server a journal is empty whose newest record it cannot give.
        let expected = if found.ends_damaged { 0 } else { after };
        Ok(self.publish_record(log, id, record, Top { expected, after }).await?)
    }

    async fn publish_record<E>(
        &self,
        log: &Log<E>,
        id: &str,
        record: &Record<E>,
        top: Top,
    ) -> Result<u64, Lost>
    where
        E: Serialize + DeserializeOwned,
    {
        for text in [id, record.id.as_str()] {
            Token::from_str(text).map_err(|error| Lost::Unavailable(error.into()))?;
        }
        let payload = Bytes::from(record.encode());
        let digest = Digest::of_bytes(&payload).short();
        let message_id = format!("{id}:{}:{}:{digest}", record.version, record.writer);
        let headers = frame::headers::<Record<E>>(self.said_by());
        let stream = log.stream(crate::shard_of(id));
        self.publish_on_top(&stream, &log.subject(id), headers, payload, &message_id, top).await
    }

    /// The whole journal in order; empty when there is none. Read from the leader: it contains every record whose
    /// append has returned. [`Error::Unreadable`] when a record cannot be used or the versions have a hole;
    /// [`Bus::examine`] tells what.
    pub async fn load<E>(&self, log: &Log<E>, id: &str) -> Result<Vec<Entry<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        self.examine(log, id).await?.whole()
    }

    /// The entries after sequence `seq`, like [`Bus::load`]. The caller knows the version at `seq`.
    pub async fn load_after<E>(&self, log: &Log<E>, id: &str, seq: u64) -> Result<Vec<Entry<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        self.examine_after(log, id, seq, None).await?.whole()
    }

    /// The last entry of every journal, in no order. A little old when a follower of the broker answers: for lists
    /// and sweeps, never to decide on. Bounded by the broker timeout per 100 records.
    pub async fn last_of_each<E>(&self, log: &Log<E>) -> Result<Last<E>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        self.last_of_each_since(log, Since::default()).await
    }

    /// The last entry of every journal that was written to since, and how far was read: what is new costs, not what
    /// there is. [`Since::default`] is the beginning.
    pub async fn last_of_each_since<E>(&self, log: &Log<E>, since: Since) -> Result<Last<E>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        let shards = (0..SHARDS).zip(since.0).map(|(shard, after)| self.last_of_shard(log, shard, after));
        let mut last = Last { entries: Vec::new(), unreadable: Vec::new(), since };
        for (after, read) in last.since.0.iter_mut().zip(try_join_all(shards).await?) {
            for stored in read {
                *after = stored.as_ref().map_or_else(|bad| bad.seq, |entry| entry.seq).max(*after);
                match stored {
                    Ok(entry) => last.entries.push(entry),
                    Err(unreadable) => last.unreadable.push(*unreadable),
                }
            }
        }
        Ok(last)
    }

    /// In memory is one message per subject and one batch, however much was written since.
    async fn last_of_shard<E>(&self, log: &Log<E>, shard: u32, after: u64) -> Result<Vec<Read<E>>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        let stream = log.stream(shard);
        let failed = |error: async_nats::Error| Error::broker(format!("listing stream {stream}"), error);
        let config = pull::Config {
            name: Some(self.consumer_name()),
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
        let patience = self.shared.settings.broker_timeout.0;
        let total = consumer.cached_info().num_pending;
        let mut last: HashMap<String, Newest> = HashMap::new();
        let (mut seen, mut in_vain) = (0, 0);
        // A record that the server cannot give is counted, and ends what it gives at once.
        while seen < total && in_vain < IN_VAIN {
            let want = usize::try_from(total - seen).unwrap_or(usize::MAX).min(BATCH);
            let batch = timeout(patience, consumer.fetch().max_messages(want).messages()).await;
            let mut batch =
                batch.map_err(|late| failed(late.into()))?.map_err(|error| failed(error.into()))?;
            let before = seen;
            while let Some(message) =
                timeout(patience, batch.next()).await.map_err(|late| failed(late.into()))?
            {
                let message = message.map_err(failed)?;
                let info = message.info().map_err(failed)?;
                let (seq, at) =
                    (info.stream_sequence, frame::stored_at(info.published.unix_timestamp_nanos()));
                // A copy: a slice would keep the whole buffer that was read from the connection.
                let payload = Bytes::copy_from_slice(&message.payload);
                let newest = Newest { seq, at, headers: message.message.headers.clone(), payload };
                last.insert(message.subject.to_string(), newest);
                seen += 1;
            }
            in_vain = if seen == before { in_vain + 1 } else { 0 };
        }
        let damaged = if after == 0 { self.left_out(log, shard, &mut last).await? } else { Vec::new() };
        let read = |(subject, newest): (String, Newest)| {
            let Newest { seq, at, headers, payload } = &newest;
            let stored = Stored {
                stream: &stream,
                subject: &subject,
                seq: *seq,
                at: *at,
                headers: headers.as_ref(),
                payload,
            };
            stored.read(log)
        };
        Ok(last.into_iter().map(read).chain(damaged.into_iter().map(|found| Err(Box::new(found)))).collect())
    }

    /// Adds the newest of each journal of which the server gave nothing, and gives what it cannot give: it left those out,
    /// and perhaps others with them.
    async fn left_out<E>(
        &self,
        log: &Log<E>,
        shard: u32,
        last: &mut HashMap<String, Newest>,
    ) -> Result<Vec<Unreadable>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        let stream = log.stream(shard);
        if last.len() as u64 >= self.subjects_of(&stream).await? {
            return Ok(Vec::new());
        }
        let (_, counted) = self.counted(&stream, &log.filter(shard)).await?;
        let mut damaged = Vec::new();
        for subject in counted.into_keys().filter(|subject| !last.contains_key(subject)).collect::<Vec<_>>() {
            if let Some(found) = self.last_on(&stream, &subject).await? {
                let at = frame::stored_at(found.time.unix_timestamp_nanos());
                let newest =
                    Newest { seq: found.sequence, at, headers: Some(found.headers), payload: found.payload };
                last.insert(subject, newest);
            } else if self.end_on(&stream, &subject).await? == End::Damaged {
                let id = log.id_of(&subject);
                // What stands where no journal can holds up nothing, and says nothing any more.
                if Token::from_str(id).is_ok() && log.subject(id) == subject {
                    damaged.extend(self.examine(log, id).await?.unreadable.into_iter().next());
                }
            }
        }
        Ok(damaged)
    }
}

type Read<E> = Result<Entry<E>, Box<Unreadable>>;

/// The newest message on one subject so far.
struct Newest {
    seq: u64,
    at: Timestamp,
    headers: Option<HeaderMap>,
    payload: Bytes,
}
