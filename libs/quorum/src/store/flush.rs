//! One thread that flushes. Whoever needs something on disk queues here; all that is queued shares one flush.
//!
//! sled's own `flush` ends in `sync_file_range` on Linux, which is no barrier (sled#1452), and two `flush_async` may
//! wait for each other for ever (sled#1308). So `flush` is called from this thread only, and followed by our own
//! `fdatasync` of the database's file. After one failure nothing is acknowledged any more until the folder is opened
//! anew: what a failed fsync left on disk is unknown.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
};

use openraft::storage::LogFlushed;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{
    Disk,
    seal::{Seal, Sealed},
};
use crate::{
    record,
    types::{Types, Vote},
};

/// The key of the tally, in the tree of marks.
pub(crate) const TALLY: &[u8] = b"tally";
/// Jobs that may wait. openraft has few under way; a full queue holds it up.
const QUEUE: usize = 256;

/// What the database says of itself with every flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// How many flushes there were.
    pub count: u64,
    /// The last entry that was put before this flush.
    pub last: Option<u64>,
}

/// What was put last, for the flush that follows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Put {
    pub vote: Option<Vote>,
    pub last: Option<u64>,
}

pub(crate) enum Job {
    /// Entries that openraft wants to hear of.
    Entries(LogFlushed<Types>),
    /// Anything else.
    Mark(oneshot::Sender<Result<(), String>>),
}

impl Job {
    fn end(self, result: Result<(), String>) {
        match self {
            Job::Entries(callback) => callback.log_io_completed(result.map_err(io::Error::other)),
            Job::Mark(waiting) => drop(waiting.send(result)),
        }
    }
}

/// Everything that the thread needs.
pub(crate) struct Flusher {
    pub db: sled::Db,
    pub marks: sled::Tree,
    pub path: PathBuf,
    pub file: File,
    pub disk: Arc<dyn Disk>,
    pub seal: Seal,
    pub sealed: Sealed,
    pub put: Arc<Mutex<Put>>,
    /// Held by whoever puts something and by whoever flushes: sled has hung when both happen at once (sled#1308).
    pub alone: Arc<Mutex<()>>,
    #[cfg(test)]
    pub bug: Option<crate::tests::Bug>,
}

impl Flusher {
    /// Flushes once, on this thread.
    pub fn flush(&mut self) -> Result<(), String> {
        let sealed = self.flush_alone()?;
        self.disk
            .sync(&self.path, &self.file)
            .map_err(|error| format!("syncing {}: {error}", self.path.display()))?;
        self.seal.write(&sealed).map_err(|error| format!("writing the seal: {error}"))?;
        self.sealed = sealed;
        Ok(())
    }

    fn flush_alone(&self) -> Result<Sealed, String> {
        let _alone = self.alone.lock();
        let Put { vote, last } = *self.put.lock();
        let sealed = Sealed { count: self.sealed.count + 1, vote };
        let tally = record::encode(TALLY, &Tally { count: sealed.count, last });
        let tally = tally.map_err(|error| error.to_string())?;
        self.marks.insert(TALLY, tally).map_err(|error| format!("counting a flush: {error}"))?;
        self.db.flush().map_err(|error| format!("flushing sled: {error}"))?;
        Ok(sealed)
    }

    /// Begins the thread; it ends when the last sender is gone.
    pub fn start(mut self) -> io::Result<(mpsc::SyncSender<Job>, thread::JoinHandle<()>)> {
        let (sender, jobs) = mpsc::sync_channel::<Job>(QUEUE);
        let thread = thread::Builder::new().name("quorum-flush".to_owned()).spawn(move || {
            let mut failed: Option<String> = None;
            while let Ok(first) = jobs.recv() {
                let mut group = vec![first];
                group.extend(jobs.try_iter());
                #[cfg(test)]
                if self.bug == Some(crate::tests::Bug::AcknowledgeBeforeFlush) {
                    group.drain(..).for_each(|job| job.end(Ok(())));
                    continue;
                }
                if failed.is_none() {
                    failed = self.flush().err();
                    if let Some(why) = &failed {
                        tracing::error!(
                            why,
                            "the disk does not keep what it is given; nothing more is acknowledged"
                        );
                    }
                }
                for job in group {
                    job.end(failed.clone().map_or(Ok(()), Err));
                }
            }
        })?;
        Ok((sender, thread))
    }
}
