//! One module of a release: what runs, how many, how it is reached and known to be well.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Analysis, Strategy};
use crate::{Digest, Span, Token};

/// One module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Module {
    /// Its name, unique in the release.
    pub name: Token,
    /// Its version, semantic, as others depend on it. Default `0.0.0`.
    #[serde(default = "default_version")]
    pub version: String,
    /// What runs.
    pub run: Run,
    /// How many instances, 1 to 1000. Default 1.
    #[serde(default = "default_replicas")]
    pub replicas: u32,
    /// What one instance may use.
    #[serde(default)]
    pub resources: Resources,
    /// Ports an instance listens on; the first is the one that is routed and probed unless a name says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpec>,
    /// The port the data plane opens for it; none means it gets no routed traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// How an instance is known to be well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Environment of the instances, placeholders as in `run.command`. Not for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Files written for the instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<ConfigFile>,
    /// Secrets by reference; the values never stand in a spec, a plan, an event or a log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
    /// Volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Further host names under which the other modules of the release reach its instances, beside the module's own.
    /// Only on Docker; a name may have what a module's name may not, such as `order_api`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Modules that must move first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// How it moves; none means the release's strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Judged in the background from the first step with traffic until promotion; a failure rolls back at any step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Requests that must succeed against the new revision before it gets traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smoke: Vec<Smoke>,
    /// Path of an OpenAPI document an instance serves; breaking changes between revisions are found with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openapi: Option<String>,
}

fn default_version() -> String {
    "0.0.0".to_owned()
}
fn default_replicas() -> u32 {
    1
}

/// What runs: a container image on Docker, a program on the process platform.
///
/// The words that run are either `command`, whole, or `entrypoint` followed by `arguments`. Without any of them an
/// image runs as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// Container image, best pinned: `name@sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Program and arguments; `{port}` and `{port:NAME}` become the instance's port numbers. With an image it takes
    /// the place of both its ENTRYPOINT and its CMD. Not beside `entrypoint` or `arguments`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Takes the place of the image's ENTRYPOINT, and then the image's CMD does not count; `[]` clears the ENTRYPOINT
    /// and leaves the CMD. On the process platform the program. Placeholders as in `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Takes the place of the image's CMD and leaves its ENTRYPOINT; with `entrypoint` they follow that. Placeholders
    /// as in `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Digest the artefact must have: of the image, or of the program file on the process platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// User id in the container, such as `10001`. Root needs a waiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Asks for a privileged container: always refused; the field exists so that the refusal can say why.
    #[serde(default)]
    pub privileged: bool,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
}

impl Run {
    /// The lists of words that run, by the name of their field, in the order in which they run.
    pub fn words(&self) -> [(&'static str, &[String]); 3] {
        [
            ("entrypoint", self.entrypoint.as_deref().unwrap_or_default()),
            ("command", &self.command),
            ("arguments", &self.arguments),
        ]
    }

    /// The program, where the spec names one: the first word of `command` or `entrypoint`.
    pub fn program(&self) -> Option<&String> {
        self.entrypoint.iter().flatten().chain(&self.command).next()
    }

    /// The program, to be changed.
    pub fn program_mut(&mut self) -> Option<&mut String> {
        self.entrypoint.iter_mut().flatten().chain(&mut self.command).next()
    }
}

/// What one instance may use, which the platform enforces, and what is set aside for it, which the room for a release
/// is reckoned by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Most of the processor: `500m` is half a core, `2` is two. None means unlimited, which is a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Most memory: `128Mi`, `1Gi`. None means unlimited, which is a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// What is set aside.
    #[serde(default, skip_serializing_if = "Request::is_empty")]
    pub request: Request,
}

/// What is set aside for one instance, at most what it may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Processor, as `resources.cpu`. None sets nothing aside: instances share what there is, up to their limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory, as `resources.memory`. None sets the whole limit aside, since memory that is used cannot be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

impl Request {
    fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }

    /// Thousandths of a core; none when unset or unreadable.
    pub fn cpu_millis(&self) -> Option<u64> {
        cpu_millis(self.cpu.as_deref()?)
    }

    /// Bytes; none when unset or unreadable.
    pub fn memory_bytes(&self) -> Option<u64> {
        memory_bytes(self.memory.as_deref()?)
    }
}

impl Resources {
    /// The limit in thousandths of a core; none when unset or unreadable.
    pub fn cpu_millis(&self) -> Option<u64> {
        cpu_millis(self.cpu.as_deref()?)
    }

    /// The limit in bytes; none when unset or unreadable.
    pub fn memory_bytes(&self) -> Option<u64> {
        memory_bytes(self.memory.as_deref()?)
    }

    /// Thousandths of a core that are set aside: the request, else nothing.
    pub fn reserved_cpu_millis(&self) -> u64 {
        self.request.cpu_millis().unwrap_or(0)
    }

    /// Bytes that are set aside: the request, else the limit, else nothing.
    pub fn reserved_memory_bytes(&self) -> u64 {
        self.request.memory_bytes().or(self.memory_bytes()).unwrap_or(0)
    }
}

