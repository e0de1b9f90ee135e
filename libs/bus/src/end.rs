//! The end of a journal, also where the server cannot give it.
//!
//! A message whose bytes were changed on disk is left out by every way of reading. In the middle of a journal this shows as
//! a hole in the versions. The newest of a subject shows by nothing that can be read: the server says that the subject has
//! no last message and goes on counting it, refuses every append that expects a record, and takes one that expects an
//! empty journal. Messages that the server finds damaged while it starts it cuts off with all that follows, and counts no
//! longer; they are lost, and look as if they had never been.

use std::collections::BTreeMap;

use async_nats::jetstream::stream::Info;
use futures::{StreamExt, TryStreamExt, stream};
use model::{Digest, Timestamp, journal::Unreadable};

use crate::{Bus, Error, Log};

/// Places that are looked at side by side.
const LOOKS: usize = 64;

/// What stands at the end of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing was ever written to it.
    Empty,
    /// The newest message stands at this sequence.
    At(u64),
    /// The server counts messages, and cannot give the newest.
    Damaged,
}

impl Bus {
    /// Where the journal on `subject` ends, as the stream's leader has it. Of one that ends in order this is one question.
    pub(crate) async fn end_on(&self, stream: &str, subject: &str) -> Result<End, Error> {
        if let Some(last) = self.last_on(stream, subject).await? {
            return Ok(End::At(last.sequence));
        }
        let (_, counted) = self.counted(stream, subject).await?;
        if !counted.contains_key(subject) {
            return Ok(End::Empty);
        }
        // The first one may have been written between the two questions.
        let last = self.last_on(stream, subject).await?;
        Ok(last.map_or(End::Damaged, |last| End::At(last.sequence)))
    }

    /// How many messages the server counts on each subject.
    pub(crate) async fn counted(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<(Info, BTreeMap<String, u64>), Error> {
        let failed = |error| Error::broker(format!("counting what stands on {filter}"), error);
        let asked = self.stream(stream).await?.info_builder().with_deleted(true).subjects(filter);
        let mut told = asked.fetch().await.map_err(failed)?;
        let mut counted = BTreeMap::new();
        while let Some((subject, count)) = told.try_next().await.map_err(failed)? {
            counted.insert(subject, count as u64);
        }
        Ok((told.info, counted))
    }

    /// Names the newest record of a journal, which the server cannot give. `given` records can be read, the last of them at
    /// `after`.
    pub(crate) async fn damaged<E>(
        &self,
        log: &Log<E>,
        id: &str,
        after: u64,
        given: u64,
    ) -> Result<Unreadable, Error> {
        let (stream, subject) = (log.stream(crate::shard_of(id)), log.subject(id));
        let (info, counted) = self.counted(&stream, &subject).await?;
        let counted = counted.get(&subject).copied().unwrap_or_default();
        let why = format!(
            "nats-server counts it as the newest of {counted} records of this journal and cannot give it: its bytes are \
             damaged on the server's disk; {given} can be read"
        );
        Ok(Unreadable {
            log: log.noun.to_owned(),
            id: id.to_owned(),
            seq: self.first_that_is_not_given(&stream, after, &info).await?,
            subject,
            stream,
            at: Timestamp::default(),
            by: None,
            digest: Digest::of_bytes(b""),
            size: 0,
            begins: String::new(),
            why,
            holds_up: true,
        })
    }

    /// The first place after `after` at which a message should stand and the server gives none. Of several journals of one
    /// stream that end in damage it may be another's: which journal a message belongs to, the server does not say when it
    /// cannot give it.
    async fn first_that_is_not_given(&self, stream: &str, after: u64, info: &Info) -> Result<u64, Error> {
        let deleted = info.state.deleted.as_deref().unwrap_or_default();
        let places = (after + 1..=info.state.last_sequence).filter(|seq| !deleted.contains(seq));
        let look = |seq| async move { Ok::<_, Error>((seq, self.at(stream, seq).await?.is_some())) };
        let mut looked = stream::iter(places).map(look).buffered(LOOKS);
        while let Some((seq, is_given)) = looked.try_next().await? {
            if !is_given {
                return Ok(seq);
            }
        }
        Ok(after + 1)
    }
}
