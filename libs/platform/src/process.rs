//! The driver for plain processes on this machine.
//!
//! An instance is a process group (a session of its own where `setsid` is installed) that survives the engine and is
//! found again by any engine with the same state folder. How no crash leads to a second one:
//!
//! 1. the intent (ports, no pid) is written to the instance's state file;
//! 2. a gate, `/bin/sh` waiting on a pipe, is started; it becomes the program only after a line arrives on the pipe;
//! 3. pid and start time are written to the state file; 4. the line is sent.
//!
//! A crash before 4 closes the pipe and the gate ends without ever having been the program; a crash after 3 is found
//! in the state file. Should both fail, `/proc/*/environ` is searched for the instance's name before a start.
//!
//! Limits: memory and processor by a control group when one can be made (cgroup v1, or v2 where delegated); else memory
//! by `RLIMIT_DATA`, and of the processor [`Settings::missing`] says what is done: the instance is started, and
//! [`Platform::unenforced`] names the limit, or it is refused. Read-only volumes are not enforced. Exit
//! codes are known while the engine that started the instance lives; a later engine only sees that it ended.
//! Output goes through a pipe to a process that keeps the end of it, at most [`Settings::log_bytes`], whether an engine
//! runs or not ([`sandbox::output`]). When that process is killed the instance goes on, until the pipe is full;
//! [`Platform::tend`], which the agents call every second, sees that and starts another.
//! Secrets stand in the process's environment, which the same user and root can read.

mod files;
mod ports;
mod proc;
mod record;
#[cfg(test)]
mod tests;
mod world;

use std::{ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use ground::{Clock, blocking};
use model::{Fence, TargetId, spec::Module};

use crate::{
    Capacity, Error, Instance, Platform, Result, StartOrder, Unenforced,
    fence::{FenceStore, Fenced},
};
use sandbox::{Missing, launch};
use world::World;

/// How the driver is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where state, logs, configuration files and fences are kept. One folder is one world: engines that share it
    /// see each other's instances.
    pub state_dir: PathBuf,
    /// Where named volumes are kept. Default `volumes` in the state folder.
    pub volumes_root: Option<PathBuf>,
    /// Host folders may be named as volumes only below this one. Default none: every host folder is refused.
    pub host_root: Option<PathBuf>,
    /// Instances get ports from here. Default 20000 to 29999: below the range the kernel takes outgoing ports from,
    /// so that a port chosen now is still free when the program binds it.
    pub ports: RangeInclusive<u16>,
    /// `PATH` of the instances, unless their module sets another.
    pub path: String,
    /// The most bytes of output that are on the disk per instance, in two files: when the newer has half of them, the older
    /// goes. Default 20 MiB.
    pub log_bytes: u64,
    /// Try control groups for limits. Default true.
    pub control_groups: bool,
    /// What is done about a limit that cannot be enforced here. Default: it is named by [`Platform::unenforced`].
    pub missing: Missing,
    /// Files an instance may have open at a time unless it asks for more (the soft limit). Default none: as the engine.
    pub open_files: Option<u64>,
    /// Tells the time.
    pub clock: Clock,
}

impl Settings {
    /// The defaults, with this state folder.
    pub fn new(state_dir: impl Into<PathBuf>) -> Settings {
        Settings {
            state_dir: state_dir.into(),
            volumes_root: None,
            host_root: None,
            ports: 20_000..=29_999,
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            log_bytes: 20 << 20,
            open_files: None,
            control_groups: true,
            missing: Missing::default(),
            clock: Clock::system(),
        }
    }
}

/// How often a process that was asked to end is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a killed process group may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// The most that is given back of a log.
pub(crate) const LOG_TAIL_BYTES: u64 = 256 * 1024;

/// The process driver.
#[derive(Clone)]
pub struct ProcessPlatform {
    world: Arc<World>,
    fences: Arc<FenceStore>,
}

impl ProcessPlatform {
    /// Opens a state folder, making it when it is not there. Nothing is started or stopped by this.
    pub fn new(settings: Settings) -> Result<ProcessPlatform> {
        let world = World::open(settings)?;
        let fences = FenceStore::open(world.state_dir().join("fences"))?;
        Ok(ProcessPlatform { world: Arc::new(world), fences: Arc::new(fences) })
    }

