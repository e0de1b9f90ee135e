//! The state file of one instance: what the next engine needs to find it again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use model::{DeploymentId, Digest, Fence, TargetId, Timestamp, Token, plan::Revision};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::{Instance, Result, State, durable};

use super::proc;

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exit {
    pub code: Option<i64>,
    pub at: Timestamp,
    pub oom: bool,
}

/// One state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub id: String,
    pub target: TargetId,
    pub deployment: DeploymentId,
    pub module: Token,
    pub revision: Revision,
    pub slot: u32,
    pub fence: Fence,
    /// Port number per name.
    pub ports: BTreeMap<String, u16>,
    pub first_port: Option<String>,
    /// 0 while only the intent is known.
    pub pid: i32,
    /// Start of the process in ticks after boot, against reuse of the pid.
    pub start: u64,
    /// The boot the pid is of.
    pub boot: String,
    /// Over program and arguments, so that a person can compare.
    pub command: Digest,
    pub restarts: u32,
    pub started_at: Option<Timestamp>,
    pub exit: Option<Exit>,
    /// Reserved thousandths of a core.
    pub cpu_millis: u64,
    /// Reserved bytes.
    pub memory_bytes: u64,
    /// User and group it runs as, when not the engine's.
    pub user: Option<(u32, u32)>,
    /// Its control groups.
    pub groups: Vec<PathBuf>,
    pub labels: BTreeMap<String, String>,
}

/// How the process of a record is.
pub(super) enum Life {
    /// It runs.
    Alive,
    /// It ended and nobody has taken its status.
    Zombie(proc::Stat),
    /// It is not there.
    Gone,
}

impl Record {
    pub fn life(&self) -> Life {
        if self.pid == 0 || self.boot != proc::boot() {
            return Life::Gone;
        }
        match proc::stat(self.pid) {
            Some(stat) if stat.start != self.start => Life::Gone,
            Some(stat) if stat.has_ended() => Life::Zombie(stat),
            Some(_) => Life::Alive,
            None => Life::Gone,
        }
    }

    pub fn instance(&self) -> Instance {
        let state = match &self.exit {
            Some(exit) => State::Exited { code: exit.code, at: exit.at, oom: exit.oom },
            None if self.pid == 0 => State::Starting,
            None => State::Running,
        };
        Instance {
            id: self.id.clone(),
            module: self.module.clone(),
            revision: self.revision.clone(),
            slot: self.slot,
            state,
            addresses: self
                .ports
                .iter()
                .map(|(name, port)| (name.clone(), format!("127.0.0.1:{port}")))
                .collect(),
            first_port: self.first_port.clone(),
            fence: self.fence,
            deployment: self.deployment.clone(),
            restarts: self.restarts,
            out_of_memory: self.exit.as_ref().is_some_and(|exit| exit.oom)
                || sandbox::groups::ran_out_of_memory(&self.groups),
            started_at: self.started_at,
            handle: self.pid.to_string(),
        }
    }

    pub fn save(&self, folder: &Path) -> Result<()> {
        durable::write(&folder.join(FILE), &model::digest::canonical_json(self))
    }

    /// The record of the instance of this folder. One that cannot be read is put aside, said aloud, and taken for that
    /// of an instance that ended: a start kills what may still run under its name and begins anew.
    pub fn load(folder: &Path) -> Result<Option<Record>> {
        let path = folder.join(FILE);
        let Some(bytes) = durable::read(&path)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => Ok(Record::lost(folder, &error.to_string())),
        }
    }

    /// What the names of the folders tell of an instance whose record cannot be read; none when they do not fit.
    fn lost(folder: &Path, why: &str) -> Option<Record> {
        let path = folder.join(FILE);
        error!(path = %path.display(), why, "an instance's record cannot be read, the instance counts as ended");
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let (id, token) = (name(folder)?, name(folder.parent()?)?);
        let (rest, slot) = id.strip_prefix(&token)?.strip_prefix('-')?.rsplit_once('-')?;
        let (module, revision) = rest.rsplit_once('-')?;
        let record = Record {
            target: token.replace("--", ".").parse().ok()?,
            // No deployment's: whoever comes next may take it away.
            deployment: DeploymentId::derived(&id),
            module: module.parse().ok()?,
            revision: revision.parse().ok()?,
            slot: slot.parse().ok()?,
            fence: Fence::default(),
            ports: BTreeMap::new(),
            first_port: None,
            pid: 0,
            start: 0,
            boot: String::new(),
            command: Digest::of_bytes(b""),
            restarts: 0,
            started_at: None,
            exit: Some(Exit { code: None, at: Timestamp(0), oom: false }),
            cpu_millis: 0,
            memory_bytes: 0,
            user: None,
            groups: Vec::new(),
            labels: BTreeMap::new(),
            id,
        };
        Some(record)
    }
}

const FILE: &str = "instance.json";
