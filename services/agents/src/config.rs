//! Settings of the agents.

mod certificates;
mod drivers;

use std::{collections::BTreeMap, ops::RangeInclusive, path::PathBuf};

use chassis::config::{Config, complaint};
use model::{Span, fault::Complaint, step::Agent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use certificates::{CertificateSettings, VaultSettings};
pub use drivers::{DockerDriver, Driver, HookProfile, HookSettings, ProcessDriver};

use crate::{Error, egress::Egress, error::Result};

/// `[agents]`, `CODE_AGENTS_*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentsConfig {
    /// Where the runner's journal is kept, and below it the process platform's instances. Must survive a restart.
    /// Default `.code/agents`.
    pub state_dir: PathBuf,
    /// The platforms this runner serves: `process`, `docker`, `scripted` (in memory, for benchmarks).
    /// Default `process`.
    pub platforms: Vec<Driver>,
    /// How processes are run.
    pub process: ProcessDriver,
    /// How containers are run.
    pub docker: DockerDriver,
    /// How hooks are run.
    pub hooks: HookSettings,
    /// Files that specs name as secrets lie below this folder. Default none: every such secret is refused.
    pub secrets_dir: Option<PathBuf>,
    /// Host folders may be named as volumes only below this one. Default none: every host folder is refused.
    pub volumes_root: Option<PathBuf>,
    /// Where the data plane's listening ports are reached from here, for probes and previews. Default `127.0.0.1`.
    pub data_plane: String,
    /// Where containers reach the data plane: given to them in `CODE_PEER_<MODULE>` of exposed modules. Default none: on
    /// Docker modules reach each other by their names. Programs on the process platform always reach it on this machine.
    pub peer_host: Option<String>,
    /// Ports of this machine at which the data plane lets modules on the process platform reach each other, `first-last`.
    /// Default `30000-32767`: below those that the kernel gives to clients, above those of instances.
    pub peer_ports: String,
    /// Which inside addresses a spec may make the engine ask, for metrics and for images: `loopback`, `private`, and networks
    /// such as `10.2.0.0/16`. Public addresses are always allowed, link-local and metadata addresses never. Default none;
    /// what `codectl up` starts allows `loopback`.
    pub egress_allow: Vec<String>,
    /// How many steps of an agent run side by side, by the agent's name, 1 to 1000. Default 32, and 256 for the
    /// guardian and the performance agent, whose steps mostly wait.
    pub concurrency: BTreeMap<String, usize>,
    /// A finished step's entry in the runner's journal is dropped after so long. At least an hour. Default 7 days.
    pub remember: Span,
    /// How long requests in flight may take before an instance is stopped. Default 10 s.
    pub drain: Span,
    /// Whether a release fails when it cannot be said that its contract keeps what the old one promised. Default no: a
    /// doubt is told, and only a break that is certain fails it.
    pub contract_doubts_fail: bool,
    /// With what the certifier signs.
    pub certificates: CertificateSettings,
}

impl Default for AgentsConfig {
    fn default() -> Self {
        AgentsConfig {
            state_dir: ".code/agents".into(),
            platforms: vec![Driver::Process],
            process: ProcessDriver::default(),
            docker: DockerDriver::default(),
            hooks: HookSettings::default(),
            secrets_dir: None,
            volumes_root: None,
            data_plane: "127.0.0.1".to_owned(),
            peer_host: None,
            peer_ports: "30000-32767".to_owned(),
            egress_allow: Vec::new(),
            concurrency: BTreeMap::new(),
            remember: Span::seconds(7 * 24 * 3600),
            drain: Span::seconds(10),
            contract_doubts_fail: false,
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
    /// The range of [`AgentsConfig::peer_ports`].
    pub(crate) fn peer_ports(&self) -> Result<RangeInclusive<u16>> {
        range(&self.peer_ports)
            .ok_or_else(|| Error::trouble(format!("peer_ports: {:?} is no range", self.peer_ports)))
    }

    /// What a spec may make the agents ask.
    pub(crate) fn egress(&self) -> Result<Egress> {
        let wrong = |entry| Error::trouble(format!("egress_allow: {entry:?} is no network"));
        Egress::parse(&self.egress_allow).map_err(wrong)
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (1024 <= first && first <= last).then_some(first..=last)
}

impl Config for AgentsConfig {
    const SERVICE: &'static str = "agents";

    fn check(&self) -> std::result::Result<(), Vec<Complaint>> {
        let mut complaints = Vec::new();
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
        if range(&self.peer_ports).is_none() {
            let message = format!("{:?} is no range of ports", self.peer_ports);
            complaints.push(complaint(
                "peer_ports",
                message,
                "first-last, such as 30000-32767, from 1024 on",
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
