//! Where `codectl up` keeps its data, and how other commands find the engine it started.

pub mod log;
mod ports;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bus::Access;
use ground::{
    file,
    holder::{self, Held, began},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{cli::Global, failure::Failure};

pub use ports::{Ports, is_free};

/// How long a killed engine may take until it is gone.
pub const DYING: Duration = Duration::from_secs(3);
/// How often is looked whether it is.
const LOOK: Duration = Duration::from_millis(20);
/// With less than this free nothing can be written for long: 16 MiB.
const LEAST: u64 = 16 << 20;

/// The folder of one engine.
#[derive(Clone, Debug)]
pub struct Home(pub PathBuf);

/// What `codectl up` writes when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub pid: i32,
    /// When the process began, in clock ticks since the machine started: a number that was given to another process
    /// meanwhile is told apart by it.
    #[serde(default)]
    pub began: u64,
    /// Its NATS server.
    pub nats: String,
    /// Where `/ready` and `/metrics` are.
    pub health: String,
    /// What is found elsewhere than before, for people.
    #[serde(default)]
    pub moved: Vec<String>,
}

impl Home {
    /// The folder that was named, else `.code` in the user's home.
    pub fn of(global: &Global) -> Home {
        let user = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
        Home(global.home.clone().unwrap_or_else(|| user().join(".code")))
    }

    /// The keys of the users of its NATS server.
    pub fn access(&self) -> Access {
        Access::of(self.0.join("access"))
    }

    /// Has the NATS server of the engine here, if one runs, know whom the keys say.
    pub fn tell_server(&self) -> Result<(), Failure> {
        let failed = |error: bus::Error| Failure::other(chassis::chain(&error));
        let nats = self.nats();
        let users = self.access().users().map_err(failed)?;
        bus::access::write_configuration(&users, &bus::server::access_file(&nats)).map_err(failed)?;
        let running = servers_of(&nats.join("nats.conf"));
        running.into_iter().try_for_each(|pid| bus::server::reload(pid.as_raw()).map_err(failed))
    }

    /// Where its NATS server has its data.
    pub fn nats(&self) -> PathBuf {
        self.0.join("nats")
    }

    fn file(&self) -> PathBuf {
        self.0.join("engine.json")
    }

    /// What the last engine wrote; after a crash it is still there.
    pub fn last(&self) -> Option<Running> {
        serde_json::from_slice(&fs::read(self.file()).ok()?).ok()
    }

    /// The engine that runs here, if one does.
    pub fn running(&self) -> Option<Running> {
        self.last().filter(|running| began(running.pid) == Some(running.began))
    }

