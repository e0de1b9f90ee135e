//! How instances and hooks are run: one section for each driver, and one for hooks.

use sandbox::Missing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A platform that the agents can serve. Its settings stand in the section of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Processes of this machine.
    Process,
    /// Containers of a Docker Engine.
    Docker,
    /// Nothing but memory, for benchmarks.
    Scripted,
}

impl Driver {
    /// Its name, as it stands in a target.
    pub fn as_str(self) -> &'static str {
        match self {
            Driver::Process => "process",
            Driver::Docker => "docker",
            Driver::Scripted => "scripted",
        }
    }
}

/// `[agents.process]`, `CODE_AGENTS_PROCESS__*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessDriver {
    /// What is done about a limit of a module that this machine cannot enforce: `named` starts its instances and names the
    /// limit in the plan, `refused` starts none. Default `named`.
    pub unenforced: Missing,
}

/// `[agents.docker]`, `CODE_AGENTS_DOCKER__*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DockerDriver {
    /// Where the Docker Engine is: `unix:///path/of.sock` or `tcp://host:port`. Default its usual socket.
    pub endpoint: String,
    /// Containers that are connected to every target's network, such as a data plane's own. Default none.
    pub attach: Vec<String>,
}

impl Default for DockerDriver {
    fn default() -> DockerDriver {
        DockerDriver { endpoint: "unix:///var/run/docker.sock".to_owned(), attach: Vec::new() }
    }
}

/// `[agents.hooks]`, `CODE_AGENTS_HOOKS__*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HookSettings {
    /// `PATH` of hooks; they get nothing else of our environment. Default `/usr/local/bin:/usr/bin:/bin`.
    pub path: String,
    /// What hooks may not do. Default `guarded`.
    pub profile: HookProfile,
    /// What is done about a part of the profile that this machine cannot enforce: `named` runs the hook and says so in the
    /// log, `refused` fails its step. Default `named`.
    pub unenforced: Missing,
}

impl Default for HookSettings {
    fn default() -> HookSettings {
        HookSettings {
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            profile: HookProfile::default(),
            unenforced: Missing::default(),
        }
    }
}

/// What a hook may not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookProfile {
    /// Nothing is denied that the agents' user may do.
    Open,
    /// It gains no privileges, makes no calls into the kernel's insides, and neither reads nor signals other processes.
    #[default]
    Guarded,
    /// Guarded, and without network.
    Offline,
    /// Offline, and writing only in a folder of its own, where it stands and which goes with it (`TMPDIR`).
    Contained,
}
