//! The one call that makes bytes durable, so that a test can stand between it and the disk.

use std::{fs::File, io, path::Path, sync::Arc};

/// Makes what was written to a file durable.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Returns when all that was written to `file` (at `path`) before the call survives the loss of power.
    fn sync(&self, path: &Path, file: &File) -> io::Result<()>;
}

/// The system's disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Disk for System {
    fn sync(&self, _path: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// The disk of every node that is no test.
pub(crate) fn system() -> Arc<dyn Disk> {
    Arc::new(System)
}
