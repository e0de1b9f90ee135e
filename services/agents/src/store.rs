//! What the agents share with others over the bus, by concern, so that steps can be run in memory.

mod certificates;
mod evidence;
mod log;
mod measurements;
#[cfg(test)]
pub(crate) mod memory;
mod reports;
mod routes;

use bus::Bus;

pub use certificates::{Certificates, SigningKeys};
pub use evidence::Evidence;
pub use log::LogClient;
pub use measurements::Measurements;
pub use reports::Reports;
pub use routes::{Edit, Routes, close_routes, edit_routes};

/// All of it. Every method may be called again with the same arguments.
pub trait Store: Routes + Evidence + Measurements + Certificates + SigningKeys + LogClient + Reports {}

impl<T: Routes + Evidence + Measurements + Certificates + SigningKeys + LogClient + Reports> Store for T {}

/// The real one: what is signed is told as the certifier, everything else as the runner.
pub struct BusStore {
    /// The connection of whoever does steps.
    pub runner: Bus,
    /// The connection of whoever signs certificates.
    pub certifier: Bus,
}