fn cpu_millis(text: &str) -> Option<u64> {
    match text.strip_suffix('m') {
        Some(millis) => millis.parse().ok(),
        None => {
            let cores: f64 = text.parse().ok()?;
            (cores.is_finite() && (0.0..=10_000.0).contains(&cores))
                .then_some((cores * 1000.0).round() as u64)
        }
    }
}

fn memory_bytes(text: &str) -> Option<u64> {
    for (unit, factor) in [
        ("Ki", 1u64 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<u64>().ok()?.checked_mul(factor);
        }
    }
    text.parse().ok()
}

/// A port an instance listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSpec {
    /// Its name, unique in the module.
    pub name: Token,
    /// The number inside the container. On the process platform every instance gets a free port of its own, given
    /// to it as `{port}` and in `PORT`; there this may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<u16>,
}

/// How the data plane offers the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expose {
    /// The port the data plane listens on.
    pub listen: u16,
    /// Name of the module's port; none means the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Token>,
    /// Cookie that keeps a client on its revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_cookie: Option<String>,
    /// Requests whose header `name` has exactly the value go to the revision on trial: `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_header: Option<String>,
    /// Bound of one request. Default 30 s.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: Span,
}

fn default_request_timeout() -> Span {
    Span::seconds(30)
}

/// How an instance is known to be well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// How it is asked.
    pub probe: Probe,
    /// Pause between probes. Default 1 s.
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// Bound of one probe. Default 2 s.
    #[serde(default = "default_probe_timeout")]
    pub timeout: Span,
    /// How long probes must succeed without a gap before the instance counts as healthy (Nomad's `min_healthy_time`).
    /// Default 1 s.
    #[serde(default = "default_healthy_after")]
    pub healthy_after: Span,
    /// How long an instance may take to become healthy; then the step fails. Default 60 s.
    #[serde(default = "default_healthy_deadline")]
    pub healthy_deadline: Span,
    /// Failed probes in a row that make a healthy instance unhealthy. Default 3.
    #[serde(default = "default_unhealthy_threshold")]
    pub unhealthy_threshold: u32,
}

fn default_interval() -> Span {
    Span::seconds(1)
}
fn default_probe_timeout() -> Span {
    Span::seconds(2)
}
fn default_healthy_after() -> Span {
    Span::seconds(1)
}
fn default_healthy_deadline() -> Span {
    Span::seconds(60)
}
fn default_unhealthy_threshold() -> u32 {
    3
}

/// One way to ask an instance how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Probe {
    /// GET of this path answers 200 to 399.
    #[serde(rename_all = "camelCase")]
    Http {
        /// Path, beginning with `/`.
        path: String,
        /// Port name; none means the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<Token>,
    },
    /// A connection is taken.
    #[serde(rename_all = "camelCase")]
    Tcp {
        /// Port name; none means the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<Token>,
    },
    /// The command exits with status 0 (inside the container on Docker).
    Command(Vec<String>),
}

/// A file written for the instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigFile {
    /// Absolute path in the container; on the process platform a path below the instance's own folder, given to it
    /// in `CODE_CONFIG_DIR`.
    pub path: String,
    /// What stands in it; placeholders as in `run.command`.
    pub content: String,
}

/// A secret by reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The environment variable the instance reads it from.
    pub name: String,
    /// Where the platform step takes the value from.
    pub from: SecretFrom,
    /// Version of the secret; part of the revision, so that a new version is a new revision and can be rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The platform on which instances are programs beside each other on one machine.
pub const PROCESS: &str = "process";

/// What the names of the variables begin with that specs may name as secrets: no spec reads the rest of the agents'
/// environment.
pub const SECRET_VARIABLES: &str = "CODE_SECRET_";

/// Where a secret's value is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SecretFrom {
    /// A file below the agents' secret folder; `{version}` becomes the version.
    File(String),
    /// A variable in the agents' environment; its name begins with `CODE_SECRET_`, and `{version}` becomes the version.
    Env(String),
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Named volume; survives instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Token>,
    /// Host folder, only below the configured root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where it is mounted.
    pub path: String,
    /// Mounted read-only. Default false.
    #[serde(default)]
    pub read_only: bool,
}

/// A module that must move first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// Its name in this release.
    pub module: Token,
    /// Versions that fit, such as `>=1.2, <2`. None means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A request that must succeed against the new revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Smoke {
    /// Path, beginning with `/`.
    pub path: String,
    /// Status that is expected. Default 200.
    #[serde(default = "default_status")]
    pub status: u16,
    /// Text the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// How often it is asked, 1 to 10000. More than one makes it a small load test. Default 1.
    #[serde(default = "default_times")]
    pub times: u32,
}

impl Smoke {
    /// The limit of its gate: so many requests may fail.
    pub const LIMIT: &str = "== 0";

    /// The name of its gate.
    pub fn gate(&self) -> String {
        format!("smoke {}", self.path)
    }
}

fn default_status() -> u16 {
    200
}
fn default_times() -> u32 {
    1
}
