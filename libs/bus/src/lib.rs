//! All speech over NATS: calls, jobs, logs, events, signals, buckets, evidence and the inbox for the world.
//!
//! Everything said is one typed line in [`subjects`]; the kind of the line tells the guarantee. This is the only
//! crate that names `async-nats`. It must never decide anything about deployments, never let a subject be spelled
//! elsewhere, and never turn an unknown outcome into a success or a failure.
//!
//! | kind | guarantee |
//! |---|---|
//! | [`Call`] | one answer or a fault before the deadline |
//! | [`Task`] | a call with progress before the answer; the asker that goes away ends it |
//! | [`Job`] | at least once, to one worker of the lane; a dead letter after 5 failures |
//! | [`Log`] | appended only on top of what the writer knew; read from the leader |
//! | [`Event`] | stored, to all who care, at least once |
//! | [`Signal`] | at most once, now or never |
//! | [`Bucket`] | compare and set |

#![warn(missing_docs)]

pub mod access;
mod aggregate;
mod answer;
mod audit;
mod bucket;
mod call;
mod cas;
mod cloudevents;
mod connect;
mod control;
mod dead;
mod door;
mod end;
mod ensure;
mod error;
mod evidence;
mod examine;
mod follow;
mod frame;
mod inbox;
mod key;
mod log;
mod outbox;
mod outcome;
mod rights;
mod role;
pub mod server;
mod settings;
mod signal;
mod streams;
mod subject;
pub mod subjects;
mod tail;
mod task;
mod tasks;
mod trace;
mod work;

pub use access::heard_streams;
pub use access::{Access, Outsider, Users};
pub use aggregate::{Aggregate, State};
pub use answer::Handler;
pub use audit::{Heard, keeps_all};
pub use bucket::{BucketHandle, Change, Changed, Entry as BucketEntry};
pub use cloudevents::{CloudEvent, Data};
pub use connect::{Bus, Counts};
pub use dead::DeadLetter;
pub use error::{AppendError, Attempt, Error, Failure, WriteError};
pub use examine::Examined;
pub use follow::{Follow, Start};
pub use frame::Meta;
pub use key::{Key, key_file};
pub use log::{Entry, Last, Since};
pub use outbox::{Outbox, Said};
pub use rights::Rights;
pub use role::{NoRole, Role};
pub use server::{NatsServer, ServerSettings};
pub use settings::{Settings, StreamLimits, Tls};
pub use signal::Signalled;
pub use subject::{
    Addressed, Bucket, Call, Door, Event, Evidence, Inbox, Job, Log, SHARDS, Signal, Task, Trail, shard_of,
};
pub use task::{Ongoing, Teller, Told};
pub use tasks::Serving;
pub use wire::{Beat, Drain, Message};
pub use work::WorkRules;
