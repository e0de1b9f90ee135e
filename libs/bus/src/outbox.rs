//! Facts for the audit log that no journal holds: counted without a gap, and kept until the broker has them.
//!
//! A fact is said with the same count and message id until the broker has it, through lost connections and restarts of
//! the broker; the log keeps each count once. With a folder the facts also outlive this process.

mod file;

use std::{collections::VecDeque, path::Path, str::FromStr, sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{self, message::PublishMessage},
};
use ground::{Backoff, Clock, blocking};
use model::{
    Code, Fault, Token,
    audit::{AuditOutcome, AuditRecord},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tracing::warn;
use wire::Message;

use crate::{Bus, Error, Serving, frame, subjects::audit::TRAIL, tasks};
use file::File;

/// Facts that wait; more are refused, and the next one that is taken says how many were.
const MOST: usize = 2000;
/// How long a refused asker waits at most for the broker to have the fact about it.
const DENIED_WITHIN: Duration = Duration::from_millis(500);
/// Waits between two tries.
const AGAIN: Backoff = Backoff::millis(100, 5000);

/// Says facts to the audit log, in order, until the broker has them. Cheap to clone; ends with the last clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: Arc<Queue>,
    identity: String,
    _sending: Arc<Serving>,
}

/// How far a fact got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The broker has it on disk.
    Stored,
    /// It waits here: in memory, or on disk when the outbox has a folder.
    Waiting,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    added: Notify,
    /// The broker has every count up to here.
    stored: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    source: String,
    counted: u64,
    waiting: VecDeque<(u64, HeaderMap, Vec<u8>)>,
    /// Facts that found no room.
    refused: u64,
    file: Option<File>,
}

impl Bus {
    /// An outbox in memory: what waits is lost with this process. A source is one process's: a copy that begins anew
    /// counts as another one.
    pub fn outbox(&self, source: &str) -> Result<Outbox, Error> {
        self.outbox_with(source, None)
    }

    /// An outbox in a folder, which is this process's alone: a fact is on disk before [`Outbox::say`] returns, and
    /// goes on from there after a kill, under the source that the folder began with.
    pub fn outbox_in(&self, source: &str, folder: &Path) -> Result<Outbox, Error> {
        self.outbox_with(source, Some(folder))
    }

    fn outbox_with(&self, source: &str, folder: Option<&Path>) -> Result<Outbox, Error> {
        Token::from_str(source)?;
        let opened = folder.map(|folder| File::open(folder, source)).transpose()?;
        let (source, counted, left, file) = match opened {
            Some((kept, file)) => (kept.source, kept.counted, kept.waiting, Some(file)),
            None => (source.to_owned(), 0, Vec::new(), None),
        };
        let first = left.first().map_or(counted, |record| record.counter - 1);
        let waiting = left.iter().map(|record| self.message(record)).collect();
        let state = State { source, counted, waiting, refused: 0, file };
        let queue = Arc::new(Queue {
            state: Mutex::new(state),
            added: Notify::new(),
            stored: watch::Sender::new(first),
        });
        // Without the bus itself, which may hold this outbox.
        let (sent, jetstream) = (Arc::clone(&queue), self.jetstream.clone());
        let sending = tasks::serve(move |_| send(sent, jetstream));
        Ok(Outbox { queue, identity: self.identity().to_owned(), _sending: Arc::new(sending) })
    }

    fn message(&self, record: &AuditRecord) -> (u64, HeaderMap, Vec<u8>) {
        message(self.identity(), record)
    }

    /// Puts a refusal on the trail, and waits a moment for the broker to have it: whoever is refused and hears so in
    /// time is on record.
    pub(crate) async fn denied(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        fault: &Fault,
        deadline: Instant,
    ) {
        if fault.code != Code::Denied {
            return;
        }
        let record = denial(subject, headers, fault);
        let outbox = self.shared.denials.get_or_init(|| {
            let name: String =
                self.shared.settings.name.chars().filter(char::is_ascii_alphanumeric).collect();
            let name: String = name.to_ascii_lowercase().chars().take(30).collect();
            self.outbox(&format!("calls-{name}-{:016x}", rand::random::<u64>())).ok()
        });
        let Some(outbox) = outbox else { return };
        match outbox.say(record, DENIED_WITHIN.min(deadline.saturating_duration_since(Instant::now()))).await
        {
            Ok(Said::Stored) => {}
            Ok(Said::Waiting) => warn!(subject, "the broker does not have a denied call yet"),
            Err(error) => {
                warn!(subject, error = crate::error::chain(&error), "a denied call is only counted")
            }
        }
    }
}

