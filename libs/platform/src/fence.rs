//! The highest fence seen per target, on disk, and the lock every platform write is made under.
//!
//! A stale owner that passes the check can no longer be overtaken: check and effect happen under one lock per target,
//! an async mutex within the process and an advisory file lock between processes that share the folder.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::{Fence, TargetId};
use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::{Error, Result, durable};

/// A write carried a fence lower than one already seen on the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fence {asked} is refused on {target}: {highest} was seen")]
pub struct FenceRefused {
    /// Where.
    pub target: TargetId,
    /// What the write carried.
    pub asked: Fence,
    /// The highest so far.
    pub highest: Fence,
}

/// How often a file lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Locks that all instances of a driver share.
pub const INSTANCE_LOCKS: usize = 1 << (4 * INSTANCE_LOCK_DIGITS);
const INSTANCE_LOCK_DIGITS: usize = 2;

/// The fences of all targets of one driver.
#[derive(Debug)]
pub struct FenceStore {
    folder: Option<PathBuf>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    memory: Arc<Mutex<HashMap<String, Fence>>>,
}

impl FenceStore {
    /// A store in this folder, which is made when it is not there. A fence is kept for ever: a few bytes per target.
    pub fn open(folder: impl Into<PathBuf>) -> Result<FenceStore> {
        let folder = folder.into();
        durable::folder(&folder)?;
        Ok(FenceStore { folder: Some(folder), ..FenceStore::in_memory() })
    }

    /// A store that forgets with the process; for tests and simulations.
    pub fn in_memory() -> FenceStore {
        FenceStore { folder: None, locks: Mutex::default(), memory: Arc::default() }
    }

    /// Waits for the target's lock and holds it until the guard is dropped.
    pub async fn enter(&self, target: &TargetId) -> Result<FenceGuard> {
        let held = self.hold(&target.token()).await?;
        let place = match &self.folder {
            Some(folder) => Place::File(folder.join(format!("{}.json", target.token()))),
            None => Place::Memory(Arc::clone(&self.memory)),
        };
        Ok(FenceGuard { target: target.clone(), place, _held: held })
    }

    /// Refuses a fence lower than the highest seen, else raises the highest to it. For a write under the same lock
    /// use [`FenceStore::enter`].
    pub async fn check(&self, target: &TargetId, fence: Fence) -> Result<()> {
        self.enter(target).await?.check(fence)
    }

    /// Waits for an instance's own lock, so that its start waits for the end of its stop while the rest of the target
    /// goes on. Taken before [`FenceStore::enter`], never after. Instances share [`INSTANCE_LOCKS`] locks, which
    /// bounds the files; two of one lock only wait for each other.
    pub async fn hold_instance(&self, instance: &str) -> Result<Held> {
        let digest = model::Digest::of_bytes(instance.as_bytes()).short();
        self.hold(&format!("instance.{}", &digest[..INSTANCE_LOCK_DIGITS])).await
    }

    async fn hold(&self, name: &str) -> Result<Held> {
        let lock = {
            let mut locks = self.locks.lock();
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        let mutex = lock.lock_owned().await;
        let Some(folder) = &self.folder else { return Ok(Held { _file: None, _mutex: mutex }) };
        let path = folder.join(format!("{name}.lock"));
        loop {
            let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let file = open.map_err(|error| Error::system("open", &path, error))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => return Ok(Held { _file: Some(file), _mutex: mutex }),
                Err((_, nix::errno::Errno::EWOULDBLOCK | nix::errno::Errno::EINTR)) => {
                    tokio::time::sleep(RETRY).await
                }
                Err((_, error)) => return Err(Error::system("lock", &path, error.into())),
            }
        }
    }
}

/// A lock that is held; dropping it lets go.
#[derive(Debug)]
pub struct Held {
    _file: Option<Flock<File>>,
    _mutex: OwnedMutexGuard<()>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Memory(Arc<Mutex<HashMap<String, Fence>>>),
}

/// The right to write to a target, as long as the fence holds.
#[derive(Debug)]
pub struct FenceGuard {
    target: TargetId,
    place: Place,
    _held: Held,
}

impl FenceGuard {
    /// The highest fence seen on the target; 0.0 when none was.
    pub fn highest(&self) -> Result<Fence> {
        match &self.place {
            Place::Memory(map) => {
                let map = map.lock();
                Ok(map.get(&self.target.token()).copied().unwrap_or_default())
            }
            Place::File(path) => read(path),
        }
    }

    /// Refuses a fence lower than the highest seen, else raises the highest to it, durably.
    pub fn check(&self, fence: Fence) -> Result<()> {
        let highest = self.highest()?;
        if fence < highest {
            return Err(FenceRefused { target: self.target.clone(), asked: fence, highest }.into());
        }
        if fence > highest { self.store(fence) } else { Ok(()) }
    }

    /// Raises the highest to a fence that was found on something that runs; never lowers it.
    pub fn raise(&self, seen: Fence) -> Result<()> {
        if seen > self.highest()? { self.store(seen) } else { Ok(()) }
    }

    fn store(&self, fence: Fence) -> Result<()> {
        match &self.place {
            Place::Memory(map) => {
                map.lock().insert(self.target.token(), fence);
                Ok(())
            }
            Place::File(path) => durable::write(path, &model::digest::canonical_json(&fence)),
        }
    }
}

/// A file that cannot be read is an error, not a fence of zero: forgetting would let a stale owner in.
fn read(path: &Path) -> Result<Fence> {
    let Some(bytes) = durable::read(path)? else { return Ok(Fence::default()) };
    serde_json::from_slice(&bytes).map_err(|error| Error::system("read", path, error.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target() -> TargetId {
        "test.process.shop".parse().unwrap()
    }

    #[tokio::test]
    async fn a_lower_fence_is_refused_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        FenceStore::open(folder.path()).unwrap().check(&target(), Fence { lock: 2, epoch: 1 }).await.unwrap();

        let again = FenceStore::open(folder.path()).unwrap();
        let refused = again.check(&target(), Fence { lock: 1, epoch: 9 }).await.unwrap_err();

        assert_eq!(refused.to_string(), "fence 1.9 is refused on test.process.shop: 2.1 was seen");
        assert_eq!(refused.code(), model::Code::Conflict);
        again.check(&target(), Fence { lock: 2, epoch: 1 }).await.unwrap();
    }

    #[tokio::test]
    async fn a_broken_fence_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("{}.json", target().token())), "{").unwrap();

        let refused =
            FenceStore::open(folder.path()).unwrap().check(&target(), Fence { lock: 9, epoch: 9 }).await;

        assert!(refused.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn two_stores_of_one_folder_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (FenceStore::open(folder.path()).unwrap(), FenceStore::open(folder.path()).unwrap());
        let held = one.enter(&target()).await.unwrap();

        let while_held = tokio::time::timeout(Duration::from_secs(1), two.enter(&target())).await;
        drop(held);
        let afterwards = tokio::time::timeout(Duration::from_secs(1), two.enter(&target())).await;

        assert!(while_held.is_err());
        assert!(afterwards.is_ok());
    }

    proptest! {
        #[test]
        fn the_stored_fence_never_falls(asked in prop::collection::vec((0u64..5, 0u64..5), 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let store = FenceStore::in_memory();
                let mut highest = Fence::default();
                for (lock, epoch) in asked {
                    let fence = Fence { lock, epoch };
                    let taken = store.check(&target(), fence).await.is_ok();
                    assert_eq!(taken, fence >= highest);
                    highest = highest.max(fence);
                    assert_eq!(store.enter(&target()).await.unwrap().highest().unwrap(), highest);
                }
            });
        }
    }
}
