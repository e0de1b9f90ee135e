//! What tests need: a real nats-server each, faults between a client and it, and waiting by condition.
//!
//! For tests only; it may panic, because a test that cannot be set up has failed. It must never be a dependency of
//! what runs in production.

#![warn(missing_docs)]
#![allow(clippy::panic, reason = "a test that cannot be set up has failed")]

mod disk;
mod foreign;
mod nats;
mod proxy;
mod skip;
mod wait;

pub use disk::{forget_index, spoil};
pub use foreign::publish;
pub use nats::{TestNats, nats, nats_cluster};
pub use proxy::{Fault, Proxy};
pub use skip::skip;
pub use wait::{eventually, never};
