//! Keys and values that several services share by compare-and-set. Other tools read them as a NATS KV bucket.

use async_nats::{HeaderMap, jetstream::message::StreamMessage};
use futures::{Stream, StreamExt};
use model::Token;
use tracing::error;
use wire::Message;

use crate::{
    Attempt, Bucket, Bus, Error, Failure, WriteError,
    cas::{RACES, RACING},
    frame,
    subject::bucket_stream,
};

const OPERATION: &str = "KV-Operation";

/// A change in a bucket: the key, its value (none: it was deleted) and its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<V> {
    /// The key.
    pub key: String,
    /// The value; none when the key was deleted.
    pub value: Option<V>,
    /// Grows with every write to the bucket.
    pub revision: u64,
}

/// What becomes of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<V> {
    /// It stays as it is.
    Keep,
    /// This stands there from now on.
    Put(V),
    /// Nothing stands there from now on.
    Delete,
}

/// What stands under a key after [`BucketHandle::change`].
#[derive(Clone, Debug, PartialEq)]
pub struct Changed<V> {
    /// The value; none when there is none.
    pub value: Option<V>,
    /// Its revision, or that of its deletion; 0 when there never was a value.
    pub revision: u64,
    /// This call wrote it.
    pub is_new: bool,
}

/// A bucket on a connection; cheap to clone.
pub struct BucketHandle<V> {
    bus: Bus,
    name: &'static str,
    kind: std::marker::PhantomData<fn(V) -> V>,
}

impl<V> Clone for BucketHandle<V> {
    fn clone(&self) -> Self {
        BucketHandle { bus: self.bus.clone(), name: self.name, kind: self.kind }
    }
}

impl Bus {
    /// The bucket on this connection; [`Bus::ensure`] has made it.
    pub fn bucket<V: Message>(&self, bucket: &Bucket<V>) -> BucketHandle<V> {
        BucketHandle { bus: self.clone(), name: bucket.name, kind: std::marker::PhantomData }
    }
}

