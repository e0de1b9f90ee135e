//! How a member is set up.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    error::Error,
    grpc::Tls,
    types::{MAX_NAME, Peer},
};

/// How a member is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The member's own folder, on a disk that keeps what it says it keeps.
    pub folder: PathBuf,
    /// The cluster's name, the same for all members. 1 to 200 bytes.
    pub cluster: String,
    /// The member's name, for people. 1 to 200 bytes.
    pub name: String,
    /// Where others are listened to.
    pub listen: SocketAddr,
    /// `host:port` at which others reach it; none: where it listens.
    pub advertise: Option<String>,
    /// Certificate and authority; none: whoever reaches the port may speak as a member, so only a loopback address is
    /// listened to.
    pub tls: Option<Tls>,
    /// How fast a leader is missed.
    pub timing: Timing,
    /// When the log is made shorter.
    pub compaction: Compaction,
}

/// How fast a leader is missed. Every member has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader says that it lives. 10 ms to 5 s, at most a quarter of `patience`. Default 75 ms. At least as
    /// long as a flush and a round trip take, since a read waits for no longer.
    pub heartbeat: Duration,
    /// How long a leader is not missed; a member stands for election after 1.2 to 2.2 times as long. 50 ms to 60 s.
    /// Default 300 ms. Ten times what a flush takes, or more.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { heartbeat: Duration::from_millis(75), patience: Duration::from_millis(300) }
    }
}

impl Timing {
    /// How long nobody votes for another after it heard a leader.
    pub(crate) fn lease(&self) -> Duration {
        self.patience
    }
}

/// When the log is made shorter: a snapshot is made once either is reached since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Bytes of entries. 4 KiB to 1 GiB. Default 16 MiB.
    pub bytes: u64,
    /// Entries. 10 to 1,000,000. Default 20,000.
    pub entries: u64,
    /// Entries that are kept behind a snapshot for members that are a little late. Up to 100,000. Default 1,000.
    pub keep: u64,
}

impl Default for Compaction {
    fn default() -> Compaction {
        Compaction { bytes: 16 << 20, entries: 20_000, keep: 1_000 }
    }
}

impl Settings {
    /// Refuses what is out of range, by name.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong =
            |field: &'static str, value: String, cure: &'static str| Error::Setting { field, value, cure };
        let name = |text: &str| !text.is_empty() && text.len() <= MAX_NAME;
        if !name(&self.cluster) {
            return Err(wrong(
                "cluster",
                self.cluster.clone(),
                "a name of 1 to 200 bytes, the same for all members",
            ));
        }
        if !name(&self.name) {
            return Err(wrong("name", self.name.clone(), "a name of 1 to 200 bytes"));
        }
        if let Some(address) = &self.advertise
            && !(name(address)
                && address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()))
        {
            return Err(wrong(
                "advertise",
                address.clone(),
                "host:port, at which the other members reach this one",
            ));
        }
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return Err(wrong(
                "tls",
                format!("none, listening on {}", self.listen),
                "certificate, key and authority of the members; without them listen on a loopback address",
            ));
        }
        let Timing { heartbeat, patience } = self.timing;
        if heartbeat < Duration::from_millis(10) || heartbeat > Duration::from_secs(5) {
            return Err(wrong("timing.heartbeat", format!("{heartbeat:?}"), "between 10 ms and 5 s"));
        }
        if patience < heartbeat * 4
            || patience < Duration::from_millis(50)
            || patience > Duration::from_secs(60)
        {
            return Err(wrong(
                "timing.patience",
                format!("{patience:?}"),
                "between 50 ms and 60 s, and at least four heartbeats",
            ));
        }
        let Compaction { bytes, entries, keep } = self.compaction;
        if !(4096..=1 << 30).contains(&bytes) {
            return Err(wrong("compaction.bytes", bytes.to_string(), "between 4 KiB and 1 GiB"));
        }
        if !(10..=1_000_000).contains(&entries) {
            return Err(wrong("compaction.entries", entries.to_string(), "between 10 and 1,000,000"));
        }
        if keep > 100_000 {
            return Err(wrong("compaction.keep", keep.to_string(), "at most 100,000"));
        }
        Ok(())
    }

    /// How others see the member that listens at `address`.
    pub(crate) fn peer(&self, address: SocketAddr) -> Peer {
        let address = self.advertise.clone().unwrap_or_else(|| address.to_string());
        Peer { name: self.name.clone(), address }
    }
}
