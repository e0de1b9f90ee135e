//! What every room stands on, once: whole files, waits between tries, secrets, the clock, work that blocks, ranges.
//!
//! [`file`] replaces files so that a crash leaves the old or the new one; [`holder`] keeps a place to one process; [`Backoff`] says how long to wait before
//! trying again; [`Secret`] is never shown; [`Clock`] tells the time; [`blocking`] keeps slow work off the threads that
//! others wait for; [`Ranges`] checks settings. A lock is `parking_lot`'s, which a panic does not poison. This crate
//! must never know the bus, a service or what is deployed.

#![warn(missing_docs)]

pub mod backoff;
mod blocking;
pub mod clock;
pub mod file;
pub mod holder;
mod ranges;
mod secret;

pub use backoff::{Backoff, Jitter};
pub use blocking::{Broken, blocking};
pub use clock::{Clock, Hands};
pub use ranges::{Ranges, complaint};
pub use secret::Secret;
