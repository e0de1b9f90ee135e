//! Where what was kept lately stands, until the index knows it.

use std::collections::{HashMap, VecDeque};

use model::audit::AuditRecord;

/// Kept at least, also when the index knows them: repeats come soon.
const LEAST: usize = 20_000;

/// A fact's place and digest of its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub index: u64,
    pub leaf: ledger::Hash,
}

/// Finds what was kept lately.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    by_count: HashMap<(String, u64), Place>,
    by_cause: HashMap<String, (u64, u32)>,
    order: VecDeque<(u64, (String, u64), Option<String>)>,
}

impl Recent {
    pub fn add(&mut self, index: u64, record: &AuditRecord, leaf: ledger::Hash) {
        if record.part != 1 {
            return;
        }
        let count = (record.source.clone(), record.counter);
        self.by_count.insert(count.clone(), Place { index, leaf });
        if let Some(cause) = &record.cause {
            self.by_cause.insert(cause.clone(), (index, record.parts));
        }
        self.order.push_back((index, count, record.cause.clone()));
    }

    pub fn of_count(&self, source: &str, counter: u64) -> Option<Place> {
        self.by_count.get(&(source.to_owned(), counter)).copied()
    }

    /// The first leaf and how many there are.
    pub fn of_cause(&self, cause: &str) -> Option<(u64, u32)> {
        self.by_cause.get(cause).copied()
    }

    /// The index knows everything below `searchable`.
    pub fn forget(&mut self, searchable: u64) {
        while self.order.len() > LEAST && self.order.front().is_some_and(|(index, ..)| *index < searchable) {
            let Some((index, count, cause)) = self.order.pop_front() else { break };
            if self.by_count.get(&count).is_some_and(|place| place.index == index) {
                self.by_count.remove(&count);
            }
            if let Some(cause) =
                cause.filter(|cause| self.by_cause.get(cause).is_some_and(|place| place.0 == index))
            {
                self.by_cause.remove(&cause);
            }
        }
    }
}