    /// The engine that runs here and still does after this time: one that was killed takes a moment to be gone.
    pub async fn running_for(&self, time: Duration) -> Option<Running> {
        let until = Instant::now() + time;
        loop {
            let running = self.running()?;
            if Instant::now() >= until {
                return Some(running);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The process of the engine that runs or starts here, and when it began: as announced, else as signed in the lock.
    pub fn process(&self) -> Option<(i32, u64)> {
        if let Some(running) = self.running() {
            return Some((running.pid, running.began));
        }
        holder::holder(&self.lock_file()).map(|who| (who.pid, who.began))
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("engine.lock")
    }

    /// Says that an engine runs here.
    pub fn announce(&self, running: &Running) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::other(format!("writing {}: {error}", self.file().display()));
        let mut text =
            serde_json::to_vec_pretty(running).map_err(|error| Failure::other(error.to_string()))?;
        text.push(b'\n');
        file::replace(&self.file(), &text, file::Access::Everyone).map(drop).map_err(failed)
    }

    /// Says that none does any more.
    pub fn withdraw(&self) {
        let _ = fs::remove_file(self.file());
    }

    /// Keeps every other engine out of this folder for as long as the lock lives, also one that starts at the same
    /// moment. The kernel lets go of it when the process ends, however it ends.
    pub fn lock(&self) -> Result<Held, Failure> {
        let place = self.lock_file();
        let held = holder::hold(&place)
            .map_err(|error| Failure::other(format!("making {}: {error}", place.display())))?;
        held.ok_or_else(|| {
            Failure::other(format!(
                "another engine runs or starts in {}; stop it with codectl down",
                self.0.display()
            ))
        })
    }

    /// The lock, within a time in which an engine that was killed is gone.
    pub async fn lock_within(&self, time: Duration) -> Result<Held, Failure> {
        let until = Instant::now() + time;
        loop {
            match self.lock() {
                Err(_) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                outcome => return outcome,
            }
        }
    }

    /// Ends a NATS server that an engine left behind when it was killed: two servers on the same data would ruin it.
    /// Returns when none is left, or an error after 10 s.
    pub async fn end_orphans(&self) -> Result<(), Failure> {
        let conf = self.nats().join("nats.conf");
        for attempt in 0..200 {
            let orphans = servers_of(&conf);
            if orphans.is_empty() {
                return Ok(());
            }
            let signal = if attempt < 100 { Signal::SIGTERM } else { Signal::SIGKILL };
            if attempt % 100 == 0 {
                for pid in orphans {
                    // One that is gone already is as good.
                    let _ = kill(pid, signal);
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Err(Failure::other(format!(
            "a nats-server of a killed engine does not end: processes {:?}",
            servers_of(&conf).iter().map(|pid| pid.as_raw()).collect::<Vec<_>>()
        )))
    }
}

/// Bytes that are free on the disk of a folder, or of what is above it as long as it is not there.
pub fn room(folder: &Path) -> io::Result<u64> {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let disk = nix::sys::statvfs::statvfs(there)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

/// What an engine needs on the disk of its home, in bytes: a new one what its streams reserve, of which NATS gives three
/// quarters of what is free; one that is there already enough to write on with.
pub fn needs(home: &Path, limits: &bus::StreamLimits) -> u64 {
    if home.join("nats/data/jetstream").exists() { LEAST } else { limits.reserved() / 3 * 4 + LEAST }
}

/// Refuses a disk on which the engine could not start or write.
pub fn check_room(home: &Path, limits: &bus::StreamLimits) -> Result<(), Failure> {
    let failed = |error| Failure::other(format!("looking at the disk of {}: {error}", home.display()));
    let (free, needed) = (room(home).map_err(failed)?, needs(home, limits));
    if free >= needed {
        return Ok(());
    }
    Err(Failure::other(format!(
        "the disk of {} has {} MiB free, the engine needs {} MiB\n  make room, take another --home, or reserve less \
         with nats_limits below [common] in --config",
        home.display(),
        free >> 20,
        needed >> 20
    )))
}

/// A failure that names the disk too when next to nothing is free on it: whatever failed there did so for want of room.
pub fn with_room(home: &Path, failure: Failure) -> Failure {
    match room(home) {
        Ok(free) if free < LEAST => Failure {
            text: format!(
                "{}\n  the disk of {} has {} MiB free: make room",
                failure.text,
                home.display(),
                free >> 20
            ),
            ..failure
        },
        _ => failure,
    }
}

/// The processes `nats-server -c <conf>`.
fn servers_of(conf: &Path) -> Vec<Pid> {
    let Ok(conf) = conf.canonicalize() else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| serves(*pid, &conf)).map(Pid::from_raw).collect()
}

fn serves(pid: i32, conf: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into()).collect();
    let Some((program, arguments)) = words.split_first() else { return false };
    let folder = PathBuf::from(format!("/proc/{pid}/cwd"));
    program.ends_with("nats-server")
        && began(pid).is_some()
        && arguments.iter().any(|word| {
            word.ends_with("nats.conf") && folder.join(word).canonicalize().is_ok_and(|place| place == conf)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_number_that_was_given_away_is_no_engine() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let me = std::process::id() as i32;
        let mut running = Running {
            pid: me,
            began: began(me).unwrap(),
            nats: String::new(),
            health: String::new(),
            moved: Vec::new(),
        };

        home.announce(&running).unwrap();
        assert!(home.running().is_some());
        running.began -= 1;
        home.announce(&running).unwrap();
        assert!(home.running().is_none());
        assert!(home.last().is_some());
    }

    #[test]
    fn of_two_engines_in_one_folder_one_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());

        let first = home.lock();
        assert!(first.is_ok());
        assert!(home.lock().is_err());
        drop(first);
        assert!(home.lock().is_ok());
    }
}
