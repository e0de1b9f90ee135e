//! What of a journal can be used, and what stands there that cannot.
//!
//! Journals are never deleted from, so bytes that somebody else wrote, or an event of a newer version of us, stay. They
//! hold up their own journal and nothing else: nothing is decided on a journal of which a part is not understood. A
//! person may have one record passed over; that is an event in the same journal, named [`RECORD_SKIPPED`].

use std::str::FromStr;

use async_nats::HeaderMap;
use bytes::Bytes;
use model::{
    Digest, Record, Timestamp, Token,
    journal::{RECORD_SKIPPED, Skip, Unreadable},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Bus, Entry, Error, Log, end::End, frame};

/// How many of an unreadable record's bytes are shown.
const SHOWN: usize = 200;

/// A journal, taken apart.
#[derive(Clone, Debug)]
pub struct Examined<E> {
    /// What counts, in order: without what is passed over, and up to the first hole in the versions.
    pub entries: Vec<Entry<E>>,
    /// What cannot be used and is not passed over, in order. Nothing may be decided until this is empty.
    pub unreadable: Vec<Unreadable>,
    /// The sequence of the newest message of the journal that can be read, usable or not; 0 when there is none.
    pub last_seq: u64,
    /// There is a newer one that the server cannot give.
    pub(crate) ends_damaged: bool,
}

/// A stored message of a log.
pub(crate) struct Stored<'a> {
    pub stream: &'a str,
    pub subject: &'a str,
    pub seq: u64,
    pub at: Timestamp,
    pub headers: Option<&'a HeaderMap>,
    pub payload: &'a Bytes,
}

impl Stored<'_> {
    /// Reads it as a record of the journal that its subject names.
    pub(crate) fn read<E>(&self, log: &Log<E>) -> Result<Entry<E>, Box<Unreadable>>
    where
        E: Serialize + DeserializeOwned,
    {
        let id = log.id_of(self.subject);
        let is_place = Token::from_str(id).is_ok() && log.subject(id) == self.subject;
        let found = match frame::decode::<Record<E>>(self.headers, self.payload) {
            _ if !is_place => Err("no journal stands at this subject".to_owned()),
            Ok(record) if record.id != id => Err(format!("it says that it belongs to {:?}", record.id)),
            Ok(record) => Ok(record),
            Err(error) => Err(crate::error::chain(&error)),
        };
        match found {
            Ok(record) => Ok(Entry { seq: self.seq, record }),
            Err(why) => Err(Box::new(self.unreadable(log, why, is_place))),
        }
    }

    fn unreadable<E>(&self, log: &Log<E>, why: String, holds_up: bool) -> Unreadable {
        let text = String::from_utf8_lossy(&self.payload[..self.payload.len().min(SHOWN)]);
        let plain = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '·' } else { c };
        Unreadable {
            log: log.noun.to_owned(),
            id: log.id_of(self.subject).to_owned(),
            subject: self.subject.to_owned(),
            stream: self.stream.to_owned(),
            seq: self.seq,
            at: self.at,
            by: frame::principal(self.headers).ok(),
            digest: Digest::of_bytes(self.payload),
            size: self.payload.len() as u64,
            begins: text.chars().map(plain).collect(),
            why: why.chars().map(plain).collect(),
            holds_up,
        }
    }
}

