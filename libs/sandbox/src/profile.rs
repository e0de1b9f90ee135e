//! What a program may not do, and what it may use.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a program may not do. Reading is not limited beyond the rights of its user, and neither are the modes and owners
/// of files that its user may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// No new privileges, no calls that reach the kernel's insides (mounts, modules, tracing, namespaces, io_uring), no
    /// signals to and no memory of processes outside. The two below imply it.
    pub guarded: bool,
    /// No socket of any kind can be made.
    pub offline: bool,
    /// Where files may be written, made and removed.
    pub writes: Writes,
}

/// Where files may be written, made and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// Wherever its user may.
    #[default]
    Anywhere,
    /// Only below these folders, and to `/dev/null`.
    Below(Vec<PathBuf>),
}

impl Profile {
    /// Everything its user may do.
    pub fn open() -> Profile {
        Profile::default()
    }

    /// Without privileges to gain and without the kernel's insides.
    pub fn guarded() -> Profile {
        Profile { guarded: true, ..Profile::default() }
    }

    /// Guarded, and without network.
    pub fn offline() -> Profile {
        Profile { offline: true, ..Profile::guarded() }
    }

    /// Without network, and writing only below these folders.
    pub fn contained(folders: impl IntoIterator<Item = PathBuf>) -> Profile {
        Profile { writes: Writes::Below(folders.into_iter().collect()), ..Profile::offline() }
    }

    /// Whether anything is denied.
    pub fn is_confined(&self) -> bool {
        self.guarded || self.offline || self.writes != Writes::Anywhere
    }
}

/// What a program may use; absent is without a limit of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at a time.
    pub processes: Option<u64>,
    /// Files it may have open at a time, unless it raises this itself.
    pub open_files: Option<u64>,
}

/// What is done about a limit that cannot be enforced here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The program is started, and what is not enforced is named.
    #[default]
    Named,
    /// The program is not started.
    Refused,
}
