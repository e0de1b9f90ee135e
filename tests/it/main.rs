//! The one integration binary: what holds across crates.

mod docker_e2e;
mod failures;
mod house;
mod inbox;
mod sim;
mod takeover;
mod whole;
mod zero_downtime;
