//! Each count of each source once, and an alarm for each that is missing.
//!
//! Streams of the bus are put back into their order: what arrives early is held until what is missing arrives or is
//! given up. Services that hand over facts themselves are taken as they arrive; what repeats is dropped. A count that
//! is missing for longer than the patience is a hole: it becomes a leaf of its own, so that nobody can pretend that
//! nothing was there, and when it arrives later after all, it is kept and said to be late.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{
    Timestamp,
    audit::{AuditOutcome, AuditRecord, AuditSource},
};
use serde::{Deserialize, Serialize};

/// The action of a leaf that stands for what is missing.
pub const HOLE: &str = "audit.hole";
/// The action of a leaf that says that a source began anew: from some count on it says something else than is kept.
pub const FORK: &str = "audit.fork";
/// Stands between a stream's name and the number of its life, in the names of sources that began anew.
const LIFE: char = '#';
/// The source of what this service says itself.
pub const OWN: &str = "audit";
/// Counts beyond a hole that are remembered per source; more means that the source cannot be followed.
const MOST_AHEAD: usize = 10_000;
/// Counts that were given up and are remembered per source, to be kept when they come late; the oldest are forgotten
/// first. The leaf about the hole names all of them for ever.
const MOST_LOST: usize = 10_000;

/// How far a source was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Every count up to here is kept, or its hole is.
    pub counted: u64,
    /// Counts beyond that are kept.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ahead: BTreeSet<u64>,
    /// Counts that were given up.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost: BTreeSet<u64>,
}

/// How far all sources were counted: what is swapped together with the leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// By name.
    pub sources: BTreeMap<String, Source>,
}

impl Counted {
    /// Takes over what changed.
    pub fn merge(&mut self, delta: Counted) {
        self.sources.extend(delta.sources);
    }

    /// The name under which a stream is counted now: its own, or the one since its last fork.
    pub fn life_of(&self, stream: &str) -> String {
        let lives = self.sources.keys().filter_map(|name| Some((life(stream, name)?, name)));
        lives.max().map_or_else(|| stream.to_owned(), |(_, name)| name.clone())
    }

    /// Sources that began anew, as they are called since.
    pub fn forked(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str).filter(|name| name.contains(LIFE))
    }

    /// For people.
    pub fn list(&self) -> Vec<AuditSource> {
        let list = self.sources.iter().map(|(name, source)| AuditSource {
            source: name.clone(),
            counted: source.counted,
            ahead: source.ahead.len() as u64,
            lost: source.lost.len() as u64,
        });
        list.collect()
    }
}

/// The number of a stream's life: 1 before any fork; none for the name of another source.
fn life(stream: &str, name: &str) -> Option<u64> {
    match name.strip_prefix(stream)? {
        "" => Some(1),
        rest => rest.strip_prefix(LIFE)?.parse().ok(),
    }
}

/// Whether a count is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Keep it.
    New,
    /// It is kept already.
    Repeated,
    /// Too far beyond a hole to be followed.
    TooFar,
}

impl Source {
    fn take(&mut self, counter: u64) -> Taken {
        if self.lost.remove(&counter) {
            return Taken::New;
        }
        if counter <= self.counted || self.ahead.contains(&counter) {
            return Taken::Repeated;
        }
        if counter != self.counted + 1 && self.ahead.len() >= MOST_AHEAD {
            return Taken::TooFar;
        }
        self.ahead.insert(counter);
        while self.ahead.remove(&(self.counted + 1)) {
            self.counted += 1;
        }
        Taken::New
    }

    /// The counts before the first one that is ahead.
    fn hole(&self) -> Option<(u64, u64)> {
        let first = self.ahead.first()?;
        Some((self.counted + 1, first - 1))
    }

    /// Gives up the first hole.
    fn give_up(&mut self) -> Option<(u64, u64)> {
        let (from, to) = self.hole()?;
        self.lose(from, to);
        while self.ahead.remove(&(self.counted + 1)) {
            self.counted += 1;
        }
        Some((from, to))
    }

    fn lose(&mut self, from: u64, to: u64) {
        // A source that jumps by millions is not remembered one by one.
        self.lost.extend(from.max((to + 1).saturating_sub(MOST_LOST as u64))..=to);
        while self.lost.len() > MOST_LOST {
            self.lost.pop_first();
        }
        self.counted = to;
    }
}

/// The leaves of one message of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// What it says, in order; may be empty.
    Facts(Vec<AuditRecord>),
    /// A fact with a count of its own, from the trail.
    Told(Box<AuditRecord>),
}

/// Decides what becomes a leaf.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission {
    counted: Counted,
    /// By stream, what arrived early.
    held: BTreeMap<String, BTreeMap<u64, Content>>,
    /// By source, since when its first hole is open.
    open: BTreeMap<String, (u64, Timestamp)>,
    changed: BTreeSet<String>,
}

impl Admission {
    /// Goes on from what is kept.
    pub fn new(counted: Counted) -> Admission {
        Admission { counted, ..Admission::default() }
    }

    /// How far all sources were counted.
    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// How far a source was counted.
    pub fn counted_of(&self, source: &str) -> u64 {
        self.counted.sources.get(source).map_or(0, |source| source.counted)
    }

    /// A message of a stream, in any order and any number of times. Gives the leaves that follow now.
    pub fn heard(&mut self, stream: &str, seq: u64, content: Content, now: Timestamp) -> Vec<AuditRecord> {
        let held = self.held.entry(stream.to_owned()).or_default();
        if seq <= self.counted.sources.get(stream).map_or(0, |source| source.counted) {
            let late = self.counted.sources.get_mut(stream).is_some_and(|source| source.lost.remove(&seq));
            if late {
                self.changed.insert(stream.to_owned());
                return self.leaves(content);
            }
            return Vec::new();
        }
        held.entry(seq).or_insert(content);
        if held.len() > MOST_AHEAD {
            return self.skip(stream, now);
        }
        let leaves = self.in_order(stream);
        self.watch(stream, now);
        leaves
    }

