//! A work queue as JetStream keeps it: at least once, to one consumer at a time, deduplicated within a window only.

use std::collections::BTreeMap;

/// How long a message id is remembered, in milliseconds: as long as the bus sets it.
const WINDOW: i64 = 600_000;

/// One message.
#[derive(Clone, Debug)]
pub struct Message<T> {
    /// What is said.
    pub payload: T,
    /// Who works on it: consumer and its incarnation, and until when it may do so unheard.
    pub with: Option<(usize, u32, i64)>,
    /// It was acknowledged, by anyone.
    pub acked: bool,
}

/// The queue.
#[derive(Debug)]
pub struct WorkQueue<T> {
    messages: BTreeMap<u64, Message<T>>,
    seen: BTreeMap<String, i64>,
    next: u64,
}

impl<T> Default for WorkQueue<T> {
    fn default() -> Self {
        WorkQueue { messages: BTreeMap::new(), seen: BTreeMap::new(), next: 1 }
    }
}

impl<T> WorkQueue<T> {
    /// Puts a message in, unless its id was seen within the window.
    pub fn publish(&mut self, payload: T, message_id: &str, now: i64) -> Option<u64> {
        if self.seen.get(message_id).is_some_and(|at| now - at < WINDOW) {
            return None;
        }
        self.seen.insert(message_id.to_owned(), now);
        Some(self.put(payload))
    }

    /// Puts a message in, whatever was seen: a duplicate of the network.
    pub fn put(&mut self, payload: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.messages.insert(number, Message { payload, with: None, acked: false });
        number
    }

    /// The message, unless it was acknowledged.
    pub fn open(&mut self, number: u64) -> Option<&mut Message<T>> {
        self.messages.get_mut(&number).filter(|message| !message.acked)
    }

    /// Acknowledges; whoever does it, even a consumer that lost the message to another (acks are not fenced).
    pub fn ack(&mut self, number: u64) {
        if let Some(message) = self.messages.get_mut(&number) {
            message.acked = true;
        }
    }
}
