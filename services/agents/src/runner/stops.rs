//! Which steps run here, and which deployments' steps are to stop.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{
    DeploymentId, Fence, StepId,
    deployment::{StepJob, StepStop, StopKind},
};
use tokio::time::Instant;

use crate::context::Stop;

/// A stop is said again every second as long as it is needed; a late job is measured against it for so long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The steps that run here.
#[derive(Default)]
pub struct Stops(Mutex<State>);

#[derive(Default)]
struct State {
    running: HashMap<u64, Running>,
    next: u64,
    heard: Vec<(StepStop, Instant)>,
}

struct Running {
    deployment: DeploymentId,
    step: StepId,
    fence: Fence,
    stop: Stop,
}

impl Stops {
    /// A step runs from now on, until the guard is dropped. It may be told to stop at once.
    pub fn enter(&self, job: &StepJob) -> Entered<'_> {
        let mut state = self.state();
        state.heard.retain(|(_, at)| at.elapsed() < REMEMBERED);
        let running = Running {
            deployment: job.deployment.clone(),
            step: job.step.id.clone(),
            fence: job.fence,
            stop: Stop::default(),
        };
        for (said, _) in &state.heard {
            running.take(said);
        }
        let (number, stop) = (state.next, running.stop.clone());
        state.next += 1;
        state.running.insert(number, running);
        Entered { stops: self, number, stop }
    }

    /// A stop was said.
    pub fn hear(&self, said: StepStop) {
        let mut state = self.state();
        for running in state.running.values() {
            running.take(&said);
        }
        state.heard.retain(|(old, at)| at.elapsed() < REMEMBERED && *old != said);
        state.heard.push((said, Instant::now()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn take(&self, said: &StepStop) {
        if said.deployment != self.deployment || said.step.as_ref().is_some_and(|step| *step != self.step) {
            return;
        }
        match said.kind {
            StopKind::Cancel if self.fence < said.below => self.stop.cancel.cancel(),
            StopKind::Finish if self.fence <= said.below => self.stop.finish.cancel(),
            StopKind::Cancel | StopKind::Finish => {}
        }
    }
}

/// A step that runs.
pub struct Entered<'a> {
    stops: &'a Stops,
    number: u64,
    /// How it is told to end early.
    pub stop: Stop,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.stops.state().running.remove(&self.number);
    }
}
