//! Instances as containers on a Docker Engine (API 1.41 and newer).
//!
//! The only crate that names `bollard`. A container has no capability, gains no privilege, has bounds of processes and
//! logs, sits in a network of its target's own and is never restarted by the engine: restarting is decided by the
//! agents. The driver never runs a privileged container, never mounts a host folder outside the configured root and
//! never touches a container whose labels are not its own.
//!
//! Facts stand in labels (`code.target`, `code.fence`, …), so any driver object finds every instance again; the
//! highest fence per target is also kept on disk, since a removed container takes its label along. Secrets are
//! environment variables of the container: whoever may ask the engine can read them.

#![warn(missing_docs)]

mod body;
mod driver;
mod engine;
mod image;
mod labels;
mod network;
mod pack;
mod seen;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use ground::Clock;

pub use driver::DockerPlatform;
pub use image::registry;

/// Judges the registries that specs name.
#[async_trait]
pub trait Registries: Send + Sync {
    /// Whether images may be fetched from `host` or `host:port`; the error says why not.
    async fn check_registry(&self, registry: &str) -> Result<(), String>;
}

/// How the driver is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where the engine is: `unix:///path/of.sock` or `tcp://host:port`. Default the usual socket of Docker.
    pub endpoint: String,
    /// Where the highest fence per target is kept.
    pub state_dir: PathBuf,
    /// Host folders may be mounted only from below this one. Default none: every host folder is refused.
    pub host_root: Option<PathBuf>,
    /// Fetch images that are not on the machine. Default true.
    pub pull: bool,
    /// How long a fetch may take. Default 5 min.
    pub pull_timeout: Duration,
    /// Most processes and threads in one container. Default 512.
    pub pids_limit: i64,
    /// Containers (names or ids) that are connected to every target's network, so that a data plane that is itself a
    /// container reaches the instances. Default none.
    pub attach: Vec<String>,
    /// Asked before the engine is told to fetch an image whose name says from where. Default none: anything is fetched.
    pub registries: Option<Arc<dyn Registries>>,
    /// Tells the time.
    pub clock: Clock,
}

impl Settings {
    /// The defaults, with this state folder.
    pub fn new(state_dir: impl Into<PathBuf>) -> Settings {
        Settings {
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            state_dir: state_dir.into(),
            host_root: None,
            pull: true,
            pull_timeout: Duration::from_secs(300),
            pids_limit: 512,
            attach: Vec::new(),
            registries: None,
            clock: Clock::system(),
        }
    }
}
