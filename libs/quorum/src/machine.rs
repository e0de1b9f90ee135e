//! The replicated state as openraft drives it: apply in order, make a snapshot, take one over.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageIOError, storage::RaftStateMachine,
};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    memo::Memo,
    snapshot,
    state::State,
    types::{Entry, LogId, Membership, Outcome, Outcomes, Proposal, SnapshotMeta, StorageError, Types, Wish},
};

/// Parts of snapshots that are on their way in begin so.
const INCOMING: &str = "incoming-";

/// What was applied so far.
struct Kernel<S> {
    state: S,
    memo: Memo,
    level: u32,
    applied: Option<LogId>,
    membership: Membership,
}

/// What a snapshot holds. Borrowed when written, owned when read.
#[derive(Serialize)]
struct BodyOut<'a, S> {
    level: u32,
    memo: &'a Memo,
    state: &'a S,
}

#[derive(Deserialize)]
#[serde(bound = "S: State")]
struct BodyIn<S> {
    level: u32,
    memo: Memo,
    state: S,
}

/// Why a snapshot is not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// It is damaged, or was never a snapshot of this state.
    #[error("{0}")]
    Broken(String),
    /// A newer program wrote it.
    #[error("the state has level {0}, this program knows {1}: upgrade it")]
    TooNew(u32, u32),
}

/// The state machine. Cheap to clone; clones are the same one.
pub(crate) struct Machine<S>(Arc<Inner<S>>);

struct Inner<S> {
    kernel: RwLock<Kernel<S>>,
    applied: watch::Sender<u64>,
    folder: PathBuf,
    path: PathBuf,
    /// Held while the snapshot's file is looked at and replaced.
    replacing: Mutex<()>,
    incoming: AtomicU64,
    halted: Mutex<Option<String>>,
    #[cfg(test)]
    bug: Option<crate::tests::Bug>,
}

impl<S> Clone for Machine<S> {
    fn clone(&self) -> Machine<S> {
        Machine(Arc::clone(&self.0))
    }
}

