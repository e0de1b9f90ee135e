//! What is tested across crates: the simulation of a whole engine in one thread, and what the integration tests share.
//!
//! [`sim`] drives the orchestrator's real heart through every fault it can think of and checks the promises that hold
//! whatever happens. Nothing here may be linked by the product, read a clock, open a socket or draw randomness that a
//! seed does not give: a failure must come back bit for bit from its seed.

#![warn(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness must stop when it is broken itself"
)]

pub mod cluster;
pub mod rounds;
pub mod sim;
