//! Why a log, a proof or a signature is not believed, or could not be read.

use std::{io, path::PathBuf};

use ground::file::Failed;

use crate::Hash;

/// What went wrong. Nothing here is ever a success in disguise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] Failed),
    /// A text or file is not in its format.
    #[error("{what}: {why}")]
    Format {
        /// What was read.
        what: &'static str,
        /// Where it breaks.
        why: String,
    },
    /// An entry is longer than a bundle can hold.
    #[error("an entry of {size} bytes, at most {limit} are taken")]
    TooLong {
        /// Its size.
        size: usize,
        /// [`crate::MAX_ENTRY`].
        limit: usize,
    },
    /// A proof does not lead to the root.
    #[error("{what}: expected root {expected}, found {found}")]
    Root {
        /// Which proof.
        what: String,
        /// What was signed.
        expected: Hash,
        /// What the proof leads to.
        found: Hash,
    },
    /// A proof has the wrong number of hashes, or speaks of entries that the tree does not have.
    #[error("{what}: {why}")]
    Proof {
        /// Which proof.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A known key's signature is wrong.
    #[error("the signature of {name} does not fit the checkpoint")]
    Signature {
        /// The key's name.
        name: String,
    },
    /// Nobody who is trusted signed.
    #[error("{0}")]
    Untrusted(String),
    /// The log shows something else than what was signed or seen before.
    #[error("{0}")]
    Inconsistent(String),
    /// Asked for what the log does not have.
    #[error("{0}")]
    Missing(String),
    /// A write or a sync failed before: what is on disk is not known, so nothing more is written.
    #[error("the journal failed before and takes no more: {0}")]
    Poisoned(String),
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| Failed::new(what, path, source).into()
    }

    pub(crate) fn format(what: &'static str, why: impl Into<String>) -> Error {
        Error::Format { what, why: why.into() }
    }

    /// The disk has no room.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::Io(failed) if matches!(failed.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge))
    }
}