impl<S: State> Machine<S> {
    /// Takes over the newest snapshot in the folder. It blocks.
    pub fn open(folder: &Path, path: PathBuf) -> Result<Machine<S>, Unread> {
        let kernel = match snapshot::read(&path).map_err(Unread::Broken)? {
            Some((header, body)) => restore(header.meta, &body)?,
            None => Kernel {
                state: S::default(),
                memo: Memo::default(),
                level: 1,
                applied: None,
                membership: Membership::default(),
            },
        };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(INCOMING) {
                // Half of a snapshot, from before a crash.
                drop(std::fs::remove_file(entry.path()));
            }
        }
        let applied = watch::Sender::new(kernel.applied.map_or(0, |id| id.index));
        Ok(Machine(Arc::new(Inner {
            kernel: RwLock::new(kernel),
            applied,
            folder: folder.to_owned(),
            path,
            replacing: Mutex::new(()),
            incoming: AtomicU64::new(0),
            halted: Mutex::new(None),
            #[cfg(test)]
            bug: None,
        })))
    }

    #[cfg(test)]
    pub fn with(mut self, bug: Option<crate::tests::Bug>, memo: Option<Memo>) -> Machine<S> {
        let inner = Arc::get_mut(&mut self.0).unwrap();
        inner.bug = bug;
        if let Some(memo) = memo {
            inner.kernel.get_mut().memo = memo;
        }
        self
    }

    /// Reads the state as it is here now.
    pub fn read<R>(&self, read: impl FnOnce(&S) -> R) -> R {
        read(&self.0.kernel.read().state)
    }

    /// The state's level and the index of the last entry that was applied; 0 before the first.
    pub fn position(&self) -> (u32, u64) {
        let kernel = self.0.kernel.read();
        (kernel.level, kernel.applied.map_or(0, |id| id.index))
    }

    /// The last index that was applied, and word of each that follows.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.0.applied.subscribe()
    }

    /// Why nothing is applied any more, if so.
    pub fn halted(&self) -> Option<String> {
        self.0.halted.lock().clone()
    }

    fn halt(&self, index: u64, why: String) -> StorageError {
        let why = format!("entry {index}: {why}");
        tracing::error!(why, "what was decided cannot be applied here; this member stops");
        self.0.halted.lock().get_or_insert(why.clone());
        StorageIOError::write_state_machine(&std::io::Error::other(why)).into()
    }

    fn apply_all(&self, entries: impl Iterator<Item = Entry>) -> Result<Vec<Outcomes>, StorageError> {
        let mut kernel = self.0.kernel.write();
        let mut answers = Vec::new();
        for entry in entries {
            let index = entry.log_id.index;
            let outcomes = match entry.payload {
                EntryPayload::Blank => Outcomes::default(),
                EntryPayload::Membership(membership) => {
                    kernel.membership = Membership::new(Some(entry.log_id), membership);
                    Outcomes::default()
                }
                EntryPayload::Normal(batch) => {
                    let apply = |proposal: Proposal| {
                        kernel.apply(index, proposal).map_err(|why| self.halt(index, why))
                    };
                    Outcomes(batch.proposals.into_iter().map(apply).collect::<Result<_, _>>()?)
                }
            };
            kernel.applied = Some(entry.log_id);
            answers.push(outcomes);
        }
        let index = kernel.applied.map_or(0, |id| id.index);
        drop(kernel);
        self.0.applied.send_replace(index);
        Ok(answers)
    }

    /// Writes the state as it is now; gives back what the file then holds, which may be newer.
    fn write_snapshot(&self) -> Result<(), String> {
        let (meta, body) = {
            let kernel = self.0.kernel.read();
            let meta = SnapshotMeta {
                last_log_id: kernel.applied,
                last_membership: kernel.membership.clone(),
                snapshot_id: kernel
                    .applied
                    .map_or("none".to_owned(), |id| format!("{}-{}", id.leader_id, id.index)),
            };
            let memo = &kernel.memo;
            #[cfg(test)]
            let none = Memo::default();
            #[cfg(test)]
            let memo = if self.0.bug == Some(crate::tests::Bug::MemoNotInSnapshot) { &none } else { memo };
            let body = BodyOut { level: kernel.level, memo, state: &kernel.state };
            (meta, serde_json::to_vec(&body).map_err(|error| format!("the state as JSON: {error}"))?)
        };
        self.replace(meta, &body)
    }

    fn replace(&self, meta: SnapshotMeta, body: &[u8]) -> Result<(), String> {
        let _held = self.0.replacing.lock();
        let there = snapshot::read_header(&self.0.path)?;
        if there.is_some_and(|there| there.meta.last_log_id >= meta.last_log_id) {
            return Ok(());
        }
        snapshot::write(&self.0.path, meta, body)
    }

    async fn current(&self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let path = self.0.path.clone();
        let opened = ground::blocking(move || snapshot::open_whole(&path)).await;
        let opened = opened.map_err(snapshot_broken)?.map_err(snapshot_broken)?;
        Ok(opened.map(|(header, file)| Snapshot {
            meta: header.meta,
            snapshot: Box::new(tokio::fs::File::from_std(file)),
        }))
    }
}

