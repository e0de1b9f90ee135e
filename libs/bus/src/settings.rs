use std::path::PathBuf;

use model::{Principal, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where NATS is and how to speak to it. The default is a server on this machine, and no key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// One or several addresses joined by commas. Default `nats://127.0.0.1:4222`.
    pub url: String,
    /// What this connection is called in NATS' own lists, such as `orchestrator`. Default `code`.
    pub name: String,
    /// Who speaks: stands in every message that this connection sends. Default somebody who only says the name.
    pub principal: Option<Principal>,
    /// Which user of NATS this is: it hears the answers to its questions in an inbox of this name. Default `operator`.
    pub user: String,
    /// The file with the user's key, which nobody but its owner may read.
    pub key: Option<PathBuf>,
    /// How the connection is protected.
    pub tls: Tls,
    /// How long connecting is tried at start. Default 10 s.
    pub patience: Span,
    /// Bound of one request to the broker itself: publish, read, create. Default 5 s.
    pub broker_timeout: Span,
    /// Copies of every stream: 1, 3 or 5. Default 1.
    pub replicas: usize,
    /// How large the streams may grow.
    pub limits: StreamLimits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            url: "nats://127.0.0.1:4222".to_owned(),
            name: "code".to_owned(),
            principal: None,
            user: crate::Role::Operator.as_str().to_owned(),
            key: None,
            tls: Tls::default(),
            patience: Span::seconds(10),
            broker_timeout: Span::seconds(5),
            replicas: 1,
            limits: StreamLimits::default(),
        }
    }
}

/// How the connection is protected. Default: as the server asks, with the system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Refuse a connection without TLS. Default false.
    pub required: bool,
    /// PEM file of the authority that signed the server's certificate.
    pub authority: Option<PathBuf>,
    /// PEM file of our own certificate; needs `key`.
    pub certificate: Option<PathBuf>,
    /// PEM file of our own key; needs `certificate`.
    pub key: Option<PathBuf>,
}

/// Largest size of each stream in bytes. A full log refuses to grow (it never forgets), so the sizes want an alarm.
/// The server reserves the sum, [`StreamLimits::reserved`], when they are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamLimits {
    /// Each of the streams of a log. Default 256 MiB.
    pub log: i64,
    /// All jobs that are not done. Default 256 MiB.
    pub jobs: i64,
    /// All events of the last 30 days. Default 256 MiB.
    pub events: i64,
    /// What the world asked and nobody took yet, at most 7 days. Default 64 MiB.
    pub inbox: i64,
    /// Dead letters of the last 90 days. Default 64 MiB.
    pub dead: i64,
    /// The broker's own warnings of the last 7 days. Default 32 MiB.
    pub advisories: i64,
    /// Each bucket. Default 64 MiB.
    pub bucket: i64,
    /// All evidence. Default 1 GiB.
    pub evidence: i64,
}

const MIB: i64 = 1024 * 1024;

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            log: 256 * MIB,
            jobs: 256 * MIB,
            events: 256 * MIB,
            inbox: 64 * MIB,
            dead: 64 * MIB,
            advisories: 32 * MIB,
            bucket: 64 * MIB,
            evidence: 1024 * MIB,
        }
    }
}

impl StreamLimits {
    /// Bytes that all streams and buckets reserve together on each server that holds them.
    pub fn reserved(&self) -> u64 {
        let settings = Settings { limits: self.clone(), ..Settings::default() };
        let streams = crate::streams::all(&settings).into_iter().map(|stream| stream.max_bytes);
        streams.chain([self.evidence]).filter_map(|bytes| u64::try_from(bytes).ok()).sum()
    }

    /// Small ones, for tests and demonstrations: under 200 MiB in all.
    pub fn small() -> StreamLimits {
        StreamLimits {
            log: 8 * MIB,
            jobs: 8 * MIB,
            events: 8 * MIB,
            inbox: 8 * MIB,
            dead: 8 * MIB,
            advisories: 4 * MIB,
            bucket: 8 * MIB,
            evidence: 32 * MIB,
        }
    }
}
