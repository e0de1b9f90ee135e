//! Load on a running engine, and the data plane against nginx.
//!
//! The generators are closed loops: each connection or client asks again when it was answered. What they say about
//! latency is the time of service under so much concurrency; a queue in front of a slow server would not show in it
//! (coordinated omission). It must never be a dependency of what runs in production.

#![warn(missing_docs)]

pub mod backend;
pub mod generator;
pub mod nginx;
