//! What runs, as a driver sees it.

use std::collections::BTreeMap;

use model::{DeploymentId, Fence, Timestamp, Token, plan::Revision};
use serde::{Deserialize, Serialize};

/// What a place has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Thousandths of a core in all.
    pub cpu_millis: u64,
    /// Bytes of memory in all.
    pub memory_bytes: u64,
    /// Thousandths of a core that no instance has reserved by its limit.
    pub free_cpu_millis: u64,
    /// Bytes of memory that no instance has reserved by its limit.
    pub free_memory_bytes: u64,
}

/// A limit of a module that a place cannot enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unenforced {
    /// The module.
    pub module: Token,
    /// Which limit, and why.
    pub fact: sandbox::Unenforced,
    /// The module's instances are refused for it; else they are started without it.
    pub refused: bool,
}

/// How far an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It exists; its program does not run yet.
    Starting,
    /// Its program runs. Whether it is well is for a probe to say.
    Running,
    /// Its program ended.
    Exited {
        /// Exit status; 128 and the signal's number when a signal ended it; none when nobody saw it end (the engine
        /// was restarted in between).
        code: Option<i64>,
        /// When it ended, or when that was first seen.
        at: Timestamp,
        /// The kernel killed it for want of memory.
        oom: bool,
    },
}

/// One instance of one revision of one module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// `<target token>-<module>-<revision>-<slot>`.
    pub id: String,
    /// The module.
    pub module: Token,
    /// The revision.
    pub revision: Revision,
    /// Its number within the revision, from 0.
    pub slot: u32,
    /// How far it is.
    pub state: State,
    /// `address:port` per port name, once it has an address.
    pub addresses: BTreeMap<String, String>,
    /// Name of the port the module declares first.
    pub first_port: Option<String>,
    /// The fence it was last written with.
    pub fence: Fence,
    /// The deployment that started it.
    pub deployment: DeploymentId,
    /// How often it was started again after it exited.
    pub restarts: u32,
    /// The kernel killed something of it for want of memory since it was last started, as far as the platform sees:
    /// its program may run on without the child that was killed.
    #[serde(default)]
    pub out_of_memory: bool,
    /// When its program was last started.
    pub started_at: Option<Timestamp>,
    /// Process id or container id, for people.
    pub handle: String,
}

impl Instance {
    /// Its program runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    /// `address:port` of the named port, or of the first one; none when it has no such port or no address yet.
    pub fn address(&self, port: Option<&Token>) -> Option<&str> {
        let name = port.map(Token::as_str).or(self.first_port.as_deref())?;
        self.addresses.get(name).map(String::as_str)
    }
}
