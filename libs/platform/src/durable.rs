//! The driver's files: whole after a crash, and read by its user alone.

use std::path::Path;

use ground::file::{self, Access};

use crate::{Error, Result};

/// Replaces a file; durable when it returns. Mode 0600.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = file::replace(path, bytes, Access::Owner);
    written.map(drop).map_err(|error| Error::system("write", path, error))
}

/// Reads a file; none when it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    file::read(path).map_err(|error| Error::system("read", path, error))
}

/// Makes a folder and those above it.
pub(crate) fn folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| Error::system("make folder", path, error))
}
