use std::{fmt, path::PathBuf};

/// What a program can be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// A share of the processors.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// A number of processes.
    Processes,
    /// No network.
    Network,
    /// No network interface to be seen; a second lock behind [`Limit::Network`].
    Namespace,
    /// No writing outside some folders.
    Writes,
    /// No calls that reach the kernel's insides.
    Syscalls,
    /// Nothing of other processes to be read or signalled.
    Neighbours,
}

impl Limit {
    /// Whether it only stands behind another that holds without it.
    pub fn is_second_lock(self) -> bool {
        matches!(self, Limit::Namespace | Limit::Neighbours)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Limit::Cpu => "the limit of processor time",
            Limit::Memory => "the limit of memory",
            Limit::Processes => "the limit of processes",
            Limit::Network => "no network",
            Limit::Namespace => "a network namespace of its own",
            Limit::Writes => "no writing outside its folder",
            Limit::Syscalls => "no calls into the kernel's insides",
            Limit::Neighbours => "no access to other processes",
        })
    }
}

/// What was asked for and is not enforced here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not enforced: {why}")]
pub struct Unenforced {
    /// What.
    pub what: Limit,
    /// What the kernel or the rights of this process do not permit.
    pub why: String,
}

impl Unenforced {
    pub(crate) fn new(what: Limit, why: impl fmt::Display) -> Unenforced {
        Unenforced { what, why: why.to_string() }
    }
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is asked for cannot be enforced here, and [`crate::Missing::Refused`] is asked for.
    #[error("{program} is not started: {unenforced}")]
    Refused {
        /// The program.
        program: PathBuf,
        /// What cannot be enforced.
        unenforced: Unenforced,
    },
    /// There is no such program.
    #[error("program {program} is not there: {reason}")]
    Missing {
        /// As it was named.
        program: String,
        /// Where it was looked for.
        reason: String,
    },
    /// The user is no number.
    #[error("user {0:?} is no number, such as 10001")]
    User(String),
    /// Another user is asked for, and this process cannot change.
    #[error("user {asked} is asked for, but the engine runs as {own} and cannot change")]
    OtherUser {
        /// The one that is asked for.
        asked: String,
        /// Ours.
        own: u32,
    },
    /// The operating system refused.
    #[error("{what}")]
    System {
        /// What was attempted.
        what: String,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::System { what, source }
    }
}
