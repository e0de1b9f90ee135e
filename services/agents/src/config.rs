//! Settings of the agents.

mod certificates;

use std::{collections::BTreeMap, path::PathBuf};

use chassis::config::{Config, complaint};
use model::{Span, fault::Complaint, step::Agent};
use serde::{Deserialize, Serialize};

pub use certificates::{CertificateSettings, VaultSettings};

use crate::{Error, egress::Egress, error::Result};

/// `[agents]`, `CODE_AGENTS_*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentsConfig {
    /// Where the runner's journal is kept, and below it the process platform's instances. Must survive a restart.
    /// Default `.code/agents`.
    pub state_dir: PathBuf,
    /// The platforms this runner serves: `process`, `docker`, `scripted` (in memory, for benchmarks).
    /// Default `process`.
    pub platforms: Vec<String>,
    /// Where the Docker Engine is: `unix:///path/of.sock` or `tcp://host:port`. Default its usual socket.
    pub docker_endpoint: String,
    /// Containers that are connected to every target's network, such as a data plane's own. Default none.
    pub docker_attach: Vec<String>,
    /// Files that specs name as secrets lie below this folder. Default none: every such secret is refused.
    pub secrets_dir: Option<PathBuf>,
    /// Host folders may be named as volumes only below this one. Default none: every host folder is refused.
    pub volumes_root: Option<PathBuf>,
    /// Where the data plane's listening ports are reached from here, for probes and previews. Default `127.0.0.1`.
    pub data_plane: String,
    /// Where instances reach the data plane, given to them as `CODE_PEER_<NAME>`. Default as `data_plane`.
    pub peer_host: Option<String>,
    /// Which inside addresses a spec may make the agents ask for metrics: `loopback`, `private`, and networks such as
    /// `10.2.0.0/16`. Public addresses are always allowed, link-local and metadata addresses never. Default none; what
    /// `codectl up` starts allows `loopback`.
    pub egress_allow: Vec<String>,
    /// How many steps of an agent run side by side, by the agent's name, 1 to 1000. Default 32, and 256 for the
    /// guardian and the performance agent, whose steps mostly wait.
    pub concurrency: BTreeMap<String, usize>,
    /// `PATH` of hooks; they get nothing else of our environment. Default `/usr/local/bin:/usr/bin:/bin`.
    pub hook_path: String,
    /// A finished step's entry in the runner's journal is dropped after so long. At least an hour. Default 7 days.
    pub remember: Span,
    /// How long requests in flight may take before an instance is stopped. Default 10 s.
    pub drain: Span,
    /// With what the certifier signs.
    pub certificates: CertificateSettings,
}

impl Default for AgentsConfig {
    fn default() -> Self {
        AgentsConfig {
            state_dir: ".code/agents".into(),
            platforms: vec!["process".to_owned()],
            docker_endpoint: "unix:///var/run/docker.sock".to_owned(),
            docker_attach: Vec::new(),
            secrets_dir: None,
            volumes_root: None,
            data_plane: "127.0.0.1".to_owned(),
            peer_host: None,
            egress_allow: Vec::new(),
            concurrency: BTreeMap::new(),
            hook_path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            remember: Span::seconds(7 * 24 * 3600),
            drain: Span::seconds(10),
            certificates: CertificateSettings::default(),
        }
    }
}

impl AgentsConfig {
    /// How many steps of this agent run side by side.
    pub fn concurrency_of(&self, agent: Agent) -> usize {
        let waits = matches!(agent, Agent::Guardian | Agent::Performance);
        self.concurrency.get(agent.as_str()).copied().unwrap_or(if waits { 256 } else { 32 })
    }
}

impl AgentsConfig {
    /// What a spec may make the agents ask.
    pub(crate) fn egress(&self) -> Result<Egress> {
        let wrong = |entry| Error::trouble(format!("egress_allow: {entry:?} is no network"));
        Egress::parse(&self.egress_allow).map_err(wrong)
    }
}

impl Config for AgentsConfig {
    const SERVICE: &'static str = "agents";

    fn check(&self) -> std::result::Result<(), Vec<Complaint>> {
        let mut complaints = Vec::new();
        for name in &self.platforms {
            if !["process", "docker", "scripted"].contains(&name.as_str()) {
                let message = format!("{name:?} is not a platform");
                complaints.push(complaint("platforms", message, "process, docker or scripted"));
            }
        }
        for (agent, number) in &self.concurrency {
            if !Agent::ALL.iter().any(|known| known.as_str() == agent) {
                let names: Vec<&str> = Agent::ALL.iter().map(|agent| agent.as_str()).collect();
                complaints.push(complaint("concurrency", format!("{agent:?} is no agent"), names.join(", ")));
            }
            if !(1..=1000).contains(number) {
                let message = format!("{number} is not a number of steps of the {agent}");
                complaints.push(complaint("concurrency", message, "1 to 1000"));
            }
        }
        if self.remember.0 < std::time::Duration::from_secs(3600) {
            let message = format!("{} is too short", self.remember);
            complaints.push(complaint(
                "remember",
                message,
                "a job may be delivered again for an hour: at least 1h",
            ));
        }
        if let Err(entry) = Egress::parse(&self.egress_allow) {
            let message = format!("{entry:?} is no network");
            complaints.push(complaint(
                "egress_allow",
                message,
                "loopback, private, or networks such as 10.2.0.0/16",
            ));
        }
        self.certificates.check(&mut complaints);
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }
}
