//! Where workloads run: the [`Platform`] trait, the driver for plain processes, and a scripted one for tests.
//!
//! A driver starts, stops, observes and asks the instances of a target's modules. Every write carries a
//! [`model::Fence`]; a driver never acts for an owner whose fence is lower than one already seen on the target, never
//! starts a second instance of the same (target, module, revision, slot), never gives an instance the engine's own
//! environment, and never prints a secret. It decides nothing: what should run is said by the agents.

#![warn(missing_docs)]

use std::time::Duration;

use async_trait::async_trait;
use model::{
    Fence, TargetId,
    spec::{Module, Probe},
};

mod durable;
mod error;
pub mod fence;
pub mod health;
mod instance;
mod order;
pub mod process;
#[cfg(feature = "scenarios")]
pub mod scenarios;
pub mod scripted;

pub use error::{Error, FenceRefused, Result};
pub use fence::{FenceStore, Fenced};
pub use health::Prober;
pub use instance::{Capacity, Instance, State, Unenforced};
pub use order::{ImageWords, StartOrder, contained, fill, instance_id};
pub use process::ProcessPlatform;
pub use scripted::ScriptedPlatform;

/// A place that runs instances. All methods may be called from several tasks and, with a shared state folder, from
/// several engine processes at once.
#[async_trait]
pub trait Platform: Fenced {
    /// The driver's name, as it stands in a target: `process`, `docker`, `scripted`.
    fn kind(&self) -> &'static str;

    /// What the place has, and what of it is not reserved by instances.
    async fn capacity(&self) -> Result<Capacity>;

    /// What of the modules' limits this place cannot enforce; whether it then refuses to start them is said with each.
    async fn unenforced(&self, _modules: &[Module]) -> Result<Vec<Unenforced>> {
        Ok(Vec::new())
    }

    /// Does what the place needs done every second, whether anybody looks at a target or not: puts back in place what
    /// instances need beside them and have lost. May be called side by side with everything.
    async fn tend(&self) -> Result<()> {
        Ok(())
    }

    /// The targets that have instances here and that were written to from this driver's state folder. A place that forgets
    /// with its process has none.
    async fn targets(&self) -> Result<Vec<TargetId>> {
        Ok(Vec::new())
    }

    /// Everything of the target that runs or has exited and was not stopped since; in order of id.
    async fn observe(&self, target: &TargetId) -> Result<Vec<Instance>>;

    /// Starts an instance. A running one of the same (target, module, revision, slot) is returned as it is; an
    /// exited one is started again with `restarts` one higher. Returns once the instance exists, not once it is well.
    async fn start(&self, order: &StartOrder) -> Result<Instance>;

    /// Ends an instance: asks it to end, waits `grace`, then kills it and everything it started. Afterwards it is no
    /// longer observed and its logs are gone. An instance that is not there is fine, however often.
    async fn stop(&self, target: &TargetId, instance: &str, fence: Fence, grace: Duration) -> Result<()>;

    /// The last `lines` lines the instance wrote to its standard output and error, at most 256 KiB.
    async fn logs(&self, target: &TargetId, instance: &str, lines: usize) -> Result<String>;

    /// Runs a command beside the instance, in its environment, and gives its exit status; [`Error::Timeout`] when it
    /// has not ended in time (it is then killed where the platform can: processes yes, Docker no). `{port}` and
    /// `{port:NAME}` are replaced. Not fenced: the command is a question, not a change.
    async fn exec(
        &self,
        target: &TargetId,
        instance: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<i32>;

    /// Asks an instance how it is; the outer error is trouble of the driver, the inner one says why it is not well.
    async fn probe(
        &self,
        target: &TargetId,
        instance: &Instance,
        probe: &Probe,
        timeout: Duration,
    ) -> Result<std::result::Result<(), String>> {
        health::probe(self, target, instance, probe, timeout).await
    }
}
