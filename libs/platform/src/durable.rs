//! Small files that are either the old or the new content after a crash, never half of each.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Error, Result};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces a file: temporary file in the same folder, fsync, rename, fsync of the folder. Mode 0600.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let Some(folder) = path.parent() else {
        return Err(Error::invalid(format!("path {} has no folder", path.display())));
    };
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("tmp-{}-{number}", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        Error::system("write", path, error)
    })
}

/// Reads a file; none when it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system("read", path, error)),
    }
}

/// Makes a folder and those above it.
pub(crate) fn folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| Error::system("make folder", path, error))
}
