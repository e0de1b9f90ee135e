//! Files that are there whole or not at all.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

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

/// Writes a file so that a reader, also one after a crash, sees the old or the new content whole. Durable when it
/// returns, but for the folder's entry, for which [`sync_folder`] is called once per folder.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("making the folder", folder))?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = Path::new(&draft);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(draft)?;
        room()?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(draft, path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(draft);
        Error::Io { what: "writing", path: path.to_owned(), source }
    })
}

/// The same, and the folder's entry is durable too.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_whole(path, bytes)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// What was made, renamed or removed in the folder stays so.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("syncing the folder", folder))
}

/// The bytes of a file; none when it is not there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { what: "reading", path: path.to_owned(), source }),
    }
}
