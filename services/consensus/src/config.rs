//! Settings of a consensus worker.

use chassis::config::{Config, complaint};
use model::fault::Complaint;
use serde::{Deserialize, Serialize};

/// `[consensus]`, `CODE_CONSENSUS_*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsensusConfig {
    /// Threads that compute, apart from those that speak to the bus. 0 to 1024. Default 0: one per processor.
    pub threads: usize,
    /// Bind each thread to a processor. Default false: a worker that shares its host is better left to the scheduler.
    pub pin: bool,
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
