//! One struct per service, from defaults, one TOML file and the environment, in this order of growing weight.
//!
//! ```toml
//! [common]            # what all services share; in the environment CODE_NATS_URL
//! nats_url = "nats://127.0.0.1:4222"
//!
//! [agents]            # one service's own; in the environment CODE_AGENTS_SLOTS, nested CODE_AGENTS_RETRY__MOST
//! slots = 4
//! ```
//!
//! One file can serve the whole cluster: each service reads `[common]` and its own section.

mod common;
mod environment;
mod explain;
mod sources;

use model::fault::Complaint;
use serde::{Serialize, de::DeserializeOwned};

pub use common::{Common, LogFormat};
pub use explain::{Error, Problem};
pub use ground::{Secret, complaint};
pub use sources::{Loaded, Sources};

/// The settings of one service. `Default` is the laptop set-up; the unit and default stand in each field's doc.
///
/// Derive `Serialize` and `Deserialize` with `#[serde(default, deny_unknown_fields)]`. Spans of time are
/// [`model::Span`] (`30s`), secrets [`Secret`].
pub trait Config: Default + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The service's name: the section in the file, and in upper case the word after `CODE_` in the environment.
    const SERVICE: &'static str;

    /// The service still does its work while NATS is away, so that nobody takes it out of service then. Default false.
    const READY_WITHOUT_NATS: bool = false;

    /// What the types cannot say: ranges, and how fields go together. Fields are named relative to the section.
    fn check(&self) -> Result<(), Vec<Complaint>> {
        Ok(())
    }
}

/// The sections a file may hold besides `common`, so that one file serves the cluster and a misspelt section is
/// still refused.
pub const SECTIONS: [&str; 10] = [
    "agents",
    "api",
    "audit",
    "codectl",
    "consensus",
    "experts",
    "mcp-gateway",
    "mcp-manager",
    "orchestrator",
    "traffic",
];

#[cfg(test)]
mod tests;
