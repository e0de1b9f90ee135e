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
//! by `RLIMIT_DATA` and the processor only by a lower priority (`nice`). Read-only volumes are not enforced. Exit
//! codes are known while the engine that started the instance lives; a later engine only sees that it ended.
//! Output goes to a file that is cut back to [`Settings::log_bytes`] whenever a target is observed and whenever
//! [`Platform::tend`] is called, which the agents do every second. So it is larger by what is written within a second;
//! while no engine runs it grows, and is cut as soon as one does.
//! Secrets stand in the process's environment, which the same user and root can read.

mod cgroup;
mod files;
mod launch;
mod ports;
mod proc;
mod record;
#[cfg(test)]
mod tests;
mod world;

use std::{ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use ground::{Clock, blocking};
use model::{Fence, TargetId};

use crate::{
    Capacity, Error, Instance, Platform, Result, StartOrder,
    fence::{FenceGuard, FenceStore},
};
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
    /// Bytes of output kept per instance, twice: current and previous. Default 10 MiB.
    pub log_bytes: u64,
    /// Try control groups for limits. Default true.
    pub control_groups: bool,
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
            log_bytes: 10 << 20,
            open_files: None,
            control_groups: true,
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

    /// Stops every instance of every target in this state folder, and says how many there were. For when no engine
    /// writes here any more; it takes each target's own highest fence, so it stays below any engine that comes later.
    pub async fn stop_all(&self, grace: Duration) -> Result<usize> {
        let world = Arc::clone(&self.world);
        let all = blocking(move || world.instances()).await??;
        for (target, instance) in &all {
            let highest = self.fences.enter(target).await?.highest()?;
            self.stop(target, instance, highest, grace).await?;
        }
        Ok(all.len())
    }

    /// Runs `work` where it may block. It goes on to its end, with the lock, even when the caller is dropped.
    async fn locked<T: Send + 'static>(
        &self,
        target: &TargetId,
        work: impl FnOnce(&World, &FenceGuard) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let guard = self.fences.enter(target).await?;
        let world = Arc::clone(&self.world);
        blocking(move || work(&world, &guard)).await?
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
impl Platform for ProcessPlatform {
    fn kind(&self) -> &'static str {
        "process"
    }

    async fn capacity(&self) -> Result<Capacity> {
        let world = Arc::clone(&self.world);
        blocking(move || world.capacity()).await?
    }

    async fn tend(&self) -> Result<()> {
        let world = Arc::clone(&self.world);
        blocking(move || world.bound_output()).await?
    }

    async fn observe(&self, target: &TargetId) -> Result<Vec<Instance>> {
        let asked = target.clone();
        self.locked(target, move |world, _| world.observe(&asked)).await
    }

    async fn highest_fence(&self, target: &TargetId) -> Result<Fence> {
        let asked = target.clone();
        self.locked(target, move |world, guard| Ok(guard.highest()?.max(world.highest_fence(&asked)?))).await
    }

    async fn start(&self, order: &StartOrder) -> Result<Instance> {
        order.check()?;
        let _instance = self.fences.hold_instance(&order.id()).await?;
        let own = order.clone();
        self.locked(&order.target, move |world, guard| {
            guard.raise(world.highest_fence(&own.target)?)?;
            guard.check(own.fence)?;
            world.start(&own)
        })
        .await
    }

    async fn stop(&self, target: &TargetId, instance: &str, fence: Fence, grace: Duration) -> Result<()> {
        let _instance = self.fences.hold_instance(instance).await?;
        let signal = |signal: Option<nix::sys::signal::Signal>| {
            let (target, id) = (target.clone(), instance.to_owned());
            move |world: &World, guard: &FenceGuard| {
                guard.raise(world.highest_fence(&target)?)?;
                guard.check(fence)?;
                match signal {
                    Some(signal) => world.signal(&target, &id, signal),
                    None => world.forget(&target, &id),
                }
            }
        };
        self.locked(target, signal(Some(nix::sys::signal::Signal::SIGTERM))).await?;
        if !self.gone(target, instance, grace).await? {
            self.locked(target, signal(Some(nix::sys::signal::Signal::SIGKILL))).await?;
            if !self.gone(target, instance, KILL_WAIT).await? {
                return Err(Error::Timeout {
                    what: format!("the end of killed instance {instance}"),
                    limit: KILL_WAIT,
                });
            }
        }
        self.locked(target, signal(None)).await
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
