//! Settings of a consensus worker.

use chassis::config::{Config, complaint};
use model::fault::Complaint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[consensus]`, `CODE_CONSENSUS_*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConsensusConfig {
    /// Threads that compute, apart from those that speak to the bus. 0 to 1024. Default 0: one per core.
    pub threads: usize,
    /// Bind each thread to a processor, whole cores first. Several workers on one host would bind theirs to the same
    /// ones: say false there. Default true.
    pub pin: bool,
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        ConsensusConfig { threads: 0, pin: true }
    }
}

impl Config for ConsensusConfig {
    const SERVICE: &'static str = "consensus";

    fn check(&self) -> Result<(), Vec<Complaint>> {
        if self.threads <= 1024 {
            return Ok(());
        }
        let message = format!("{} is not a number of threads", self.threads);
        Err(vec![complaint("threads", message, "0 to 1024")])
    }
}
