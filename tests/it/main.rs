//! The one integration binary: what holds across crates.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod advice;
mod configuration;
mod docker_e2e;
mod failures;
mod house;
mod inbox;
mod kills;
mod peers;
mod ports;
mod sim;
mod takeover;
mod whole;
mod zero_downtime;
