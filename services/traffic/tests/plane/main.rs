//! The data plane over real sockets: instances that answer, die and stall, and clients that must not notice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod conformance;
mod faults;
mod limits;
mod mirror;
mod peers;
mod ports;
mod service;
mod support;
mod switching;
