//! A state that several members keep alike, by consensus (openraft) on a log in sled.
//!
//! A program says what its state is and what commands do to it ([`State`]); each member opens a folder of its own
//! ([`Replicated::open`]), and one of them founds the cluster or takes the others in. What [`Replicated::propose`]
//! acknowledges is on the disks of a majority and is applied once, however often it is asked for; what
//! [`Replicated::read`] reads contains all that was acknowledged before.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use quorum::{Error, Replicated, Settings, State};
//! #[derive(Default, serde::Serialize, serde::Deserialize)]
//! struct Counter(u64);
//!
//! impl State for Counter {
//!     const LEVEL: u32 = 1;
//!     type Command = u64;
//!     type Reply = u64;
//!
//!     fn apply(&mut self, _index: u64, more: u64) -> u64 {
//!         self.0 += more;
//!         self.0
//!     }
//! }
//!
//! # async fn example(settings: Settings, tasks: chassis::Tasks) -> Result<(), Error> {
//! let within = Duration::from_secs(5);
//! let member = Replicated::<Counter>::open(settings, &tasks).await?;
//! member.found(&["10.0.0.2:7001".to_owned(), "10.0.0.3:7001".to_owned()], within).await?;
//! // After `Error::Unknown` the same ticket asks again, and is applied once.
//! let ticket = member.ticket();
//! let sum = member.propose(&ticket, &3, within).await?;
//! assert!(member.read(within, |counter| counter.0).await? >= sum);
//! # Ok(())
//! # }
//! ```
//!
//! | module | is |
//! |---|---|
//! | `store` | the folder: log, vote, seal, what is examined when it is opened |
//! | `machine`, `memo`, `snapshot` | applying in order, retries, snapshots |
//! | `wire`, `network`, `grpc`, `transport` | what members say to each other, and how it travels |
//! | `core`, `tend` | the running member: batches, elections, compaction |
//! | `replicated`, `members`, `status`, [`metrics`] | what a program may ask |
//!
//! Its guarantees hold while fewer than half of the voters lose their disks, and while disks keep what they say they
//! keep. It must never know what is replicated, and nothing of openraft or sled leaves it.

#![warn(missing_docs)]
#![allow(clippy::result_large_err, reason = "openraft's traits ask for its errors, which are large")]

mod core;
mod error;
mod grpc;
mod machine;
mod members;
mod memo;
pub mod metrics;
mod network;
mod record;
mod replicated;
mod settings;
mod snapshot;
mod state;
mod status;
mod store;
mod tend;
mod transport;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use grpc::Tls;
pub use members::Seen;
pub use replicated::{Replicated, Stale, Ticket};
pub use settings::{Compaction, Settings, Timing};
pub use state::State;
pub use status::{Role, Status};
pub use types::{MemberId, Peer};
