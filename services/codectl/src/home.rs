//! Where `codectl up` keeps its data, and how other commands find the engine it started.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{cli::Global, failure::Failure};

/// The folder of one engine.
#[derive(Clone, Debug)]
pub struct Home(pub PathBuf);

/// What `codectl up` writes when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub pid: i32,
    /// Its NATS server.
    pub nats: String,
    /// Where `/ready` and `/metrics` are.
    pub health: String,
}

impl Home {
    /// The folder that was named, else `.code` in the user's home.
    pub fn of(global: &Global) -> Home {
        let user = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
        Home(global.home.clone().unwrap_or_else(|| user().join(".code")))
    }

    fn file(&self) -> PathBuf {
        self.0.join("engine.json")
    }

    /// The engine that runs here, if one does.
    pub fn running(&self) -> Option<Running> {
        let running: Running = serde_json::from_slice(&fs::read(self.file()).ok()?).ok()?;
        let alive = nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid), None).is_ok();
        alive.then_some(running)
    }

    /// Says that an engine runs here.
    pub fn announce(&self, running: &Running) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::other(format!("writing {}: {error}", self.file().display()));
        let text = serde_json::to_vec_pretty(running).map_err(|error| Failure::other(error.to_string()))?;
        let draft = self.0.join("engine.json.new");
        fs::write(&draft, text).map_err(failed)?;
        fs::rename(&draft, self.file()).map_err(failed)
    }

    /// Says that none does any more.
    pub fn withdraw(&self) {
        let _ = fs::remove_file(self.file());
    }
}
