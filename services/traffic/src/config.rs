//! Settings of the data plane.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use chassis::config::Config;
use ground::Ranges;
use model::{Span, fault::Complaint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{eject::Rules, proxy::Settings};

/// `[traffic]`, `CODE_TRAFFIC_*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrafficConfig {
    /// Where the modules' ports are opened. Default `127.0.0.1`; in a container `0.0.0.0`.
    pub listen_address: IpAddr,
    /// Where a copy of the tables in force is kept, so that a restart without NATS serves them. Default
    /// `.code/traffic`.
    pub state_dir: PathBuf,
    /// Folder in which data planes of this machine take turns: one that is started there takes the open ports of the one
    /// that serves, which then ends when its last connection has, so that a new program, or other settings, cost no
    /// request. Default none.
    pub handover_dir: Option<PathBuf>,
    /// Client connections at a time, over all ports; more are answered 503. Fewer when the limit of open files does not
    /// allow for them: the process keeps 512 files (half when there are fewer than 1024) for itself, and of the rest half
    /// are for clients. 1 to 1000000. Default 10000.
    pub max_connections: usize,
    /// Connections to instances at a time, over all of them; a request that needs one more is answered 503. The other
    /// half of the files. 1 to 1000000. Default 10000.
    pub max_instance_connections: usize,
    /// Largest body of a request in bytes; larger ones are answered 413. Default 1 GiB.
    pub max_body: u64,
    /// Largest head of a request in bytes, measured as HTTP/2 does whatever the version: names and values, and 32 bytes
    /// per field. Larger ones are answered 431; an instance's answer with a larger one is a 502. 8192 to 1048576. Default
    /// 65536.
    pub max_head: usize,
    /// Bound of opening one connection to an instance. 1 ms to 1 min. Default 1 s.
    pub connect_timeout: Span,
    /// Further instances a request may be sent to. 0 to 3. Default 2.
    pub retries: u32,
    /// Retries per hundred requests of a revision, 10 per 10 s are free besides. 0 to 100. Default 20.
    pub retry_percent: u8,
    /// Idle connections kept per instance. Default 256.
    pub idle_per_instance: usize,
    /// How long an idle connection to an instance is kept. Default 30 s.
    pub idle_timeout: Span,
    /// How long a client may keep a connection without a request, or take to send a head. At least 1 s. Default 60 s.
    pub client_idle: Span,
    /// How long nothing may be said on a connection of another module, such as one to a database, before it is closed. At
    /// least 1 s. Default 1 h.
    pub peer_idle: Span,
    /// Failures in a row that eject an instance. At least 1. Default 5.
    pub eject_after: u32,
    /// The first ejection lasts so long, each further one as much longer. At least 1 s. Default 30 s.
    pub eject_for: Span,
    /// How often the counts are said. 10 ms to 10 s. Default 250 ms.
    pub count_period: Span,
    /// How long a stop lets requests in flight end; within the chassis' `shutdown_grace`. Default 20 s.
    pub drain: Span,
}

impl Default for TrafficConfig {
    fn default() -> Self {
        let plane = Settings::default();
        TrafficConfig {
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            state_dir: ".code/traffic".into(),
            handover_dir: None,
            max_connections: plane.max_connections,
            max_instance_connections: plane.max_instance_connections,
            max_body: plane.max_body,
            max_head: plane.max_head,
            connect_timeout: Span(plane.connect_timeout),
            retries: plane.retries,
            retry_percent: plane.retry_percent,
            idle_per_instance: plane.idle_per_instance,
            idle_timeout: Span(plane.idle_timeout),
            client_idle: Span(plane.client_idle),
            peer_idle: Span(plane.peer_idle),
            eject_after: plane.ejection.failures,
            eject_for: Span(plane.ejection.base),
            count_period: Span::millis(250),
            drain: Span::seconds(20),
        }
    }
}

impl TrafficConfig {
    /// The bounds of the plane.
    pub fn settings(&self) -> Settings {
        let longest = Rules::default().longest.max(self.eject_for.0);
        Settings {
            listen_address: self.listen_address,
            max_connections: self.max_connections,
            max_instance_connections: self.max_instance_connections,
            max_body: self.max_body,
            max_head: self.max_head,
            connect_timeout: self.connect_timeout.0,
            retries: self.retries,
            retry_percent: self.retry_percent,
            idle_per_instance: self.idle_per_instance,
            idle_timeout: self.idle_timeout.0,
            client_idle: self.client_idle.0,
            peer_idle: self.peer_idle.0,
            ejection: Rules { failures: self.eject_after, base: self.eject_for.0, longest },
        }
    }
}

impl Config for TrafficConfig {
    const SERVICE: &'static str = "traffic";

    /// It goes on with the last tables it knew.
    const READY_WITHOUT_NATS: bool = true;

    fn check(&self) -> Result<(), Vec<Complaint>> {
        let mut ranges = Ranges::default();
        let day = Span::seconds(24 * 3600);
        ranges.check("max_connections", self.max_connections, 1..=1_000_000, "connections");
        ranges.check("max_instance_connections", self.max_instance_connections, 1..=1_000_000, "connections");
        ranges.check("max_head", self.max_head, 8192..=1 << 20, "bytes");
        ranges.check("connect_timeout", self.connect_timeout, Span::millis(1)..=Span::seconds(60), "");
        ranges.check("retries", self.retries, 0..=3, "retries");
        ranges.check("retry_percent", self.retry_percent, 0..=100, "percent");
        ranges.check("idle_timeout", self.idle_timeout, Span::seconds(0)..=day, "");
        ranges.check("client_idle", self.client_idle, Span::seconds(1)..=day, "");
        ranges.check("peer_idle", self.peer_idle, Span::seconds(1)..=day, "");
        ranges.check("eject_after", self.eject_after, 1..=u32::MAX, "failures");
        ranges.check("eject_for", self.eject_for, Span::seconds(1)..=day, "");
        ranges.check("count_period", self.count_period, Span::millis(10)..=Span::seconds(10), "");
        ranges.check("drain", self.drain, Span::seconds(0)..=Span::seconds(600), "");
        ranges.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_what_is_not_is_named() {
        let wrong = TrafficConfig { retries: 4, max_head: 1, ..TrafficConfig::default() };

        assert_eq!(TrafficConfig::default().check(), Ok(()));
        let fields: Vec<String> =
            wrong.check().unwrap_err().into_iter().map(|complaint| complaint.field).collect();
        assert_eq!(fields, ["max_head", "retries"]);
    }
}
