//! What all services share.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use model::{Principal, ReplicaId, Span, fault::Complaint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::complaint;

/// The `[common]` section. In the environment each field is `CODE_` and its name in upper case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// NATS servers, separated by commas. Default `nats://127.0.0.1:4222`.
    #[serde(serialize_with = "without_credentials")]
    pub nats_url: String,
    /// The folder with the keys of this service's users of NATS, `<user>.nk` each, which nobody but their owner may read.
    /// `codectl access prepare` makes them. Default none: no server of ours lets anybody in without.
    pub nats_keys: Option<PathBuf>,
    /// How the connection to NATS is protected. Default as the server asks, with the system's authorities.
    pub nats_tls: bus::Tls,
    /// How long connecting is tried at start. 1 s to 10 min. Default 30 s.
    pub nats_patience: Span,
    /// Bound of one request to the broker itself. 100 ms to 1 min. Default 5 s.
    pub nats_timeout: Span,
    /// How many copies JetStream keeps of each stream: 1, 3 or 5. Default 1; a NATS cluster wants 3.
    pub nats_replicas: usize,
    /// How large the streams may grow. Bytes. The same for all services.
    pub nats_limits: bus::StreamLimits,
    /// Where `/live`, `/ready` and `/metrics` are served. Default `127.0.0.1:0`, a free port, which is logged.
    pub health_listen: SocketAddr,
    /// Which log lines are shown, as in `info,agents=debug`. Default `info,async_nats=warn`: the bus tells what
    /// matters about the connection.
    pub log: String,
    /// `text` for people (with colour in a terminal) or `json`. Default `text`.
    pub log_format: LogFormat,
    /// Where traces go: an OTLP/gRPC endpoint such as `http://127.0.0.1:4317`. Default nowhere.
    pub otlp_endpoint: Option<String>,
    /// The share of traces kept that no caller has decided on, 0.0 to 1.0. Default 1.0.
    pub trace_sample: f64,
    /// How long a stop waits for what is held. 0 s to 10 min. Default 20 s, within Kubernetes' 30 s.
    pub shutdown_grace: Span,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Common {
    fn default() -> Common {
        Common {
            nats_url: "nats://127.0.0.1:4222".to_owned(),
            nats_keys: None,
            nats_tls: bus::Tls::default(),
            nats_patience: Span::seconds(30),
            nats_timeout: Span::seconds(5),
            nats_replicas: 1,
            nats_limits: bus::StreamLimits::default(),
            health_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: "info,async_nats=warn".to_owned(),
            log_format: LogFormat::Text,
            otlp_endpoint: None,
            trace_sample: 1.0,
            shutdown_grace: Span::seconds(20),
        }
    }
}

/// A user and password within an address are shown as `***`.
fn without_credentials<S: Serializer>(urls: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let one = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => url.to_owned(),
    };
    serializer.serialize_str(&urls.split(',').map(one).collect::<Vec<_>>().join(","))
}

const LONGEST_GRACE: Duration = Duration::from_secs(600);

impl Common {
    /// The settings of the bus for one replica of a service.
    pub fn bus(&self, service: &str, replica: &ReplicaId) -> bus::Settings {
        let principal =
            service.parse().ok().map(|service| Principal::Engine { service, replica: replica.clone() });
        let user = bus::Role::of_service(service).map_or(service, |role| role.as_str());
        bus::Settings {
            url: self.nats_url.clone(),
            name: service.to_owned(),
            principal,
            user: user.to_owned(),
            key: self.nats_keys.as_ref().map(|folder| bus::key_file(folder, user)),
            tls: self.nats_tls.clone(),
            patience: self.nats_patience,
            broker_timeout: self.nats_timeout,
            replicas: self.nats_replicas,
            limits: self.nats_limits.clone(),
        }
    }

    /// What the types cannot say.
    pub fn check(&self) -> Result<(), Vec<Complaint>> {
        let mut complaints = Vec::new();
        let mut say =
            |field: &str, message: String, cure: &str| complaints.push(complaint(field, message, cure));
        if self.nats_url.split(',').any(|url| url.trim().is_empty()) {
            say(
                "nats_url",
                format!("{:?} names no server", self.nats_url),
                "write nats://host:4222, several separated by commas",
            );
        }
        if self.nats_url.contains("://***@") {
            say(
                "nats_url",
                "*** is the mask of a user and password".to_owned(),
                "write the user and password",
            );
        }
        if !matches!(self.nats_replicas, 1 | 3 | 5) {
            say(
                "nats_replicas",
                format!("{} is not a number of copies", self.nats_replicas),
                "a stream has 1, 3 or 5 copies",
            );
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log) {
            say(
                "log",
                format!("{:?} is not a filter: {error}", self.log),
                "write a level, such as info,agents=debug",
            );
        }
        if !(0.0..=1.0).contains(&self.trace_sample) {
            say(
                "trace_sample",
                format!("{} is not a share", self.trace_sample),
                "a share lies between 0.0 (none) and 1.0 (all)",
            );
        }
        if self.shutdown_grace.0 > LONGEST_GRACE {
            say("shutdown_grace", format!("{} is too long", self.shutdown_grace), "at most 10m");
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            say(
                "otlp_endpoint",
                format!("{endpoint:?} is not an endpoint"),
                "write http://host:4317, or https:// with TLS",
            );
        }
        if self.nats_tls.certificate.is_some() != self.nats_tls.key.is_some() {
            say("nats_tls", "a certificate and its key go together".to_owned(), "set both or neither");
        }
        for (field, span, least, most) in [
            ("nats_patience", self.nats_patience, Span::seconds(1), Span::seconds(600)),
            ("nats_timeout", self.nats_timeout, Span::millis(100), Span::seconds(60)),
        ] {
            if span < least || span > most {
                say(field, format!("{span} is out of range"), &format!("between {least} and {most}"));
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }
}
