//! openraft's log and vote in sled.
//!
//! | what | is on disk | before |
//! |---|---|---|
//! | vote | with all that was put before it | `save_vote` returns |
//! | entries | with all that was put before them | their callback is called |
//! | mark of a cut, or of what is purged | alone | entries are removed, and that before `truncate` or `purge` returns |
//!
//! What a mark says is finished when the folder is opened.
//! sled brings back, after a crash, everything up to some point in the order in which it was put. So no vote comes back
//! without the entries before it, nor the other way round.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use openraft::{
    LogState, OptionalSend, RaftLogReader, StorageIOError,
    storage::{LogFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    flush::{Job, Put},
    parts,
};
use crate::{
    record,
    types::{Entry, LogId, StorageError, Types, Vote},
};

pub(crate) const VOTE: &[u8] = b"vote";
pub(crate) const PURGED: &[u8] = b"purged";
/// While a conflicting end is removed: where it begins.
pub(crate) const CUT: &[u8] = b"cut";
/// Most bytes of entries that are handed to one message; at least one entry is.
const MESSAGE_BYTES: usize = 1 << 20;

fn writing(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::write_logs(&error).into()
}

fn reading(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::read_logs(&error).into()
}

/// The log. Cheap to clone; clones are the same log.
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

pub(crate) struct Inner {
    pub entries: sled::Tree,
    pub marks: sled::Tree,
    pub put: Arc<Mutex<Put>>,
    pub alone: Arc<Mutex<()>>,
    /// Bytes of entries that were ever appended here, for compaction by size.
    pub appended: AtomicU64,
    /// None once closed.
    pub jobs: Mutex<Option<mpsc::SyncSender<Job>>>,
    pub thread: Mutex<Option<thread::JoinHandle<()>>>,
    pub db: Mutex<Option<sled::Db>>,
    #[cfg(test)]
    pub bug: Option<crate::tests::Bug>,
}

impl Log {
    pub fn new(inner: Inner) -> Log {
        Log(Arc::new(inner))
    }

    pub fn appended(&self) -> u64 {
        self.0.appended.load(Ordering::Relaxed)
    }

    /// Bytes that the database takes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.0.db.lock().as_ref().and_then(|db| db.size_on_disk().ok()).unwrap_or_default()
    }

    /// The vote that was put last.
    pub fn vote(&self) -> Option<Vote> {
        self.0.put.lock().vote
    }

    /// Ends the thread and lets go of the database. What is asked for later fails.
    pub fn close(&self) {
        drop(self.0.jobs.lock().take());
        let thread = self.0.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that flushes panicked");
        }
        drop(self.0.db.lock().take());
    }

    fn queue(&self, job: Job) -> Result<(), StorageError> {
        let gone = || writing(io::Error::other("the log is closed"));
        let jobs = self.0.jobs.lock().clone().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())
    }

    /// Returns when everything that was put so far is on disk.
    async fn flushed(&self) -> Result<(), StorageError> {
        let (tell, told) = oneshot::channel();
        self.queue(Job::Mark(tell))?;
        told.await.map_err(writing)?.map_err(|why| writing(io::Error::other(why)))
    }

    fn mark<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StorageError> {
        let bytes = self.0.marks.get(key).map_err(reading)?;
        bytes.map(|bytes| record::decode(key, &bytes).map_err(reading)).transpose()
    }

    /// The last entry that is there, or was.
    pub fn last(&self) -> Result<Option<LogId>, StorageError> {
        let purged: Option<LogId> = self.mark(PURGED)?;
        let Some(index) = parts::last(&self.0.entries).map_err(reading)? else { return Ok(purged) };
        let last = self.read(index.., usize::MAX)?.pop().map(|entry| entry.log_id);
        Ok(last.max(purged))
    }

    fn put_mark<T: serde::Serialize>(&self, key: &[u8], value: &T) -> Result<(), StorageError> {
        let bytes = record::encode(key, value).map_err(writing)?;
        let _alone = self.0.alone.lock();
        self.0.marks.insert(key, bytes).map_err(writing)?;
        Ok(())
    }

    fn remove_mark(&self, key: &[u8]) -> Result<(), StorageError> {
        let _alone = self.0.alone.lock();
        self.0.marks.remove(key).map_err(writing)?;
        Ok(())
    }

    /// Puts or removes entries; those that are put go up to `last`.
    fn put_entries(&self, batch: sled::Batch, last: Option<u64>) -> Result<(), StorageError> {
        let _alone = self.0.alone.lock();
        self.0.entries.apply_batch(batch).map_err(writing)?;
        if last.is_some() {
            self.0.put.lock().last = last;
        }
        Ok(())
    }

    async fn remove(&self, from: u64, to: Option<u64>) -> Result<(), StorageError> {
        for batch in parts::remove(&self.0.entries, from, to) {
            self.put_entries(batch.map_err(writing)?, None)?;
            self.flushed().await?;
        }
        Ok(())
    }

    fn read(&self, range: impl RangeBounds<u64>, most: usize) -> Result<Vec<Entry>, StorageError> {
        let first = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        for record in parts::from(&self.0.entries, first, None) {
            let (index, record) = record.map_err(reading)?;
            bytes += record.len();
            if !range.contains(&index) || (bytes > most && !found.is_empty()) {
                break;
            }
            found.push(record::decode(&index.to_be_bytes(), &record).map_err(reading)?);
        }
        Ok(found)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(range, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start..end, MESSAGE_BYTES)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        Ok(LogState { last_purged_log_id: self.mark(PURGED)?, last_log_id: self.last()? })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        #[cfg(test)]
        if self.0.bug == Some(crate::tests::Bug::VoteNotSaved) {
            return Ok(());
        }
        self.put_mark(VOTE, vote)?;
        self.0.put.lock().vote = Some(*vote);
        self.flushed().await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.mark(VOTE)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut batch, mut weighs, mut last) = (sled::Batch::default(), 0, None);
        for entry in entries {
            let index = entry.log_id.index;
            last = Some(index);
            let record = record::encode(&index.to_be_bytes(), &entry).map_err(writing)?;
            let more = parts::weight(&record);
            if weighs > 0 && weighs + more > parts::WINDOW {
                self.put_entries(std::mem::take(&mut batch), index.checked_sub(1))?;
                self.flushed().await?;
                weighs = 0;
            }
            weighs += more;
            parts::put(&mut batch, index, &record);
            self.0.appended.fetch_add(record.len() as u64, Ordering::Relaxed);
        }
        self.put_entries(batch, last)?;
        self.queue(Job::Entries(callback))
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), StorageError> {
        self.put_mark(CUT, &from.index)?;
        self.flushed().await?;
        self.remove(from.index, None).await?;
        // Said before the mark goes: until then it explains why the end is missing.
        self.0.put.lock().last = from.index.checked_sub(1);
        self.flushed().await?;
        self.remove_mark(CUT)?;
        self.flushed().await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        self.put_mark(PURGED, &upto)?;
        self.flushed().await?;
        self.remove(0, Some(upto.index.saturating_add(1))).await
    }
}
