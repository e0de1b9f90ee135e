//! Where what was kept lately stands, until the index knows it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use model::audit::AuditRecord;

use crate::heart::{family::family, handed::Place};

/// Facts that are remembered, also when the index knows them: repeats come soon. However far the index is behind, no
/// more are: what it does not know yet and is not here is found when it has caught up.
const MOST: usize = 50_000;

/// Finds what was kept lately.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    by_count: HashMap<(Arc<str>, u64), Place>,
    /// By family and cause.
    by_cause: HashMap<(Arc<str>, Arc<str>), (u64, u32)>,
    order: VecDeque<Kept>,
    /// Leaves below this may be forgotten.
    forgotten: u64,
}

#[derive(Debug)]
struct Kept {
    index: u64,
    source: Arc<str>,
    counter: u64,
    cause: Option<Arc<str>>,
}

impl Recent {
    pub fn add(&mut self, index: u64, record: &AuditRecord, leaf: ledger::Hash) {
        if record.part != 1 {
            return;
        }
        while self.order.len() >= MOST {
            self.forget();
        }
        // Most facts have the source of the one before.
        let source = match self.order.back() {
            Some(last) if *last.source == *record.source => Arc::clone(&last.source),
            _ => record.source.as_str().into(),
        };
        let cause: Option<Arc<str>> = record.cause.as_deref().map(Arc::from);
        self.by_count.insert((Arc::clone(&source), record.counter), Place { index, leaf });
        if let Some(cause) = &cause {
            let place = (family(&source).into(), Arc::clone(cause));
            self.by_cause.insert(place, (index, record.parts));
        }
        self.order.push_back(Kept { index, source, counter: record.counter, cause });
    }

    pub fn of_count(&self, source: &str, counter: u64) -> Option<Place> {
        self.by_count.get(&(source.into(), counter)).copied()
    }

    /// The first leaf of a family with this cause, and how many there are.
    pub fn of_cause(&self, family: &str, cause: &str) -> Option<(u64, u32)> {
        self.by_cause.get(&(family.into(), cause.into())).copied()
    }

    /// Below this only the index knows.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn forget(&mut self) {
        let Some(Kept { index, source, counter, cause }) = self.order.pop_front() else { return };
        self.forgotten = index + 1;
        let family: Arc<str> = family(&source).into();
        let count = (source, counter);
        if self.by_count.get(&count).is_some_and(|place| place.index == index) {
            self.by_count.remove(&count);
        }
        let place = cause.map(|cause| (family, cause));
        if let Some(place) = place.filter(|key| self.by_cause.get(key).is_some_and(|place| place.0 == index))
        {
            self.by_cause.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Timestamp, audit::AuditOutcome};

    use super::*;

    fn record(counter: u64) -> AuditRecord {
        AuditRecord {
            source: format!("gateway-{}", counter % 3),
            counter,
            cause: Some(format!("dep-1:{counter}")),
            ..AuditRecord::new(Timestamp(0), "ada", "x.done", "dep-1", AuditOutcome::Done)
        }
    }

    #[test]
    fn however_much_is_kept_a_bounded_number_of_places_is_remembered() {
        let mut recent = Recent::default();
        let all = 3 * MOST as u64 + 17;
        for index in 0..all {
            recent.add(index, &record(index), ledger::leaf_hash(b""));
        }

        assert_eq!((recent.by_count.len(), recent.by_cause.len(), recent.order.len()), (MOST, MOST, MOST));
        assert_eq!(recent.forgotten(), all - MOST as u64);
        let first = recent.forgotten();
        let place = recent.of_count(&record(first).source, first).unwrap();
        assert_eq!(
            (place.index, recent.of_cause(&record(first).source, &format!("dep-1:{first}"))),
            (first, Some((first, 1)))
        );
        assert_eq!(recent.of_count(&record(first - 1).source, first - 1), None);
        assert_eq!(recent.of_cause(&record(first - 1).source, &format!("dep-1:{}", first - 1)), None);
    }

    #[test]
    fn two_journals_with_the_same_id_are_not_taken_for_each_other() {
        let mut recent = Recent::default();
        let said = |source: &str| AuditRecord {
            source: source.to_owned(),
            cause: Some("dep-1:1".into()),
            ..record(1)
        };
        for (index, source) in (0..).zip(["LOG_deployment_2", "LOG_consultation_2", "gateway-1"]) {
            recent.add(index, &said(source), ledger::leaf_hash(b""));
        }

        assert_eq!(recent.of_cause("LOG_deployment", "dep-1:1"), Some((0, 1)));
        assert_eq!(recent.of_cause("LOG_consultation", "dep-1:1"), Some((1, 1)));
        assert_eq!(recent.of_cause("LOG_target", "dep-1:1"), None);
    }
}
