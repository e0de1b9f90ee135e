//! A target's own journal: who holds its lock, who waits, what it last ran well, and what it must not run again.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DeploymentId, Digest, Principal, Timestamp, journal::Skip, plan::Snapshot};

/// A person's hold on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// Who.
    pub by: Principal,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds the target: {}", self.by, self.reason)
    }
}

/// A spec that must not run again on a target without a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantine {
    /// The spec's digest.
    pub spec: Digest,
    /// The deployment that was rolled back.
    pub deployment: DeploymentId,
    /// Why.
    pub reason: String,
}

/// One fact about a target. Journalled under `code.v1.log.target.<shard>.<token>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TargetEvent {
    /// A deployment waits for the lock.
    Queued {
        /// Which.
        deployment: DeploymentId,
        /// When.
        at: Timestamp,
    },
    /// A deployment no longer waits.
    Left {
        /// Which.
        deployment: DeploymentId,
    },
    /// A deployment holds the lock from now on.
    Granted {
        /// Which.
        deployment: DeploymentId,
        /// Fencing token: one more than the last.
        token: u64,
        /// When.
        at: Timestamp,
        /// When the lease ends unless renewed; then the sweep hands the lock on if the holder has ended.
        expires: Timestamp,
    },
    /// The holder gave the lock back.
    Released {
        /// Which.
        deployment: DeploymentId,
        /// The token it held.
        token: u64,
    },
    /// The holder's release was promoted: the new place to return to.
    Settled {
        /// What runs now.
        snapshot: Box<Snapshot>,
    },
    /// A release was rolled back: its spec digest is refused until forced.
    Quarantined(Quarantine),
    /// Someone lifted a quarantine, by a forced deployment.
    Unquarantined {
        /// The spec's digest.
        spec: Digest,
        /// Who.
        by: Principal,
        /// Why.
        reason: String,
    },
    /// A person holds the target: no deployment gets the lock.
    Held(Hold),
    /// A record of this journal is passed over from now on: it cannot be used, and a person has said so. Changes nothing
    /// else.
    RecordSkipped(Skip),
    /// A person lets go.
    Unheld {
        /// Who.
        by: Principal,
    },
}
