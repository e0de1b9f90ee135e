//! The fence that keeps stale owners out.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two counters that only grow: `lock` counts the holders of the target; `epoch` counts, within one deployment, changes
/// of owner, waves of steps and the turn to rollback. Compared left to right; a platform write that carries a lower
/// fence than one already seen on the target is refused, so a late job of an earlier wave can undo nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Fence {
    /// The fencing token of the target's lock. 0 before the lock is held.
    pub lock: u64,
    /// The deployment's epoch.
    pub epoch: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.lock, self.epoch)
    }
}
