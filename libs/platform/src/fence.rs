//! How late owners are kept out: the highest fence seen per target, on disk, and the lock under which every platform write
//! is made.
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

use async_trait::async_trait;
use ground::blocking;
use model::{Fence, TargetId};
use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::{Error, FenceRefused, Result, durable};

/// How often a file lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Locks that all instances of a driver share.
pub const INSTANCE_LOCKS: usize = 1 << (4 * INSTANCE_LOCK_DIGITS);
const INSTANCE_LOCK_DIGITS: usize = 2;

/// A platform that keeps late owners out. A driver says where its fences are kept and which ones it finds on what is there;
/// who may write follows from both by one rule.
#[async_trait]
pub trait Fenced: Send + Sync {
    /// Where the highest fence of each target is kept.
    fn fences(&self) -> &FenceStore;

    /// The highest fence on anything of the target that is there, whoever started it; 0.0 when nothing is. Asked under the
    /// target's lock, in case what was kept is lost or another driver writes here.
    async fn found(&self, target: &TargetId) -> Result<Fence>;

    /// Waits for the target's lock and refuses a fence lower than the highest seen. Nobody else writes to the target until
    /// the guard is dropped.
    async fn admit(&self, target: &TargetId, fence: Fence) -> Result<FenceGuard> {
        let guard = self.fences().enter(target).await?;
        guard.admit(self.found(target).await?, fence).await
    }

    /// The highest fence that was ever seen here on the target; 0.0 when none was. Who is granted the target next must come
    /// above it, also when the journal that counts grants was lost.
    async fn highest_fence(&self, target: &TargetId) -> Result<Fence> {
        let guard = self.fences().enter(target).await?;
        Ok(guard.highest()?.max(self.found(target).await?))
    }
}

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

    /// Whether the target was ever written to from here.
    pub fn knows(&self, target: &TargetId) -> bool {
        match &self.folder {
            Some(folder) => folder.join(format!("{}.json", target.token())).exists(),
            None => self.memory.lock().contains_key(&target.token()),
        }
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

    /// Raises the highest to a fence that was found on what is there, then checks the one asked for. Where that may wait for
    /// a disk it waits beside other work.
    async fn admit(self, found: Fence, asked: Fence) -> Result<FenceGuard> {
        let is_file = matches!(self.place, Place::File(_));
        let rule = move || {
            self.raise(found)?;
            self.check(asked)?;
            Ok(self)
        };
        if is_file { blocking(rule).await? } else { rule() }
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

    /// A driver on whose place somebody else has written.
    struct Place {
        fences: FenceStore,
        found: Mutex<Fence>,
    }

    #[async_trait]
    impl Fenced for Place {
        fn fences(&self) -> &FenceStore {
            &self.fences
        }

        async fn found(&self, _: &TargetId) -> Result<Fence> {
            Ok(*self.found.lock())
        }
    }

    #[tokio::test]
    async fn what_is_found_on_what_runs_keeps_a_late_owner_out_also_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        for fences in [FenceStore::in_memory(), FenceStore::open(folder.path()).unwrap()] {
            let place = Place { fences, found: Mutex::new(Fence { lock: 3, epoch: 1 }) };
            assert_eq!(place.highest_fence(&target()).await.unwrap(), Fence { lock: 3, epoch: 1 });

            assert!(place.admit(&target(), Fence { lock: 2, epoch: 9 }).await.is_err());
            *place.found.lock() = Fence::default();
            assert!(place.admit(&target(), Fence { lock: 3, epoch: 0 }).await.is_err());
            assert_eq!(place.highest_fence(&target()).await.unwrap(), Fence { lock: 3, epoch: 1 });
            drop(place.admit(&target(), Fence { lock: 4, epoch: 0 }).await.unwrap());

            assert_eq!(place.highest_fence(&target()).await.unwrap(), Fence { lock: 4, epoch: 0 });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_owner_writes_no_other_one_is_admitted() {
        let folder = tempfile::tempdir().unwrap();
        let place =
            Place { fences: FenceStore::open(folder.path()).unwrap(), found: Mutex::new(Fence::default()) };
        let guard = place.admit(&target(), Fence { lock: 1, epoch: 0 }).await.unwrap();

        let next = Fence { lock: 2, epoch: 0 };
        assert!(tokio::time::timeout(Duration::from_secs(1), place.admit(&target(), next)).await.is_err());
        drop(guard);
        drop(place.admit(&target(), next).await.unwrap());
    }

    #[tokio::test]
    async fn a_target_is_known_from_its_first_write_on() {
        let folder = tempfile::tempdir().unwrap();
        for store in [FenceStore::in_memory(), FenceStore::open(folder.path()).unwrap()] {
            assert!(!store.knows(&target()));

            store.check(&target(), Fence { lock: 1, epoch: 0 }).await.unwrap();

            assert!(store.knows(&target()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_start_of_an_instance_waits_for_its_own_stop_and_for_few_others() {
        let store = FenceStore::in_memory();
        let _stopping = store.hold_instance("web.1").await.unwrap();
        let soon = |instance: String| {
            let store = &store;
            async move {
                tokio::time::timeout(Duration::from_secs(1), store.hold_instance(&instance)).await.is_ok()
            }
        };

        assert!(!soon("web.1".to_owned()).await);
        let mut waited = 0;
        for number in 0..100 {
            waited += u32::from(!soon(format!("other.{number}")).await);
        }

        // One in 256 shares the lock.
        assert!(waited < 10, "{waited} of 100 others waited");
        let folder = tempfile::tempdir().unwrap();
        let store = FenceStore::open(folder.path()).unwrap();
        for number in 0..2000 {
            drop(store.hold_instance(&format!("web.{number}")).await.unwrap());
        }
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert!((200..=INSTANCE_LOCKS).contains(&files), "{files} files for {INSTANCE_LOCKS} locks");
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
