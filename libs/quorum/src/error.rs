//! What can go wrong, and what each means to the caller.

use std::{io, net::SocketAddr, path::PathBuf};

use ground::file::Failed;
use model::fault::Code;

use crate::types::{MAX_COMMAND, MemberId};

/// Why something was not done, or is not known to be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] Failed),
    /// The folder lost something that was promised to the others. It never votes again.
    #[error(
        "the folder {folder} is damaged: {why}; this member must not vote any more: remove it from the cluster, \
         give it an empty folder and let it join as a new member"
    )]
    Damaged {
        /// The member's folder.
        folder: PathBuf,
        /// What was found.
        why: String,
    },
    /// Another process has the folder open.
    #[error(
        "the folder {folder} is held by another process; stop it, or give each member a folder of its own"
    )]
    Held {
        /// The member's folder.
        folder: PathBuf,
    },
    /// The folder was written by another layout of this program.
    #[error("the folder {folder} has format {found}, this program reads 1; start the version that wrote it")]
    Format {
        /// The member's folder.
        folder: PathBuf,
        /// The format it has.
        found: u32,
    },
    /// The folder belongs to another cluster.
    #[error(
        "the folder {folder} belongs to cluster {found}, asked for was {asked}; give each cluster its own folder"
    )]
    OtherCluster {
        /// The member's folder.
        folder: PathBuf,
        /// Whose it is.
        found: String,
        /// Which was asked for.
        asked: String,
    },
    /// A setting is out of range.
    #[error("{field} is {value:?}; it must be {cure}")]
    Setting {
        /// Its name.
        field: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        cure: &'static str,
    },
    /// Others cannot be served at this address.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A command is too long for the log.
    #[error(
        "a command of {size} bytes, at most {MAX_COMMAND} are taken; store what is large elsewhere and name it by digest"
    )]
    TooLong {
        /// Its size as JSON.
        size: usize,
    },
    /// A command, a reply or a state is not what JSON can hold.
    #[error("{what} as JSON")]
    Json {
        /// What was written or read.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Members of older programs are there still. Nothing was applied.
    #[error(
        "a command of level {level}, the cluster stands at {cluster}; upgrade all members, then raise the level"
    )]
    TooNew {
        /// The command's level.
        level: u32,
        /// Which the cluster stands at.
        cluster: u32,
    },
    /// The ticket is so old that its first try may have been forgotten. It was not applied now; whether it was before
    /// is to be read from the state.
    #[error(
        "the ticket {key} is too old to tell whether it was used; read the state, then take a new ticket"
    )]
    Expired {
        /// The ticket's key.
        key: String,
    },
    /// No answer before the deadline. A command may be applied or not: ask again with the same ticket.
    #[error("{what}: no answer before the deadline; last: {last}")]
    Unknown {
        /// What was attempted.
        what: &'static str,
        /// Why the last try failed.
        last: String,
    },
    /// Only the leader does this.
    #[error("this member is not the leader; {}", match .leader { Some(address) => format!("ask {address}"), None => "there is none now, try again".to_owned() })]
    NotLeader {
        /// The leader's address, if it is known.
        leader: Option<String>,
    },
    /// A change of the membership that would do harm, or makes no sense.
    #[error("{change}: {why}")]
    Refused {
        /// What was asked for.
        change: String,
        /// Why it is not done, and what to do.
        why: String,
    },
    /// Another member could not be asked, or said no.
    #[error("asking {address}: {why}")]
    Peer {
        /// Its address.
        address: String,
        /// What happened.
        why: String,
    },
    /// This member has stopped for good: only a restart, or a newer program, helps.
    #[error("member {id} has stopped: {why}")]
    Halted {
        /// The member.
        id: MemberId,
        /// Why.
        why: String,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| Failed::new(what, path, source).into()
    }

    /// What kind of failure it is, and therefore what the caller may do about it.
    pub fn code(&self) -> Code {
        match self {
            Error::Io(_) | Error::Damaged { .. } | Error::Listen { .. } | Error::Halted { .. } => {
                Code::Internal
            }
            Error::Held { .. } | Error::Expired { .. } | Error::Refused { .. } => Code::Conflict,
            Error::Format { .. }
            | Error::OtherCluster { .. }
            | Error::Setting { .. }
            | Error::TooLong { .. }
            | Error::Json { .. } => Code::Invalid,
            Error::TooNew { .. } | Error::NotLeader { .. } | Error::Peer { .. } => Code::Unavailable,
            Error::Unknown { .. } => Code::Timeout,
        }
    }
}