impl Outbox {
    /// Takes a fact, giving it its source and count, and waits at most `within` for the broker to have it. An error
    /// means that it was not taken: too many wait, or the folder cannot be written.
    pub async fn say(&self, fact: AuditRecord, within: Duration) -> Result<Said, Error> {
        let (queue, identity) = (Arc::clone(&self.queue), self.identity.clone());
        // Not given up half way when the asker is gone.
        let added = blocking(move || queue.add(fact, &identity)).await;
        let counter = added.map_err(|error| Error::broker("taking a fact for the audit log", error))??;
        let mut stored = self.queue.stored.subscribe();
        match tokio::time::timeout(within, stored.wait_for(|stored| *stored >= counter)).await {
            Ok(Ok(_)) => Ok(Said::Stored),
            Ok(Err(_)) | Err(_) => Ok(Said::Waiting),
        }
    }

    /// How many facts wait.
    pub fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Who counts, as the log knows it.
    pub fn source(&self) -> String {
        self.queue.lock().source.clone()
    }

    /// Returns when nothing waits.
    pub(crate) async fn emptied(&self) {
        let all = self.queue.lock().counted;
        // The sender lives as long as we do.
        let _ = self.queue.stored.subscribe().wait_for(|stored| *stored >= all).await;
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn add(&self, mut fact: AuditRecord, identity: &str) -> Result<u64, Error> {
        let mut state = self.lock();
        if state.waiting.len() >= MOST {
            state.refused += 1;
            return Err(Error::Full { waiting: MOST });
        }
        let counter = state.counted + 1;
        (fact.v, fact.part, fact.parts) = (1, 1, 1);
        (fact.source, fact.counter) = (state.source.clone(), counter);
        if state.refused > 0
            && let Some(detail) = fact.detail.as_object_mut()
        {
            detail.insert("unrecorded".to_owned(), state.refused.into());
        }
        if let Some(file) = &mut state.file {
            file.add(&fact)?;
        }
        if fact.detail.get("unrecorded").is_some() {
            state.refused = 0;
        }
        state.counted = counter;
        state.waiting.push_back(message(identity, &fact));
        drop(state);
        self.added.notify_one();
        Ok(counter)
    }

    fn stored(&self, counter: u64) {
        let mut state = self.lock();
        state.waiting.pop_front();
        let (source, counted) = (state.source.clone(), state.counted);
        if state.waiting.is_empty()
            && let Some(Err(error)) = state.file.as_mut().map(|file| file.empty(&source, counted))
        {
            // What stays is said again after a restart, and kept once.
            warn!(error = crate::error::chain(&error), "what the broker has stays in the outbox's file");
        }
        drop(state);
        self.stored.send_replace(counter);
    }
}

/// Says what waits, in order, for ever.
async fn send(queue: Arc<Queue>, jetstream: jetstream::Context) {
    let mut failures = 0_u32;
    loop {
        let first = {
            let state = queue.lock();
            state.waiting.front().map(|first| (state.source.clone(), first.clone()))
        };
        let Some((source, (counter, headers, payload))) = first else {
            queue.added.notified().await;
            continue;
        };
        let message = PublishMessage::build().headers(headers).payload(payload.into());
        let answer = match jetstream.send_publish(TRAIL.subject(&source), message).await {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => {
                failures = 0;
                let queue = Arc::clone(&queue);
                if blocking(move || queue.stored(counter)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                if failures == 5 {
                    warn!(source, %error, "facts for the audit log wait for the broker");
                }
                AGAIN.pause(failures).await;
            }
        }
    }
}

/// A fact as the trail has it; the id makes a repeat one message.
fn message(identity: &str, record: &AuditRecord) -> (u64, HeaderMap, Vec<u8>) {
    let mut headers = frame::headers::<AuditRecord>(identity);
    headers.insert(frame::MESSAGE_ID, format!("{}:{}", record.source, record.counter));
    (record.counter, headers, record.encode())
}

/// The fact that a call was refused for lack of rights.
fn denial(subject: &str, headers: Option<&HeaderMap>, fault: &Fault) -> AuditRecord {
    let call = subject.strip_prefix("code.v1.rpc.").unwrap_or(subject);
    let sender = frame::text(headers, frame::SENDER).filter(|sender| !sender.is_empty());
    let actor = cut(sender.unwrap_or("unknown"));
    AuditRecord {
        reason: Some(cut(&fault.message)),
        trace: frame::text(headers, frame::TRACEPARENT).map(cut),
        detail: serde_json::json!({ "call": call }),
        ..AuditRecord::new(Clock::system().now(), actor, "call.denied", cut(call), AuditOutcome::Denied)
    }
}

/// At most 256 bytes on one line, which is what the log takes.
fn cut(text: &str) -> String {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
