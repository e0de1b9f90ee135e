//! The chassis from outside: a real process with a real NATS server, and several services in one process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, too, fail loudly"
)]

mod child;
mod in_process;
mod life;
mod traces;