impl<V: Message + Send + 'static> BucketHandle<V> {
    /// The value and its revision, read from the leader; none when the key is not there.
    pub async fn get(&self, key: &str) -> Result<Option<(V, u64)>, Error> {
        match self.last(key).await? {
            Some(found) if !is_deleted(&found.headers) => {
                Ok(Some((frame::decode(Some(&found.headers), &found.payload)?, found.sequence)))
            }
            _ => Ok(None),
        }
    }

    /// Writes the first value of a key; raced when it has one. Returns the revision.
    pub async fn create(&self, key: &str, value: &V) -> Result<u64, WriteError> {
        let expected = match self.last(key).await.map_err(WriteError::Unavailable)? {
            None => 0,
            Some(found) if is_deleted(&found.headers) => found.sequence,
            Some(_) => return Err(WriteError::Raced),
        };
        self.write(key, frame::headers::<V>(self.bus.said_by()), value.encode(), expected).await
    }

    /// Writes a value if the key's revision is still `revision`; else raced. Returns the new revision.
    pub async fn update(&self, key: &str, value: &V, revision: u64) -> Result<u64, WriteError> {
        self.write(key, frame::headers::<V>(self.bus.said_by()), value.encode(), revision).await
    }

    /// Deletes a key if its revision is still `revision`; else raced.
    pub async fn delete(&self, key: &str, revision: u64) -> Result<(), WriteError> {
        self.write(key, deletion(), Vec::new(), revision).await.map(|_| ())
    }

    /// Writes what `change` makes of the value that stands there (none: there is none). When another writer was first,
    /// it is asked again with the new value, and says no before anything is written by failing. Gives up after 50 lost
    /// races, having written nothing.
    pub async fn change<E: From<Failure>>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<&V>) -> Result<Change<V>, E>,
    ) -> Result<Changed<V>, E> {
        let what = || format!("change {key} in bucket {}", self.name);
        for lost in 1..=RACES {
            let found = self.last(key).await.attempt(what())?;
            let revision = found.as_ref().map_or(0, |found| found.sequence);
            let value: Option<V> = match found {
                Some(found) if !is_deleted(&found.headers) => {
                    let value = frame::decode(Some(&found.headers), &found.payload);
                    Some(value.map_err(Error::from).attempt(what())?)
                }
                _ => None,
            };
            let (next, headers) = match change(value.as_ref())? {
                Change::Keep => return Ok(Changed { value, revision, is_new: false }),
                Change::Delete if value.is_none() => {
                    return Ok(Changed { value, revision, is_new: false });
                }
                Change::Put(next) => (Some(next), frame::headers::<V>(self.bus.said_by())),
                Change::Delete => (None, deletion()),
            };
            let payload = next.as_ref().map(Message::encode).unwrap_or_default();
            match self.write(key, headers, payload, revision).await {
                Ok(revision) => return Ok(Changed { value: next, revision, is_new: true }),
                Err(WriteError::Raced) => RACING.pause(lost).await,
                Err(source) => return Err(Failure { what: what().into(), source }.into()),
            }
        }
        Err(Failure { what: what().into(), source: WriteError::Raced }.into())
    }

    /// Every value as it stands, then every change, for ever. After a lost connection it begins anew with every value as it
    /// stands, so that an older copy of the bucket that was put back meanwhile hides no later change. Of quick changes to
    /// one key only the last may be seen. What cannot be read is logged as an error and left out.
    pub fn watch_all(&self) -> impl Stream<Item = Entry<V>> + Send + Unpin + 'static + use<V> {
        let (prefix, filter) = (format!("$KV.{}.", self.name), format!("$KV.{}.>", self.name));
        self.bus
            .tail_again(bucket_stream(self.name), filter)
            .filter_map(move |stored| {
                let subject = stored.message.subject.as_str();
                let key = subject.strip_prefix(&prefix).unwrap_or(subject).to_owned();
                let headers = stored.message.headers.as_ref();
                let value = if headers.is_some_and(is_deleted) {
                    Ok(None)
                } else {
                    frame::decode(headers, &stored.message.payload).map(Some)
                };
                let entry = match value {
                    Ok(value) => Some(Entry { key, value, revision: stored.seq }),
                    Err(error) => {
                        error!(
                            subject,
                            error = crate::error::chain(&error),
                            "an unreadable value in a bucket"
                        );
                        None
                    }
                };
                std::future::ready(entry)
            })
            .boxed()
    }

    /// Every key that has a value, with it; read from the leader one by one is not promised: for lists. What cannot be read
    /// is logged as an error and left out.
    pub async fn all(&self) -> Result<Vec<Entry<V>>, Error> {
        let end = self.bus.last_sequence(&bucket_stream(self.name)).await?;
        let (stream, filter) = (bucket_stream(self.name), format!("$KV.{}.>", self.name));
        let mut entries = Vec::new();
        let mut from = 1;
        while from <= end
            && let Some(found) = self.bus.next_on(&stream, &filter, from).await?
        {
            from = found.sequence + 1;
            if !is_deleted(&found.headers) {
                let key = found.subject.as_str().splitn(3, '.').last().unwrap_or_default().to_owned();
                match frame::decode(Some(&found.headers), &found.payload) {
                    Ok(value) => entries.push(Entry { key, value: Some(value), revision: found.sequence }),
                    Err(error) => {
                        let (subject, error) = (found.subject.as_str(), crate::error::chain(&error));
                        error!(subject, error, "an unreadable value in a bucket");
                    }
                }
            }
        }
        Ok(entries)
    }

    fn subject(&self, key: &str) -> Result<String, Error> {
        for part in key.split('.') {
            part.parse::<Token>()?;
        }
        Ok(format!("$KV.{}.{key}", self.name))
    }

    async fn last(&self, key: &str) -> Result<Option<StreamMessage>, Error> {
        self.bus.last_on(&bucket_stream(self.name), &self.subject(key)?).await
    }

    async fn write(
        &self,
        key: &str,
        headers: HeaderMap,
        payload: Vec<u8>,
        expected: u64,
    ) -> Result<u64, WriteError> {
        let subject = self.subject(key).map_err(WriteError::Unavailable)?;
        // Unique to this attempt: two writers of the same bytes must not both win.
        let id = format!("{key}:{expected}:{:032x}", rand::random::<u128>());
        let stream = bucket_stream(self.name);
        let written =
            self.bus.publish_on_top(&stream, &subject, headers, payload.into(), &id, expected.into());
        Ok(written.await?)
    }
}

fn deletion() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OPERATION, "DEL");
    headers
}

fn is_deleted(headers: &HeaderMap) -> bool {
    matches!(frame::text(Some(headers), OPERATION), Some("DEL" | "PURGE"))
}
