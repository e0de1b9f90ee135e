//! Routes: where the data plane sends a module's traffic, and what it measured there.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Fence, Span, TargetId, Timestamp, Token, id::Revision};

/// Share of traffic in percent per revision. Sums to 100, or is empty: then nothing is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Weights(pub BTreeMap<Revision, u8>);

impl Weights {
    /// All traffic to one revision.
    pub fn all_to(revision: Revision) -> Weights {
        Weights([(revision, 100)].into())
    }

    /// `percent` (0 to 100) to `new`, the rest to `old`.
    pub fn split(new: Revision, percent: u8, old: Revision) -> Weights {
        let percent = percent.min(100);
        if new == old {
            return Weights::all_to(new);
        }
        Weights([(new, percent), (old, 100 - percent)].into_iter().filter(|(_, share)| *share > 0).collect())
    }

    /// The share of a revision; 0 when it is not named.
    pub fn of(&self, revision: &Revision) -> u8 {
        self.0.get(revision).copied().unwrap_or(0)
    }

    /// How far in points the share that arrived may be from `wanted` percent among so many requests: three standard
    /// deviations of a binomial count, and at least 5 points.
    pub fn tolerance(wanted: u8, requests: u64) -> f64 {
        let share = f64::from(wanted) / 100.0;
        (300.0 * (share * (1.0 - share) / requests.max(1) as f64).sqrt()).max(5.0)
    }

    /// The limit of the gate that counts what arrived, such as `10 ± 9.0 %`.
    pub fn limit(wanted: u8, requests: u64) -> String {
        format!("{wanted} ± {:.1} %", Weights::tolerance(wanted, requests))
    }

    /// Empty or summing to 100.
    pub fn is_valid(&self) -> bool {
        self.0.is_empty() || self.0.values().map(|share| u32::from(*share)).sum::<u32>() == 100
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            self.0.iter().map(|(revision, share)| format!("{revision} {share}%")).collect();
        f.write_str(&parts.join(", "))
    }
}

/// One place that can answer requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// The instance's id.
    pub instance: String,
    /// `address:port` of the port that clients are sent to.
    pub address: String,
    /// `address:port` of each of its ports, by the port's name.
    #[serde(default)]
    pub ports: BTreeMap<Token, String>,
}

/// Where the other modules of a release reach one port of a module, whatever its instances do: a port of the data plane's
/// machine that only that machine reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerPort {
    /// The port the data plane listens on. Chosen once; it stays for as long as the table does.
    pub listen: u16,
    /// Requests are carried as those of clients are; else connections are.
    pub http: bool,
}

/// Requests that carry this header or cookie go to this revision, whatever the weights say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The header's name, lower case; `cookie:<name>` reads a cookie.
    pub source: String,
    /// The exact value that matches.
    pub value: String,
    /// Where a match goes.
    pub revision: Revision,
}

/// The routes of one module. Lives in the bucket `routes` under [`RouteTable::key`]; written by compare-and-set,
/// and a table with a lower fence than the stored one is never written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteTable {
    /// Whose module.
    pub target: TargetId,
    /// The module.
    pub module: Token,
    /// The port the data plane listens on for clients.
    pub listen: u16,
    /// No port is opened for clients: only other modules reach it.
    #[serde(default)]
    pub internal: bool,
    /// Where other modules of its release reach it, by the name of its port.
    #[serde(default)]
    pub peers: BTreeMap<Token, PeerPort>,
    /// Grows by one with every change of this table.
    pub version: u64,
    /// Who wrote it.
    pub fence: Fence,
    /// Share per revision.
    pub weights: Weights,
    /// Healthy instances per revision, also of revisions with no share (for pins and smoke tests).
    pub endpoints: BTreeMap<Revision, Vec<Endpoint>>,
    /// Exceptions from the weights, first match wins.
    #[serde(default)]
    pub pins: Vec<Pin>,
    /// Name of the cookie that keeps a client on its revision; none means every request is drawn anew.
    #[serde(default)]
    pub sticky_cookie: Option<String>,
    /// Bound of one request through the data plane. Default 30 s.
    pub request_timeout: Span,
}

impl RouteTable {
    /// The key in the bucket `routes`.
    pub fn key(target: &TargetId, module: &Token) -> String {
        format!("{}.{}", target.token(), module)
    }
}

/// What one data plane counted for one revision of one module since it started: cumulative, so that a lost message
/// costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionCount {
    /// Requests answered, by any status.
    pub requests: u64,
    /// Answers 500 to 599 and requests that got no answer.
    pub errors: u64,
    /// Requests that failed to connect and were sent to another instance.
    pub retried: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// Connections of other modules that were carried to an instance.
    pub connections: u64,
    /// Connections of other modules that no instance took.
    pub refused: u64,
    /// Connections of other modules that are open now.
    pub connected: u64,
    /// Latency in microseconds as `(bucket index of stats::Histogram, count)`.
    pub latency: Vec<(u32, u64)>,
}

impl RevisionCount {
    /// What is under way now, and what has ended: requests and connections together.
    pub fn under_way(&self) -> (u64, u64) {
        let ended = self.connections.saturating_sub(self.connected);
        (self.in_flight + self.connected, self.requests + ended)
    }
}

/// One data plane's counts for one module; said on the bus four times a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficCount {
    /// Which data plane (a [`crate::ReplicaId`]); a restart is a new one and counts from zero.
    pub plane: String,
    /// Whose module.
    pub target: TargetId,
    /// The module.
    pub module: Token,
    /// The version of the table in force there.
    pub version: u64,
    /// When it was counted.
    pub at: Timestamp,
    /// Counts per revision.
    pub revisions: BTreeMap<Revision, RevisionCount>,
    /// Requests refused because no revision could take them.
    pub unroutable: u64,
    /// Why a port of the module is not open there; none when all are. A data plane that is older than this field says nothing.
    #[serde(default)]
    pub closed: Option<String>,
}