    /// Writes to the target where that may block. It goes on to its end, with the lock, even when the caller is dropped.
    async fn write<T: Send + 'static>(
        &self,
        target: &TargetId,
        fence: Fence,
        work: impl FnOnce(&World) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let guard = self.admit(target, fence).await?;
        let world = Arc::clone(&self.world);
        let write = move || {
            let written = work(&world);
            drop(guard);
            written
        };
        blocking(write).await?
    }

    /// Polls under no lock until nothing of the instance runs; false when the time is over.
    async fn gone(&self, target: &TargetId, instance: &str, within: Duration) -> Result<bool> {
        let until = tokio::time::Instant::now() + within;
        loop {
            let (world, target, id) = (Arc::clone(&self.world), target.clone(), instance.to_owned());
            if blocking(move || world.is_gone(&target, &id)).await?? {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[async_trait]
impl Fenced for ProcessPlatform {
    fn fences(&self) -> &FenceStore {
        &self.fences
    }

    async fn found(&self, target: &TargetId) -> Result<Fence> {
        let (world, target) = (Arc::clone(&self.world), target.clone());
        blocking(move || world.highest_fence(&target)).await?
    }
}

#[async_trait]
impl Platform for ProcessPlatform {
    fn kind(&self) -> &'static str {
        "process"
    }

    async fn capacity(&self) -> Result<Capacity> {
        let world = Arc::clone(&self.world);
        blocking(move || world.capacity()).await?
    }

    async fn targets(&self) -> Result<Vec<TargetId>> {
        let world = Arc::clone(&self.world);
        blocking(move || world.targets()).await?
    }

    async fn unenforced(&self, modules: &[Module]) -> Result<Vec<Unenforced>> {
        let (world, modules) = (Arc::clone(&self.world), modules.to_vec());
        blocking(move || Ok(world.unenforced(&modules))).await?
    }

    async fn tend(&self) -> Result<()> {
        let world = Arc::clone(&self.world);
        blocking(move || world.keep_output()).await?
    }

    async fn observe(&self, target: &TargetId) -> Result<Vec<Instance>> {
        let guard = self.fences.enter(target).await?;
        let (world, target) = (Arc::clone(&self.world), target.clone());
        let look = move || {
            let observed = world.observe(&target);
            drop(guard);
            observed
        };
        blocking(look).await?
    }

    async fn start(&self, order: &StartOrder) -> Result<Instance> {
        order.check()?;
        let _instance = self.fences.hold_instance(&order.id()).await?;
        let own = order.clone();
        self.write(&order.target, order.fence, move |world| world.start(&own)).await
    }

    async fn stop(&self, target: &TargetId, instance: &str, fence: Fence, grace: Duration) -> Result<()> {
        let _instance = self.fences.hold_instance(instance).await?;
        let signal = |signal: Option<nix::sys::signal::Signal>| {
            let (target, id) = (target.clone(), instance.to_owned());
            move |world: &World| match signal {
                Some(signal) => world.signal(&target, &id, signal),
                None => world.forget(&target, &id),
            }
        };
        self.write(target, fence, signal(Some(nix::sys::signal::Signal::SIGTERM))).await?;
        if !self.gone(target, instance, grace).await? {
            self.write(target, fence, signal(Some(nix::sys::signal::Signal::SIGKILL))).await?;
            if !self.gone(target, instance, KILL_WAIT).await? {
                return Err(Error::Timeout {
                    what: format!("the end of killed instance {instance}"),
                    limit: KILL_WAIT,
                });
            }
        }
        self.write(target, fence, signal(None)).await
    }

    async fn logs(&self, target: &TargetId, instance: &str, lines: usize) -> Result<String> {
        let (world, target, id) = (Arc::clone(&self.world), target.clone(), instance.to_owned());
        blocking(move || world.logs(&target, &id, lines)).await?
    }

    async fn exec(
        &self,
        target: &TargetId,
        instance: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<i32> {
        let (world, target, id) = (Arc::clone(&self.world), target.clone(), instance.to_owned());
        let words = command.to_vec();
        let mut prepared = blocking(move || world.exec(&target, &id, &words)).await??;
        let what = || format!("command {} in instance {instance}", command.join(" "));
        prepared.kill_on_drop(true);
        let mut child = prepared.spawn().map_err(|source| Error::System { what: what(), source })?;
        match tokio::time::timeout(timeout, child.wait()).await {
            Ok(Ok(status)) => Ok(launch::status_code(status)),
            Ok(Err(source)) => Err(Error::System { what: what(), source }),
            Err(_) => {
                launch::kill_group(child.id());
                Err(Error::Timeout { what: what(), limit: timeout })
            }
        }
    }
}
