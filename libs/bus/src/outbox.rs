//! Facts for the audit log that no journal holds: counted without a gap, and kept until the broker has them.
//!
//! A fact is said with the same count and message id until the broker has it, through lost connections and restarts of
//! the broker; the log keeps each count once.

use std::{collections::VecDeque, str::FromStr, sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{self, message::PublishMessage},
};
use ground::{Backoff, Clock};
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

/// Facts that wait; more are refused, and the next one that is taken says how many were.
const MOST: usize = 2000;
/// How long a refused asker waits at most for the broker to have the fact about it.
const DENIED_WITHIN: Duration = Duration::from_millis(500);
/// Who is named when a message does not say who sent it.
const UNKNOWN: &str = "unknown";
/// Waits between two tries.
const AGAIN: Backoff = Backoff::millis(100, 5000);

/// Says facts to the audit log, in order, until the broker has them. Cheap to clone; ends with the last clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: Arc<Queue>,
    said_by: String,
    _sending: Arc<Serving>,
}

/// How far a fact got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The broker has it on disk.
    Stored,
    /// It waits here, in memory.
    Waiting,
}

#[derive(Debug)]
struct Queue {
    source: String,
    state: Mutex<State>,
    added: Notify,
    /// The broker has every count up to here.
    stored: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    counted: u64,
    waiting: VecDeque<(u64, HeaderMap, Vec<u8>)>,
    /// Facts that found no room.
    refused: u64,
}

impl Bus {
    /// An outbox in memory: what waits is lost with this process. A source is one process's: a copy that begins anew
    /// counts as another one.
    pub fn outbox(&self, source: &str) -> Result<Outbox, Error> {
        Token::from_str(source)?;
        let state = State { counted: 0, waiting: VecDeque::new(), refused: 0 };
        let queue = Arc::new(Queue {
            source: source.to_owned(),
            state: Mutex::new(state),
            added: Notify::new(),
            stored: watch::Sender::new(0),
        });
        // Without the bus itself, which may hold this outbox.
        let (sent, jetstream) = (Arc::clone(&queue), self.jetstream.clone());
        let sending = tasks::serve(move |_| send(sent, jetstream));
        Ok(Outbox { queue, said_by: self.said_by().to_owned(), _sending: Arc::new(sending) })
    }

    /// Puts a fact on the trail without waiting: it is counted by this connection, and what waits is said before the
    /// connection is closed.
    ///
    /// # Errors
    /// [`Error::Full`]: too many wait, or this connection's name makes no source.
    pub fn note(&self, fact: AuditRecord) -> Result<(), Error> {
        let outbox = self.own_outbox().ok_or(Error::Full { waiting: 0 })?;
        outbox.queue.add(fact, &outbox.said_by).map(drop)
    }

    /// The outbox of this connection, made when the first fact comes.
    fn own_outbox(&self) -> Option<&Outbox> {
        let made = self.shared.facts.get_or_init(|| {
            let name: String =
                self.shared.settings.name.chars().filter(char::is_ascii_alphanumeric).collect();
            let name: String = name.to_ascii_lowercase().chars().take(30).collect();
            self.outbox(&format!("calls-{name}-{:016x}", rand::random::<u64>())).ok()
        });
        made.as_ref()
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
        let Some(outbox) = self.own_outbox() else { return };
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
    /// means that it was not taken: too many wait.
    pub async fn say(&self, fact: AuditRecord, within: Duration) -> Result<Said, Error> {
        let counter = self.queue.add(fact, &self.said_by)?;
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

    fn add(&self, mut fact: AuditRecord, said_by: &str) -> Result<u64, Error> {
        let mut state = self.lock();
        if state.waiting.len() >= MOST {
            state.refused += 1;
            return Err(Error::Full { waiting: MOST });
        }
        let counter = state.counted + 1;
        (fact.v, fact.part, fact.parts) = (1, 1, 1);
        (fact.source, fact.counter) = (self.source.clone(), counter);
        if state.refused > 0
            && let Some(detail) = fact.detail.as_object_mut()
        {
            detail.insert("unrecorded".to_owned(), state.refused.into());
            state.refused = 0;
        }
        state.counted = counter;
        state.waiting.push_back(message(said_by, &fact));
        drop(state);
        self.added.notify_one();
        Ok(counter)
    }

    fn stored(&self, counter: u64) {
        self.lock().waiting.pop_front();
        self.stored.send_replace(counter);
    }
}

/// Says what waits, in order, for ever.
async fn send(queue: Arc<Queue>, jetstream: jetstream::Context) {
    let mut failures = 0_u32;
    loop {
        let first = queue.lock().waiting.front().cloned();
        let Some((counter, headers, payload)) = first else {
            queue.added.notified().await;
            continue;
        };
        let message = PublishMessage::build().headers(headers).payload(payload.into());
        let answer = match jetstream.send_publish(TRAIL.subject(&queue.source), message).await {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => {
                failures = 0;
                queue.stored(counter);
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                if failures == 5 {
                    warn!(source = queue.source, %error, "facts for the audit log wait for the broker");
                }
                AGAIN.pause(failures).await;
            }
        }
    }
}

/// A fact as the trail has it; the id makes a repeat one message.
fn message(said_by: &str, record: &AuditRecord) -> (u64, HeaderMap, Vec<u8>) {
    let mut headers = frame::headers::<AuditRecord>(said_by);
    headers.insert(frame::MESSAGE_ID, format!("{}:{}", record.source, record.counter));
    (record.counter, headers, record.encode())
}

/// The fact that a call was refused for lack of rights.
fn denial(subject: &str, headers: Option<&HeaderMap>, fault: &Fault) -> AuditRecord {
    let call = subject.strip_prefix("code.v1.rpc.").unwrap_or(subject);
    let actor = frame::principal(headers).map_or_else(|_| UNKNOWN.to_owned(), |by| by.as_text());
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