impl Bus {
    /// Takes the journal apart: what of it counts, and what cannot be used. Read from the leader, like [`Bus::load`],
    /// which fails where this lists.
    pub async fn examine<E>(&self, log: &Log<E>, id: &str) -> Result<Examined<E>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        self.examine_after(log, id, 0, Some(1)).await
    }

    pub(crate) async fn examine_after<E>(
        &self,
        log: &Log<E>,
        id: &str,
        after: u64,
        expected: Option<u64>,
    ) -> Result<Examined<E>, Error>
    where
        E: Serialize + DeserializeOwned,
    {
        Token::from_str(id)?;
        let (stream, subject) = (log.stream(crate::shard_of(id)), log.subject(id));
        let end = self.end_on(&stream, &subject).await?;
        if end == End::Damaged && after > 0 {
            // What was read before may be damaged since.
            return Box::pin(self.examine(log, id)).await;
        }
        let mut found =
            Examined { entries: Vec::new(), unreadable: Vec::new(), last_seq: after, ends_damaged: false };
        if end == End::Empty || matches!(end, End::At(seq) if seq <= after) {
            return Ok(found);
        }
        while let Some(message) = self.next_on(&stream, &subject, found.last_seq + 1).await? {
            found.last_seq = message.sequence;
            let stored = Stored {
                stream: &stream,
                subject: &subject,
                seq: message.sequence,
                at: frame::stored_at(message.time.unix_timestamp_nanos()),
                headers: Some(&message.headers),
                payload: &message.payload,
            };
            match stored.read(log) {
                Ok(entry) => found.entries.push(entry),
                Err(unreadable) => found.unreadable.push(*unreadable),
            }
        }
        let given = (found.entries.len() + found.unreadable.len()) as u64;
        let last_seq = found.last_seq;
        found.pass_over();
        found.check_versions(log, id, expected);
        if end == End::Damaged {
            found.unreadable.push(self.damaged(log, id, last_seq, given).await?);
            found.ends_damaged = true;
        }
        Ok(found)
    }
}

impl<E: Serialize + DeserializeOwned> Examined<E> {
    /// All of it, or why not.
    pub(crate) fn whole(mut self) -> Result<Vec<Entry<E>>, Error> {
        if self.unreadable.is_empty() {
            return Ok(self.entries);
        }
        Err(Error::Unreadable(Box::new(self.unreadable.swap_remove(0))))
    }

    /// Takes out what a later record says is to be passed over; also what this version can read and an older one could
    /// not, so that all versions see the same journal.
    fn pass_over(&mut self) {
        if self.unreadable.is_empty() && self.is_gapless() {
            return;
        }
        let skips: Vec<Skip> = self.entries.iter().flat_map(|entry| skips(&entry.record)).collect();
        self.unreadable
            .retain(|found| !skips.iter().any(|skip| skip.seq == found.seq && skip.digest == found.digest));
        self.entries.retain(|entry| !skips.iter().any(|skip| skip.seq == entry.seq));
    }

    fn is_gapless(&self) -> bool {
        self.entries.windows(2).all(|pair| pair[1].record.version == pair[0].record.version + 1)
    }

    /// A record whose version does not follow is as unusable as one that cannot be read.
    fn check_versions(&mut self, log: &Log<E>, id: &str, mut expected: Option<u64>) {
        let mut follows = |entry: &Entry<E>| {
            let fits = expected.is_none_or(|expected| entry.record.version == expected);
            expected = Some(entry.record.version + 1);
            fits
        };
        let Some(hole) = self.entries.iter().position(|entry| !follows(entry)) else { return };
        let before = hole.checked_sub(1).map_or(0, |at| self.entries[at].record.version);
        for entry in self.entries.split_off(hole) {
            let payload = Bytes::from(wire::Message::encode(&entry.record));
            let stored = Stored {
                stream: &log.stream(crate::shard_of(id)),
                subject: &log.subject(id),
                seq: entry.seq,
                at: entry.record.at,
                headers: None,
                payload: &payload,
            };
            let why = format!("its version is {} after {before}", entry.record.version);
            self.unreadable.push(stored.unreadable(log, why, true));
        }
        self.unreadable.sort_by_key(|found| found.seq);
    }
}

fn skips<E: Serialize>(record: &Record<E>) -> Vec<Skip> {
    let events = record.events.iter().filter_map(|event| serde_json::to_value(event).ok());
    events
        .filter(|event| event.get("event").and_then(|name| name.as_str()) == Some(RECORD_SKIPPED))
        .filter_map(|event| serde_json::from_value(event).ok())
        .collect()
}
