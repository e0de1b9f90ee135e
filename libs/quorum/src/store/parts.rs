//! Entries in sled, in parts, a few at a time.
//!
//! Two facts of sled 0.34 ask for it. A page of 16 records that is 128 KiB or more goes to a file of its own that is
//! never freed, so records are short. And a segment (512 KiB of sled's log) is written over as soon as what replaced it
//! lies one segment back, without waiting for a sync; what was synced before is lost with the power if the replacement
//! is not synced by then. So less than a segment is ever on its way: every window of [`WINDOW`] is flushed and synced
//! before the next one is put, and sled's own thread, which rewrites pages whenever it likes, is off.
//! `tests::volume` shows both: what is lost without windows, and how much a window writes.

use crate::store::Failure;

/// Longest part of an entry.
pub(crate) const PART: usize = 4096;
/// What may be put between two syncs, by [`weight`]. sled writes up to about four times as much.
pub(crate) const WINDOW: usize = 48 * 1024;
/// What a record weighs beside its bytes.
const RECORD: usize = 64;

/// How much of a window a value takes.
pub(crate) fn weight(value: &[u8]) -> usize {
    value.len() + value.len().div_ceil(PART).max(1) * RECORD
}

/// The key of a part.
pub(crate) fn key(index: u64, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The first key of an entry.
pub(crate) fn first(index: u64) -> [u8; 10] {
    key(index, 0)
}

fn read_key(key: &[u8]) -> Result<(u64, u16), Failure> {
    let key: [u8; 10] =
        key.try_into().map_err(|_| Failure::new(format!("a key of {} bytes in the log", key.len())))?;
    let ([index @ .., _, _], [.., high, low]) = (key, key);
    Ok((u64::from_be_bytes(index), u16::from_be_bytes([high, low])))
}

/// Adds an entry's record to a batch.
pub(crate) fn put(batch: &mut sled::Batch, index: u64, record: &[u8]) {
    for (part, bytes) in (0u16..).zip(record.chunks(PART)) {
        batch.insert(&key(index, part), bytes);
    }
}

/// Whole records from an index on, in order. A record of which a part is missing is an error.
pub(crate) struct Records {
    parts: std::iter::Peekable<sled::Iter>,
}

/// Whole records from `index` on, up to `to`, which is not included. Beyond it there may be parts of what was cut off.
pub(crate) fn from(tree: &sled::Tree, index: u64, to: Option<u64>) -> Records {
    let parts = match to {
        Some(to) => tree.range(first(index)..first(to.max(index))),
        None => tree.range(first(index)..),
    };
    Records { parts: parts.peekable() }
}

impl Records {
    fn assemble(&mut self) -> Result<Option<(u64, Vec<u8>)>, Failure> {
        let Some(pair) = self.parts.next() else { return Ok(None) };
        let (head, value) = pair.map_err(|error| Failure::new(error.to_string()))?;
        let (index, part) = read_key(&head)?;
        if part != 0 {
            return Err(Failure::new(format!("entry {index} begins with part {part}")));
        }
        let (mut record, mut expected) = (value.to_vec(), 1);
        while let Some(Ok((next, _))) = self.parts.peek() {
            let (of, part) = read_key(next)?;
            if of != index {
                break;
            }
            if part != expected {
                return Err(Failure::new(format!("entry {index} lacks part {expected}")));
            }
            let Some(Ok((_, value))) = self.parts.next() else { break };
            record.extend_from_slice(&value);
            expected += 1;
        }
        Ok(Some((index, record)))
    }
}

impl Iterator for Records {
    type Item = Result<(u64, Vec<u8>), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.assemble().transpose()
    }
}

/// The index of the last entry of which there is a part.
pub(crate) fn last(tree: &sled::Tree) -> Result<Option<u64>, Failure> {
    let last = tree.last().map_err(|error| Failure::new(error.to_string()))?;
    last.map(|(key, _)| read_key(&key).map(|(index, _)| index)).transpose()
}

/// Batches that remove what is between two indexes, the second not included; each is a window.
pub(crate) struct Removals {
    parts: sled::Iter,
    held: Option<sled::IVec>,
}

/// Removes from `from` up to `to`, or to the end.
pub(crate) fn remove(tree: &sled::Tree, from: u64, to: Option<u64>) -> Removals {
    let parts = match to {
        Some(to) => tree.range(first(from)..first(to)),
        None => tree.range(first(from)..),
    };
    Removals { parts, held: None }
}

impl Iterator for Removals {
    type Item = Result<sled::Batch, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut batch, mut weighs, mut is_empty) = (sled::Batch::default(), 0, true);
        if let Some(key) = self.held.take() {
            batch.remove(key);
            is_empty = false;
        }
        for pair in self.parts.by_ref() {
            let (key, value) = match pair {
                Ok(pair) => pair,
                Err(error) => return Some(Err(Failure::new(error.to_string()))),
            };
            weighs += weight(&value);
            if weighs > WINDOW && !is_empty {
                self.held = Some(key);
                break;
            }
            batch.remove(key);
            is_empty = false;
        }
        (!is_empty).then_some(Ok(batch))
    }
}
