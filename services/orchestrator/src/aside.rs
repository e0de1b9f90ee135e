//! Journals that cannot be used: named here as long as they cannot, so that nobody has to look for them in a log.

use std::collections::BTreeMap;

use bus::{Bus, Log, subjects};
use chassis::metrics::{Family, Gauge, Labels};
use model::{
    Code, Event, Fault, Principal, Record, ReplicaId, Timestamp,
    journal::{JournalAction, JournalReply, Skip, Unreadable},
    target::TargetEvent,
};
use parking_lot::{Mutex, MutexGuard};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{error, info};

use crate::error::{Attempt, Error};

/// As many are named; more are counted.
const NAMED: usize = 256;

/// All that are known. The first of each journal, which is the one that must be cured first.
pub struct Aside {
    known: Mutex<Known>,
    gauges: Family<Labels<2>, Gauge>,
}

#[derive(Default)]
struct Known {
    /// By log and what follows the shard in the subject.
    named: BTreeMap<(String, String), Unreadable>,
    more: u64,
}

impl Aside {
    /// None is known yet.
    pub fn new(gauges: Family<Labels<2>, Gauge>) -> Aside {
        Aside { known: Mutex::default(), gauges }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// This one cannot be used. Said aloud once. False: too many are named already.
    pub fn set(&self, found: &Unreadable) -> bool {
        let key = (found.log.clone(), found.id.clone());
        let mut known = self.known();
        if known.named.contains_key(&key) {
            return true;
        }
        let (log, id, seq, why) = (&found.log, &found.id, found.seq, &found.why);
        error!(log, id, seq, stream = found.stream, why, holds_up = found.holds_up, "a journal is set aside");
        if known.named.len() >= NAMED {
            return false;
        }
        if found.holds_up {
            let labels = [("log", log.clone()), ("id", id.clone())];
            self.gauges.get_or_create(&labels).set(i64::try_from(seq).unwrap_or(i64::MAX));
        }
        known.named.insert(key, found.clone());
        true
    }

    /// So many more were met than are named.
    pub fn more(&self, count: usize) {
        self.known().more += count as u64;
    }

    /// Sets aside what an error tells of, and says whether it was such an error.
    pub fn took(&self, error: &Error) -> bool {
        let Error::Bus(failure) = error else { return false };
        let Some(found) = failure.unreadable() else { return false };
        let _ = self.set(found);
        true
    }

    /// What is known of this journal.
    pub fn of(&self, log: &str, id: &str) -> Option<Unreadable> {
        self.known().named.get(&(log.to_owned(), id.to_owned())).cloned()
    }

    fn clear(&self, log: &str, id: &str) {
        if self.known().named.remove(&(log.to_owned(), id.to_owned())).is_some() {
            info!(log, id, "a journal that was set aside can be used again");
            self.gauges.remove(&[("log", log.to_owned()), ("id", id.to_owned())]);
        }
    }

    /// A journal that was set aside grew: perhaps it can be used again.
    pub async fn look_again<E>(&self, bus: &Bus, log: &Log<E>, name: &str, id: &str) -> Result<(), Error>
    where
        E: Serialize + DeserializeOwned,
    {
        if self.of(name, id).is_some() {
            let examined = bus.examine(log, id).await.attempt("look at a journal that was set aside")?;
            if examined.unreadable.is_empty() {
                self.clear(name, id);
            }
        }
        Ok(())
    }

    /// All that are known.
    pub fn all(&self) -> JournalReply {
        let known = self.known();
        JournalReply { unreadable: known.named.values().cloned().collect(), more: known.more }
    }

    /// Answers a person.
    pub async fn answer(
        &self,
        bus: &Bus,
        me: &ReplicaId,
        now: Timestamp,
        by: &Principal,
        action: JournalAction,
    ) -> Result<JournalReply, Fault> {
        match action {
            JournalAction::List {} => Ok(self.all()),
            JournalAction::Show { id } => {
                let mut reply = JournalReply { unreadable: Vec::new(), more: 0 };
                if id.parse::<model::Token>().is_ok() {
                    for mut found in unreadable(bus, &id).await? {
                        reply.unreadable.append(&mut found);
                    }
                }
                let known = self.known();
                let strays = known.named.values().filter(|found| found.id == id && !found.holds_up);
                reply.unreadable.extend(strays.cloned());
                Ok(reply)
            }
            JournalAction::Skip { id, records, reason } => {
                let skips: Vec<Skip> = records
                    .into_iter()
                    .map(|(seq, digest)| Skip { seq, digest, by: by.clone(), reason: reason.clone() })
                    .collect();
                let [deployments, targets] = unreadable(bus, &id).await?;
                let names = |found: &[Unreadable]| {
                    found.len() == skips.len()
                        && found.iter().all(|bad| {
                            skips.iter().any(|skip| skip.seq == bad.seq && skip.digest == bad.digest)
                        })
                };
                if skips.is_empty() {
                    return Err(Fault::new(Code::Invalid, "no record was named to be passed over"));
                }
                let write = Write { bus, me, now, id: &id };
                if names(&deployments) {
                    let events = skips.into_iter().map(Event::RecordSkipped).collect();
                    write.append(&subjects::deployment::JOURNAL, events).await?;
                    self.clear("deployment", &id);
                } else if names(&targets) {
                    let events = skips.into_iter().map(TargetEvent::RecordSkipped).collect();
                    write.append(&subjects::target::JOURNAL, events).await?;
                    self.clear("target", &id);
                } else {
                    let text = format!(
                        "what was named is not all that cannot be used of journal {id}: look again with \
                         codectl journal show {id}"
                    );
                    return Err(Fault::new(Code::Conflict, text));
                }
                Ok(JournalReply { unreadable: Vec::new(), more: 0 })
            }
        }
    }
}

/// What cannot be used of the deployment and of the target of this name.
async fn unreadable(bus: &Bus, id: &str) -> Result<[Vec<Unreadable>; 2], Fault> {
    let deployments = bus.examine(&subjects::deployment::JOURNAL, id).await?.unreadable;
    let targets = bus.examine(&subjects::target::JOURNAL, id).await?.unreadable;
    Ok([deployments, targets])
}

struct Write<'a> {
    bus: &'a Bus,
    me: &'a ReplicaId,
    now: Timestamp,
    id: &'a str,
}

impl Write<'_> {
    /// On top of everything that stands there: whoever wrote in the meantime is first, and nothing is written.
    async fn append<E>(&self, log: &Log<E>, events: Vec<E>) -> Result<(), Fault>
    where
        E: Serialize + DeserializeOwned,
    {
        let found = self.bus.examine(log, self.id).await?;
        let record = Record {
            id: self.id.to_owned(),
            version: found.entries.last().map_or(1, |last| last.record.version + 1),
            writer: self.me.to_string(),
            at: self.now,
            trace: None,
            events,
        };
        self.bus.append_over(log, self.id, &record, &found).await?;
        Ok(())
    }
}
