//! Runs one step: at least once, with its effects at most once per fence, and reported whatever happens.
//!
//! The order makes a crash harmless at every point: *begun* is durable before the first effect, *ended* before the
//! report, the report before the acknowledgement. A redelivered job finds how far the first run came: ended is
//! reported again without effect; begun is run again by an agent that looks at what is before it acts.

pub mod journal;
pub mod stops;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use model::{
    Fault, Outcome, StepKind,
    deployment::{StepJob, StepReport, StepStop},
    step::StepResult,
};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{error, info, warn};

use crate::{
    agents,
    context::{Ctx, Engine},
    error::Result,
    metrics::Counts,
};
use journal::Journal;
use stops::Stops;

/// A step that takes longer is reported as started.
const SOON: Duration = Duration::from_millis(500);
/// How often a running step may show itself.
const SHOW: Duration = Duration::from_secs(1);
/// How long a step that was told to stop may take to reach a safe point before it is dropped.
const STOPPING: Duration = Duration::from_secs(8);

/// Runs the steps of all lanes of one process.
pub struct Runner {
    engine: Arc<Engine>,
    journal: Journal,
    stops: Stops,
    counts: Counts,
    /// One run of a step at a time in this process.
    busy: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Runner {
    /// A runner over this journal.
    pub fn new(engine: Arc<Engine>, journal: Journal, counts: Counts) -> Runner {
        Runner { engine, journal, stops: Stops::default(), counts, busy: Mutex::default() }
    }

    /// A job came. The error says that it must come again.
    pub async fn on_step(&self, job: StepJob) -> std::result::Result<(), Fault> {
        let busy = self.only_one(&job.idem_key);
        let _alone = busy.lock().await;
        self.run(&job).await.map_err(|error| {
            warn!(deployment = %job.deployment, step = %job.step.id, error = chassis::chain(&error), "the step's job comes again");
            error.into()
        })
    }

    /// A stop was said.
    pub fn on_stop(&self, stop: StepStop) {
        self.stops.hear(stop);
    }

    /// Drops what can no longer be asked for.
    pub async fn tidy(&self) -> Result<()> {
        let dropped = self.journal.forget(self.engine.now(), self.engine.config.remember.0).await?;
        if dropped > 0 {
            info!(dropped, "old steps left the runner's journal");
        }
        Ok(())
    }

    async fn run(&self, job: &StepJob) -> Result<()> {
        let keeps = is_kept(&job.step.kind);
        let entries = if keeps { self.journal.read(&job.idem_key).await? } else { Default::default() };
        if let Some(result) = entries.result(job) {
            return self.report(job, Some(result.clone())).await;
        }
        let began = self.engine.now();
        if began >= job.until {
            info!(deployment = %job.deployment, step = %job.step.id, until = %job.until, "dropped a step that is over");
            return Ok(());
        }
        let entered = self.stops.enter(job);
        if entered.stop.cancel.is_cancelled() {
            return Ok(());
        }
        if writes(&job.step.kind) && !self.journal.enter(job).await? {
            info!(deployment = %job.deployment, step = %job.step.id, fence = %job.fence, "dropped a step whose time has passed");
            return Ok(());
        }
        if keeps {
            self.journal.begin(job, began).await?;
        }
        let ctx = Ctx::new(Arc::clone(&self.engine), entered.stop.clone());
        let Some(result) = self.watch(job, &ctx, entries.is_open()).await else {
            info!(deployment = %job.deployment, step = %job.step.id, "stopped a step that no longer matters");
            return Ok(());
        };
        self.counts.ended(job.step.agent, result.outcome, self.engine.now().since(began));
        if keeps {
            self.journal.end(job, began, &result).await?;
        }
        self.report(job, Some(result)).await
    }

    /// Runs the agent; none when the step was stopped or its time is over.
    async fn watch(&self, job: &StepJob, ctx: &Ctx, again: bool) -> Option<StepResult> {
        let work: BoxFuture<'_, Result<StepResult>> = Box::pin(agents::run(job, ctx, again));
        let work = AssertUnwindSafe(work).catch_unwind();
        let mut work = std::pin::pin!(work);
        let mut started = std::pin::pin!(tokio::time::sleep(SOON));
        let mut said_started = false;
        let mut show = tokio::time::interval_at(Instant::now() + SOON, SHOW);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut over = std::pin::pin!(self.engine.clock.sleep_until(job.until));
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => return Some(match outcome {
                    Ok(Ok(result)) => trimmed(result),
                    Ok(Err(error)) => trimmed(error.into()),
                    Err(panic) => panicked(job, panic.as_ref()),
                }),
                () = ctx.stop.cancel.cancelled() => {
                    // A hook ends its processes; whatever else waits is dropped where it stands: every effect is
                    // fenced and begins with a look at what is.
                    if matches!(job.step.kind, StepKind::Hook { .. }) {
                        let _ = tokio::time::timeout(STOPPING, &mut work).await;
                    }
                    return None;
                }
                () = &mut over => return None,
                () = &mut started, if !said_started => {
                    said_started = true;
                    if let Err(error) = self.report(job, None).await {
                        warn!(step = %job.step.id, error = chassis::chain(&error), "could not say that the step started");
                    }
                }
                _ = show.tick() => if let Some(progress) = ctx.take_shown() {
                    // Shown to people, never decided on: lost is lost.
                    let _ = self.engine.store.progress(&progress).await;
                },
            }
        }
    }

    async fn report(&self, job: &StepJob, result: Option<StepResult>) -> Result<()> {
        let outcome = result.as_ref().map_or("started".to_owned(), |result| result.outcome.to_string());
        let message_id = format!("{}:{}:{}:{outcome}", job.idem_key, job.attempt, job.fence);
        let report = StepReport {
            deployment: job.deployment.clone(),
            step: job.step.id.clone(),
            attempt: job.attempt,
            fence: job.fence,
            runner: self.engine.runner.clone(),
            result,
        };
        self.engine.store.report(&report, &message_id).await
    }

    fn only_one(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = busy.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        busy.insert(key.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// The step changes what runs or where traffic goes; the others may work on under a fence that was passed.
fn writes(kind: &StepKind) -> bool {
    match kind {
        StepKind::Scale { .. }
        | StepKind::SetWeight { .. }
        | StepKind::RollBatch { .. }
        | StepKind::Hook { .. } => true,
        StepKind::Review
        | StepKind::Pause { .. }
        | StepKind::Analyse { .. }
        | StepKind::Smoke { .. }
        | StepKind::Validate
        | StepKind::Certify => false,
    }
}

/// A review touches nothing and ends at once: it is simply done again.
fn is_kept(kind: &StepKind) -> bool {
    !matches!(kind, StepKind::Review)
}

/// A result travels in one message: the worst findings first, no more than the journal takes.
fn trimmed(mut result: StepResult) -> StepResult {
    let found = result.findings.len();
    if found > model::limits::FINDINGS {
        result.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        result.findings.truncate(model::limits::FINDINGS);
        result.reason =
            format!("{} ({found} findings, the worst {} kept)", result.reason, model::limits::FINDINGS);
    }
    result
}

fn panicked(job: &StepJob, panic: &(dyn Any + Send)) -> StepResult {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    error!(deployment = %job.deployment, step = %job.step.id, panic = text, "an agent panicked");
    StepResult::new(Outcome::Errored, format!("a defect of the {} agent: {text}", job.step.agent))
}
