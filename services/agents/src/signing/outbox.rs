//! What this process tells the audit log, counted without a gap.

use std::time::Duration;

use model::{
    Code, Token,
    audit::{AuditAppend, AuditLevel, AuditOutcome, AuditReceipt, AuditRecord},
};
use serde_json::json;
use tokio::sync::Mutex;
use tracing::error;

use crate::{Error, error::Result, store::LogClient};

/// The action of the record that tells that the certifier's name was taken.
pub const TAKEN: &str = "certifier.name-taken";

/// Names under which a record is tried in one go: whoever takes each of them reads our messages.
const NAMES: usize = 4;

/// Hands records to the audit log, one after the other.
pub struct Outbox {
    /// What this process is called in the audit log, unless somebody else takes the name.
    name: String,
    patience: Duration,
    counted: Mutex<Counted>,
}

/// A record whose fate is unknown keeps its count and goes first.
struct Counted {
    source: String,
    next: u64,
    pending: Option<AuditRecord>,
    /// That the name before was taken, to be told under this one.
    alarm: Option<AuditRecord>,
}

impl Counted {
    /// The record under the next count.
    fn count(&mut self, record: AuditRecord) -> AuditRecord {
        let record = AuditRecord { source: self.source.clone(), counter: self.next, ..record };
        self.pending.insert(record).clone()
    }

    /// Another fact stands under our count: somebody else says things under our name. What we say from now on goes under a
    /// name that nobody can guess, and the first of it is an alarm.
    fn rename(&mut self, base: &str, refused: &AuditRecord, why: &Error) {
        let taken = std::mem::replace(&mut self.source, format!("{base}-{:016x}", rand::random::<u64>()));
        let why = chassis::chain(why);
        error!(
            source = taken,
            counter = refused.counter,
            cause = why,
            now = self.source,
            "somebody else writes to the audit log under this certifier's name: it goes on under a new one"
        );
        (self.next, self.pending) = (1, None);
        self.alarm = Some(AuditRecord {
            action: TAKEN.to_owned(),
            subject: taken,
            outcome: AuditOutcome::Failed,
            reason: Some("somebody else wrote to the audit log under this name".to_owned()),
            cause: None,
            detail: json!({"counter": refused.counter}),
            ..refused.clone()
        });
    }
}

impl Outbox {
    /// Under this name; the log may take so long to include a record.
    pub fn new(name: String, patience: Duration) -> Outbox {
        let name = if name.parse::<Token>().is_ok() { name } else { "certifier".to_owned() };
        let counted = Counted { source: name.clone(), next: 1, pending: None, alarm: None };
        Outbox { name, patience, counted: Mutex::new(counted) }
    }

    /// How long the audit log may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Hands a record to the audit log under the next count, and waits until a signed checkpoint covers it. What was
    /// begun before and may or may not be there goes first, so that no count is left out or used twice. When another fact
    /// stands under our count, it goes on under a new name, after an alarm.
    pub async fn send(
        &self,
        store: &dyn LogClient,
        record: AuditRecord,
    ) -> Result<(AuditReceipt, AuditRecord)> {
        let mut counted = self.counted.lock().await;
        let mut names = 0;
        loop {
            let next = match counted.pending.clone() {
                Some(pending) => pending,
                None => {
                    let next = counted.alarm.take().unwrap_or_else(|| record.clone());
                    counted.count(next)
                }
            };
            match self.hand_over(store, next.clone()).await {
                Ok(receipt) => {
                    (counted.pending, counted.next) = (None, counted.next + 1);
                    if (&next.subject, &next.detail) == (&record.subject, &record.detail) {
                        return Ok((receipt, next));
                    }
                }
                Err(error) if error.code() == Code::Conflict && names < NAMES => {
                    names += 1;
                    counted.rename(&self.name, &next, &error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn hand_over(&self, store: &dyn LogClient, record: AuditRecord) -> Result<AuditReceipt> {
        let append = AuditAppend { records: vec![record], level: AuditLevel::Included };
        let receipts = store.log(&append, self.patience).await?.receipts;
        receipts.into_iter().next().ok_or_else(|| Error::trouble("the audit log gave no receipt"))
    }
}
