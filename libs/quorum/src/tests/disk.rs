//! A disk that loses power.
//!
//! The operating system's page cache plays the volatile part: what was written and not synced is in the file as the
//! test sees it, and no more than possible on disk. Every sync keeps a copy of what is durable then. When power is lost,
//! each sector that was written since is old or new by chance, in any mixture; a file that grew may have grown or not,
//! with zeroes where nothing arrived.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rand::{Rng, rngs::StdRng};

use crate::store::Disk;

/// The files that are written in place, by name.
const IN_PLACE: [&str; 2] = ["db", "seal"];

/// The disk.
#[derive(Clone, Default)]
pub(crate) struct Power(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// What is durable of every file.
    durable: HashMap<PathBuf, Vec<u8>>,
    /// The most that changed between two syncs of a file, in bytes.
    most_changed: u64,
    /// Nothing is taken any more.
    is_full: bool,
}

impl Disk for Power {
    fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        let mut kept = self.0.lock();
        if kept.is_full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let bytes = kept.durable.entry(path.to_owned()).or_default();
        bytes.resize(length, 0);
        let (mut part, mut changed) = (vec![0; 4096], 0);
        for (old, at) in bytes.chunks_mut(4096).zip((0..).step_by(4096)) {
            let new = &mut part[..old.len()];
            // sled makes the file shorter on a thread of its own.
            let there = file.read_at(new, at)?;
            new[there..].fill(0);
            if old != new {
                changed += old.len() as u64;
                old.copy_from_slice(new);
            }
        }
        kept.most_changed = kept.most_changed.max(changed);
        Ok(())
    }
}

impl Power {
    /// The most that changed between two syncs of a file, in bytes.
    pub fn most_changed(&self) -> u64 {
        self.0.lock().most_changed
    }

    /// From now on nothing can be synced.
    pub fn fill(&self) {
        self.0.lock().is_full = true;
    }

    /// A copy of the folder as it is.
    pub fn keep_all(&self, from: &Path, to: &Path) {
        copy(&self.0.lock().durable, from, to, &mut |_, _| {});
    }

    /// Power is lost: puts into `to` what the folder holds afterwards. Whatever goes on in `from` no longer counts.
    pub fn lose(&self, from: &Path, to: &Path, random: &mut StdRng) {
        // Nothing is acknowledged while this is held.
        let kept_so_far = self.0.lock();
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        let sector = [512, 4096][random.random_range(0..2)];
        copy(&kept_so_far.durable, from, to, &mut |bytes: &mut Vec<u8>, old: &[u8]| {
            let length = if random.random_bool(0.5) { bytes.len() } else { old.len() };
            for at in (0..bytes.len()).step_by(sector) {
                let end = (at + sector).min(bytes.len());
                if random.random_bool(1.0 - kept) {
                    let before = old.get(at.min(old.len())..end.min(old.len())).unwrap_or_default();
                    bytes[at..end].fill(0);
                    bytes[at..at + before.len()].copy_from_slice(before);
                }
            }
            bytes.truncate(length.max(old.len()));
        });
        // sled finds the rest without this summary, whose name it does not sync.
        if random.random_bool(0.3) {
            for entry in fs::read_dir(to.join("log")).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with("snap.") {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
    }
}

fn copy(
    durable: &HashMap<PathBuf, Vec<u8>>,
    from: &Path,
    to: &Path,
    tear: &mut impl FnMut(&mut Vec<u8>, &[u8]),
) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy(durable, &path, &to.join(&name), tear);
            continue;
        }
        // What goes away while we look went away before.
        let Ok(mut bytes) = fs::read(&path) else { continue };
        if IN_PLACE.iter().any(|one| name == *one) {
            let old = durable.get(&path).map_or(&[][..], Vec::as_slice);
            tear(&mut bytes, old);
        }
        fs::write(to.join(&name), bytes).unwrap();
    }
}
