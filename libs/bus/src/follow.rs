//! Following a log as it grows.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    Stream, StreamExt,
    stream::{BoxStream, select_all},
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::error;

use crate::{Bus, Entry, Error, Log, SHARDS, frame};

/// Where following begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first record ever written.
    All,
    /// With the first record written after this call.
    Now,
}

/// The entries of a log as they are written: in order within each journal, in no order between journals of different
/// shards. Survives lost connections without losing or repeating an entry; never ends.
pub struct Follow<E> {
    entries: BoxStream<'static, Entry<E>>,
}

impl<E> Stream for Follow<E> {
    type Item = Entry<E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Entry<E>>> {
        self.entries.poll_next_unpin(context)
    }
}

impl Bus {
    /// Follows a log. An entry that cannot be read (a newer version of us wrote it) is logged as an error and left
    /// out here; [`Bus::load`], on which decisions are made, fails on it.
    pub async fn follow<E>(&self, log: &Log<E>, start: Start) -> Result<Follow<E>, Error>
    where
        E: Serialize + DeserializeOwned + Send + 'static,
    {
        let mut shards = Vec::new();
        for shard in 0..SHARDS {
            let name = log.stream(shard);
            let next = match start {
                Start::All => 1,
                Start::Now => self.last_sequence(&name).await? + 1,
            };
            shards.push(self.tail(name, Some(log.filter(shard)), next).boxed());
        }
        let entries = select_all(shards).filter_map(|stored| async move {
            match frame::decode(stored.message.headers.as_ref(), &stored.message.payload) {
                Ok(record) => Some(Entry { seq: stored.seq, record }),
                Err(error) => {
                    let subject = stored.message.subject.as_str();
                    error!(
                        subject,
                        seq = stored.seq,
                        error = crate::error::chain(&error),
                        "an unreadable journal entry"
                    );
                    None
                }
            }
        });
        Ok(Follow { entries: entries.boxed() })
    }
}
