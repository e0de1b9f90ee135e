//! What all services do alike: settings, log lines and traces, metrics, health, tasks, time, and stopping.
//!
//! A service's `main.rs` is one call of [`run`]; its `start` gets a [`Service`] and says with it what it answers,
//! does and hears. The chassis is the only place that reads the environment, asks the system for the time or
//! spawns tasks. It must never know what a service is for, and never decide anything about deployments.
//!
//! ```no_run
//! use chassis::{Config, Service};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Default, Serialize, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Settings {
//!     /// How many at once. 1 to 64. Default 0, which is one per core.
//!     slots: usize,
//! }
//!
//! impl Config for Settings {
//!     const SERVICE: &'static str = "agents";
//! }
//!
//! async fn start(service: Service<Settings>) -> Result<(), bus::Failure> {
//!     let ctx = service.config.clone();
//!     service.every("sweep", std::time::Duration::from_secs(10), ctx, |settings| async move {
//!         tracing::info!(settings.slots, "swept");
//!         Ok::<(), bus::Failure>(())
//!     });
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     chassis::run::<Settings>(env!("CARGO_PKG_NAME"), start)
//! }
//! ```

#![warn(missing_docs)]

pub mod admin;
pub mod config;
mod error;
pub mod files;
pub mod health;
pub mod metrics;
pub mod process;
mod run;
mod service;
mod shutdown;
pub mod tasks;
pub mod telemetry;

pub use bus::{Bus, Meta};
pub use config::{Config, Secret, complaint};
pub use error::{BoxError, Error, chain};
pub use ground::{Backoff, Clock, Hands};
pub use health::{Health, Latch};
pub use metrics::{Metric, Metrics};
pub use process::{Process, Running, Start, install_crypto, start_in_process};
pub use run::{connect, run};
pub use service::Service;
pub use shutdown::{Signals, Stop};
pub use tasks::{Failed, Tasks};
