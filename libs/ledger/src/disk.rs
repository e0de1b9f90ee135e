//! Files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ground::file::{self, Access};

use crate::Error;

#[cfg(test)]
thread_local! {
    /// How many more files can be written before the disk is full; none: it never is.
    pub(crate) static ROOM: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

/// Fails when a test wants it to.
#[cfg(test)]
fn room() -> std::io::Result<()> {
    match ROOM.get() {
        Some(0) => Err(std::io::ErrorKind::StorageFull.into()),
        left => {
            ROOM.set(left.map(|left| left - 1));
            Ok(())
        }
    }
}

#[cfg(not(test))]
fn room() -> std::io::Result<()> {
    Ok(())
}

/// Files that are synced at once. The file system commits together what several threads sync at the same time, so that
/// many files cost little more than one.
const AT_ONCE: usize = 8;

/// Makes a file or empties it. What a deployment was is for its owner and the group, not for everybody on the machine.
pub(crate) fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o640).open(path)
}

/// Durable when it returns, but for the folder's entry, for which [`sync_folder`] is called once per folder. Its owner
/// and the group may read it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    file::replace_unlisted(path, bytes, Access::Group).map(drop).map_err(Error::io("writing", path))
}

/// Writes files, each whole, and makes their folders. After an error some are written and others are not.
pub(crate) fn write_all(files: &[(PathBuf, Vec<u8>)]) -> Result<(), Error> {
    let mut folders: Vec<&Path> = files.iter().filter_map(|(path, _)| path.parent()).collect();
    folders.dedup();
    for folder in folders {
        fs::create_dir_all(folder).map_err(Error::io("making the folder", folder))?;
    }
    // Files before the one that has no room are written, as a full disk has it.
    let full =
        files.iter().enumerate().find_map(|(at, (path, _))| room().err().map(|source| (at, path, source)));
    let fitting = &files[..full.as_ref().map_or(files.len(), |(at, ..)| *at)];
    let write =
        |files: &[(PathBuf, Vec<u8>)]| files.iter().try_for_each(|(path, bytes)| write_whole(path, bytes));
    let share = fitting.len().div_ceil(AT_ONCE).max(1);
    let mut shares = fitting.chunks(share);
    let mine = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = shares.map(|files| scope.spawn(move || write(files))).collect();
        let first = write(mine);
        // A thread that panicked has its panic go on here.
        others.into_iter().fold(first, |outcome, other| {
            let said = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome.and(said)
        })
    })?;
    match full {
        Some((_, path, source)) => Err(Error::io("writing", path)(source)),
        None => Ok(()),
    }
}

/// Writes one file whole, and the folder's entry is durable too.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_all(&[(path.to_owned(), bytes.to_vec())])?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// What was made, renamed or removed in the folder stays so.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    file::sync_folder(folder).map_err(Error::io("syncing the folder", folder))
}

/// The bytes of a file; none when it is not there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    file::read(path).map_err(Error::io("reading", path))
}