impl<S: State> Kernel<S> {
    fn apply(&mut self, index: u64, proposal: Proposal) -> Result<Outcome, String> {
        let Proposal { key, after, level, wish } = proposal;
        if let Some((reply, index)) = self.memo.find(&key) {
            return Ok(Outcome::Applied { reply: reply.to_owned(), index });
        }
        if self.memo.may_have_forgotten(after) {
            return Ok(Outcome::Expired);
        }
        let newest = S::LEVEL;
        let reply = match wish {
            Wish::Command(_) if level > self.level => {
                return Ok(Outcome::TooNew { level, cluster: self.level });
            }
            Wish::Command(_) if level > newest => {
                return Err(format!(
                    "its command has level {level}, this program knows {newest}: upgrade it"
                ));
            }
            Wish::Command(text) => {
                let command = serde_json::from_str(text.get())
                    .map_err(|error| format!("its command of level {level} does not read: {error}"))?;
                let reply = self.state.apply(index, command);
                serde_json::to_string(&reply).map_err(|error| format!("its reply as JSON: {error}"))?
            }
            Wish::Raise(to) if to > newest => {
                return Err(format!(
                    "the cluster is raised to level {to}, this program knows {newest}: upgrade it"
                ));
            }
            Wish::Raise(to) => {
                self.level = self.level.max(to);
                "null".to_owned()
            }
        };
        self.memo.keep(&key, index, &reply);
        Ok(Outcome::Applied { reply, index })
    }
}

fn restore<S: State>(meta: SnapshotMeta, body: &[u8]) -> Result<Kernel<S>, Unread> {
    /// Read first: what a newer program wrote may not read at all.
    #[derive(Deserialize)]
    struct Level {
        level: u32,
    }
    let newest = S::LEVEL;
    let broken = |error: serde_json::Error| Unread::Broken(format!("the state: {error}"));
    let Level { level } = serde_json::from_slice(body).map_err(broken)?;
    if level > newest {
        return Err(Unread::TooNew(level, newest));
    }
    let body: BodyIn<S> = serde_json::from_slice(body).map_err(broken)?;
    Ok(Kernel {
        state: body.state,
        memo: body.memo,
        level: body.level,
        applied: meta.last_log_id,
        membership: meta.last_membership,
    })
}

fn snapshot_broken(why: impl std::fmt::Display) -> StorageError {
    StorageIOError::read_snapshot(None, &std::io::Error::other(why.to_string())).into()
}

impl<S: State> RaftSnapshotBuilder<Types> for Machine<S> {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let machine = self.clone();
        let written = ground::blocking(move || machine.write_snapshot()).await;
        written.map_err(snapshot_broken)?.map_err(snapshot_broken)?;
        self.current().await?.ok_or_else(|| snapshot_broken("it is gone as soon as it was written"))
    }
}

impl<S: State> RaftStateMachine<Types> for Machine<S> {
    type SnapshotBuilder = Machine<S>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let kernel = self.0.kernel.read();
        Ok((kernel.applied, kernel.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.apply_all(entries.into_iter())
    }

    async fn get_snapshot_builder(&mut self) -> Machine<S> {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<tokio::fs::File>, StorageError> {
        let number = self.0.incoming.fetch_add(1, Ordering::Relaxed);
        let path = self.0.folder.join(format!("{INCOMING}{number}"));
        let file =
            tokio::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).await;
        let file = file.map_err(snapshot_broken)?;
        // Without a name it is gone when it is closed, whatever happens.
        tokio::fs::remove_file(&path).await.map_err(snapshot_broken)?;
        Ok(Box::new(file))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<tokio::fs::File>,
    ) -> Result<(), StorageError> {
        let (machine, meta) = (self.clone(), meta.clone());
        let file = snapshot.into_std().await;
        let installed = ground::blocking(move || {
            let (header, body) = snapshot::read_file(file)?;
            if header.meta != meta {
                return Err(format!("it is {}, announced was {meta}", header.meta));
            }
            let kernel = restore::<S>(header.meta.clone(), &body).map_err(|unread| unread.to_string())?;
            machine.replace(header.meta, &body)?;
            let index = kernel.applied.map_or(0, |id| id.index);
            *machine.0.kernel.write() = kernel;
            machine.0.applied.send_replace(index);
            Ok(())
        });
        let result = installed.await.map_err(|broken| broken.to_string()).and_then(|result| result);
        result.map_err(|why| {
            self.0.halted.lock().get_or_insert(format!("taking over a snapshot: {why}"));
            snapshot_broken(why)
        })
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        self.current().await
    }
}
