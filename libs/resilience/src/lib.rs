//! Keeps a failing neighbour from taking us down with it: breaker, bulkhead, retry budget, backoff.
//!
//! [`breaker`] stops asking who does not answer; [`bulkhead`] bounds how much of us one neighbour can hold;
//! [`retry`] bounds how much load retries may add; [`ground::Backoff`] says how long to wait between tries. The breaker's
//! heart takes `now` as an argument; everything else runs on tokio's time, so paused time makes it deterministic.
//! It never decides what is safe to repeat: the caller says what is idempotent. It never starts tasks.

#![warn(missing_docs)]

pub mod breaker;
pub mod bulkhead;
pub mod retry;

pub use breaker::{Breaker, Open, Outcome, Permit, State};
pub use bulkhead::{Bulkhead, Overloaded, Slot};
pub use retry::{Budget, Retry};