    /// A stream says something else than is kept after the count `same`: it lost its end, or an older copy of it was put
    /// in its place. What it says from there on is counted under a new name. Saying it again for a name that is no longer
    /// in use changes nothing. Gives the leaf that says so.
    pub fn fork(&mut self, stream: &str, from: &str, same: u64, now: Timestamp) -> Option<AuditRecord> {
        if self.counted.life_of(stream) != from {
            return None;
        }
        let kept = self.counted_of(from);
        let name = format!("{stream}{LIFE}{}", life(stream, from).unwrap_or(1) + 1);
        self.held.remove(from);
        self.open.remove(from);
        self.counted.sources.insert(name.clone(), Source { counted: same, ..Source::default() });
        self.changed.insert(name.clone());
        let reason = format!(
            "{stream} has lost what it said after count {same}: counts up to {kept} are kept as {from}, what it says now \
             is kept as {name}"
        );
        Some(self.own(AuditRecord {
            action: FORK.to_owned(),
            reason: Some(reason),
            detail: serde_json::json!({ "same": same, "kept": kept, "before": from, "after": name }),
            ..hole(stream, 0, 0, now)
        }))
    }

    /// What is held and is next, in order.
    fn in_order(&mut self, stream: &str) -> Vec<AuditRecord> {
        let mut leaves = Vec::new();
        loop {
            let source = self.counted.sources.entry(stream.to_owned()).or_default();
            let next = source.counted + 1;
            let Some(content) = self.held.get_mut(stream).and_then(|held| held.remove(&next)) else { break };
            source.counted = next;
            self.changed.insert(stream.to_owned());
            leaves.extend(self.leaves(content));
        }
        leaves
    }

    fn leaves(&mut self, content: Content) -> Vec<AuditRecord> {
        match content {
            Content::Facts(facts) => facts,
            Content::Told(record) => match self.take(&record) {
                Taken::New => vec![*record],
                Taken::Repeated | Taken::TooFar => Vec::new(),
            },
        }
    }

    /// A fact that a service hands over, in any order and any number of times.
    pub fn told(&mut self, record: &AuditRecord, now: Timestamp) -> Taken {
        let taken = self.take(record);
        self.watch(&record.source, now);
        taken
    }

    fn take(&mut self, record: &AuditRecord) -> Taken {
        let source = self.counted.sources.entry(record.source.clone()).or_default();
        let taken = source.take(record.counter);
        if taken == Taken::New {
            self.changed.insert(record.source.clone());
        }
        taken
    }

    /// Gives a fact of this service its count.
    pub fn own(&mut self, mut record: AuditRecord) -> AuditRecord {
        record.source = OWN.to_owned();
        record.counter = self.counted_of(OWN) + 1;
        self.take(&record);
        record
    }

    /// The first hole of a source, if it has one.
    fn hole(&self, source: &str) -> Option<(u64, u64)> {
        if let Some((first, _)) = self.held.get(source).and_then(|held| held.first_key_value()) {
            return Some((self.counted_of(source) + 1, first - 1));
        }
        self.counted.sources.get(source)?.hole()
    }

    fn watch(&mut self, source: &str, now: Timestamp) {
        match self.hole(source) {
            None => {
                self.open.remove(source);
            }
            Some((from, _)) => {
                let open = self.open.entry(source.to_owned()).or_insert((from, now));
                if open.0 != from {
                    *open = (from, now);
                }
            }
        }
    }

    /// Gives up what is missing for longer than `patience`: gives a leaf for each hole, and what follows it.
    pub fn overdue(&mut self, now: Timestamp, patience: Duration) -> Vec<AuditRecord> {
        let late = |(_, (_, since)): &(&String, &(u64, Timestamp))| now.since(*since) >= patience;
        let sources: Vec<String> = self.open.iter().filter(late).map(|(source, _)| source.clone()).collect();
        sources.iter().flat_map(|source| self.skip(source, now)).collect()
    }

    fn skip(&mut self, name: &str, now: Timestamp) -> Vec<AuditRecord> {
        let Some((from, to)) = self.hole(name) else { return Vec::new() };
        let source = self.counted.sources.entry(name.to_owned()).or_default();
        if self.held.get(name).is_some_and(|held| !held.is_empty()) {
            source.lose(from, to);
        } else {
            source.give_up();
        }
        self.changed.insert(name.to_owned());
        let mut leaves = vec![self.own(hole(name, from, to, now))];
        leaves.extend(self.in_order(name));
        self.open.remove(name);
        self.watch(name, now);
        leaves
    }

    /// Sources with a hole that is still waited for.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        self.open.keys().map(String::as_str)
    }

    /// What changed since the last call.
    pub fn delta(&mut self) -> Counted {
        let names = std::mem::take(&mut self.changed);
        let sources = names.into_iter().filter_map(|name| {
            let source = self.counted.sources.get(&name)?.clone();
            Some((name, source))
        });
        Counted { sources: sources.collect() }
    }
}

fn hole(source: &str, from: u64, to: u64, now: Timestamp) -> AuditRecord {
    AuditRecord {
        reason: Some(format!("counts {from} to {to} of {source} did not arrive")),
        detail: serde_json::json!({ "from": from, "to": to }),
        ..AuditRecord::new(now, OWN, HOLE, source, AuditOutcome::Failed)
    }
}

#[cfg(test)]
mod tests;
