//! Journals as the bus keeps them: one stream of records, each appended by compare-and-set on its own aggregate.

use std::collections::BTreeMap;

use model::Record;

/// One record with its place in the stream.
#[derive(Clone, Debug)]
pub struct Entry<E> {
    /// Place in the stream, from 1.
    pub seq: u64,
    /// The record.
    pub record: Record<E>,
}

/// Another writer was first.
#[derive(Debug)]
pub struct Raced;

/// A stream of journals.
#[derive(Debug)]
pub struct Journal<E> {
    of: BTreeMap<String, Vec<Entry<E>>>,
    order: Vec<(String, usize)>,
}

impl<E> Default for Journal<E> {
    fn default() -> Self {
        Journal { of: BTreeMap::new(), order: Vec::new() }
    }
}

impl<E: Clone> Journal<E> {
    /// Appends when the last record of the aggregate has this sequence; 0 means that there is none.
    pub fn append(&mut self, record: Record<E>, expected: u64) -> Result<u64, Raced> {
        if self.last(&record.id).map_or(0, |last| last.seq) != expected {
            return Err(Raced);
        }
        Ok(self.push(record))
    }

    fn push(&mut self, record: Record<E>) -> u64 {
        let seq = self.order.len() as u64 + 1;
        let entries = self.of.entry(record.id.clone()).or_default();
        self.order.push((record.id.clone(), entries.len()));
        entries.push(Entry { seq, record });
        seq
    }

    /// One aggregate's records, in order.
    pub fn of(&self, id: &str) -> &[Entry<E>] {
        self.of.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// One aggregate's last record.
    pub fn last(&self, id: &str) -> Option<&Entry<E>> {
        self.of(id).last()
    }

    /// The ids of all aggregates.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.of.keys()
    }

    /// The record at this place of the stream.
    pub fn at(&self, seq: u64) -> Option<&Entry<E>> {
        let (id, index) = self.order.get(seq.checked_sub(1)? as usize)?;
        self.of(id).get(*index)
    }

    /// The place of the last record in the stream.
    pub fn head(&self) -> u64 {
        self.order.len() as u64
    }
}
