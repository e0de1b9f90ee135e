//! Runs steps: at least once, with its effects at most once per fence, and told of to whoever asks.
//!
//! What is done with a step and in which order is in [`machine`]; here it is done: the journal on disk, the fences, the
//! agents. One loop owns the machine; everything that takes time goes on beside it and ends with what came of it.

pub mod journal;
pub mod machine;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, OptionFuture},
    stream::FuturesUnordered,
};
use model::{
    Code, Fault, Fence, Outcome, StepKind, TargetId,
    audit::{AuditOutcome, AuditRecord, UNTOLD},
    deployment::{StepAnswer, StepJob, StepQuestion, StepStop},
    step::StepResult,
};
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tracing::{error, info, warn};

use crate::{
    agents,
    context::{Ctx, Engine, Stop},
    error::Result,
    metrics::Counts,
};
use journal::Journal;
use machine::{Input, Key, Machine, Moment, Output};

/// How often a running step may show itself, and how soon first.
const SHOW: Duration = Duration::from_secs(1);
const SHOW_FIRST: Duration = Duration::from_millis(500);
/// How long a step that was told to stop may take to reach a safe point before it is dropped.
const STOPPING: Duration = Duration::from_secs(8);
/// What is told to the loop and not heard yet; more waits.
const TOLD: usize = 4096;

type Answered = oneshot::Sender<std::result::Result<Option<StepAnswer>, Fault>>;

/// What the loop is told.
enum Told {
    Offered(Box<StepJob>, Answered),
    Asked(StepQuestion, Answered),
    Sought(StepQuestion, Answered),
    Stop(StepStop),
    Leave(oneshot::Sender<()>),
}

/// The way to the loop that runs the steps of all lanes of one process. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    told: mpsc::Sender<Told>,
    engine: Arc<Engine>,
    journal: Journal,
}

impl Runner {
    /// A runner over this journal, and its loop, which has to run.
    pub fn new(engine: Arc<Engine>, journal: Journal, counts: Counts) -> (Runner, Running) {
        let (told, heard) = mpsc::channel(TOLD);
        let config = Arc::clone(&engine.config);
        let running = Running {
            machine: Machine::new(engine.runner.clone(), |agent| config.concurrency_of(agent)),
            work: Work { engine: engine.clone(), journal: journal.clone(), counts, spawned: false },
            heard,
            under_way: FuturesUnordered::new(),
            stops: BTreeMap::new(),
            askers: HashMap::new(),
            tickets: 0,
            began: Instant::now(),
            left: None,
        };
        (Runner { told, engine, journal }, running)
    }

    /// An owner hands a step over.
    ///
    /// # Errors
    /// [`Code::Overloaded`]: too many wait. [`Code::Unavailable`]: the runner leaves.
    pub async fn offer(&self, job: StepJob) -> std::result::Result<StepAnswer, Fault> {
        let answer = self.tell(|answer| Told::Offered(Box::new(job), answer)).await?;
        answer.ok_or_else(gone)
    }

    /// An owner asks how a step goes. Held until it ends or the question's hold is over.
    ///
    /// # Errors
    /// [`Code::Unavailable`]: the journal cannot be read, or the runner is gone.
    pub async fn ask(&self, question: StepQuestion) -> std::result::Result<StepAnswer, Fault> {
        let answer = self.tell(|answer| Told::Asked(question, answer)).await?;
        answer.ok_or_else(gone)
    }

    /// An owner asks who has a step; none: not this runner.
    pub async fn seek(&self, question: StepQuestion) -> Option<StepAnswer> {
        self.tell(|answer| Told::Sought(question, answer)).await.ok().flatten()
    }

    /// A stop was said.
    pub async fn stop(&self, stop: StepStop) {
        let _ = self.told.send(Told::Stop(stop)).await;
    }

    /// Takes nothing new; returns when what runs has ended and its end was fetched, or could have been.
    pub async fn leave(&self) {
        let (left, has_left) = oneshot::channel();
        if self.told.send(Told::Leave(left)).await.is_ok() {
            let _ = has_left.await;
        }
    }

    /// The highest fence that a step of this target was begun with here.
    pub async fn highest_fence(&self, target: &TargetId) -> Result<Fence> {
        self.journal.highest(target).await
    }

    /// Drops what can no longer be asked for.
    pub async fn tidy(&self) -> Result<()> {
        let dropped = self.journal.forget(self.engine.now(), self.engine.config.remember.0).await?;
        if dropped > 0 {
            info!(dropped, "old steps left the runner's journal");
        }
        Ok(())
    }

    async fn tell(
        &self,
        told: impl FnOnce(Answered) -> Told,
    ) -> std::result::Result<Option<StepAnswer>, Fault> {
        let (answer, answered) = oneshot::channel();
        self.told.send(told(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn gone() -> Fault {
    Fault::new(Code::Unavailable, "the runner has stopped")
}

/// The loop.
pub struct Running {
    machine: Machine,
    work: Work,
    heard: mpsc::Receiver<Told>,
    under_way: FuturesUnordered<BoxFuture<'static, Input>>,
    /// How the steps that work are told to end early.
    stops: BTreeMap<Key, Stop>,
    askers: HashMap<u64, Answered>,
    tickets: u64,
    began: Instant,
    left: Option<oneshot::Sender<()>>,
}

impl Running {
    /// Steps run in tasks of their own, so that one that computes holds up no other.
    pub fn side_by_side(mut self) -> Running {
        self.work.spawned = true;
        self
    }

    /// Runs until the runner has left. When it is dropped, so is everything that is under way, as a crash would.
    ///
    /// # Errors
    /// None.
    pub async fn run(mut self) -> Result<()> {
        loop {
            if self.machine.has_left()
                && let Some(left) = self.left.take()
            {
                let _ = left.send(());
                return Ok(());
            }
            let at = self.machine.wake().map(|at| self.began + at);
            let woken = OptionFuture::from(at.map(tokio::time::sleep_until));
            tokio::select! {
                Some(input) = self.under_way.next(), if !self.under_way.is_empty() => self.hear(input),
                told = self.heard.recv() => match told {
                    Some(told) => self.take(told),
                    None => return Ok(()),
                },
                Some(()) = woken => self.hear(Input::Woke),
            }
        }
    }

    fn now(&self) -> Moment {
        Moment { wall: self.work.engine.now(), mono: self.began.elapsed() }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Offered(job, answer) => {
                let ticket = self.ticket(answer);
                self.hear(Input::Offered(ticket, job));
            }
            Told::Asked(question, answer) => {
                let ticket = self.ticket(answer);
                self.hear(Input::Asked(ticket, question));
            }
            Told::Sought(question, answer) => {
                let ticket = self.ticket(answer);
                self.hear(Input::Sought(ticket, question));
            }
            Told::Stop(stop) => self.hear(Input::Stop(stop)),
            Told::Leave(left) => {
                self.left = Some(left);
                self.hear(Input::Leave);
            }
        }
    }

    fn ticket(&mut self, answer: Answered) -> u64 {
        self.tickets += 1;
        self.askers.insert(self.tickets, answer);
        self.tickets
    }

    fn hear(&mut self, input: Input) {
        if let Input::Worked(key, _) = &input {
            self.stops.remove(key);
        }
        for output in self.machine.hear(input, self.now()) {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        let work = self.work.clone();
        let doing = match output {
            Output::Answer(ticket, answer) => return self.answer(ticket, Ok(answer)),
            Output::Refuse(ticket, fault) => return self.answer(ticket, Err(fault)),
            Output::Untold(job, result) => return work.untold(&job, &result),
            Output::Cancel(key) => {
                return self.stops.get(&key).into_iter().for_each(|stop| stop.cancel.cancel());
            }
            Output::Finish(key) => {
                return self.stops.get(&key).into_iter().for_each(|stop| stop.finish.cancel());
            }
            Output::Read(key) => async move {
                let entries = work.journal.read(&key.idem_key).await;
                Input::Read(key, heard(entries))
            }
            .boxed(),
            Output::Look(ticket, key, who) => async move {
                let entries = work.journal.read(&key.idem_key).await;
                Input::Looked(ticket, key, who, heard(entries))
            }
            .boxed(),
            Output::Enter(key, job) => async move {
                let passed = heard(work.journal.enter(&job).await);
                if passed == Ok(false) {
                    info!(deployment = %job.deployment, step = %job.step.id, fence = %job.fence, "dropped a step whose time has passed");
                }
                Input::Entered(key, passed)
            }
            .boxed(),
            Output::Begin(key, job) => async move {
                let began = work.engine.now();
                Input::Begun(key, heard(work.journal.begin(&job, began).await))
            }
            .boxed(),
            Output::End(key, job, began, result) => async move {
                Input::Noted(key, heard(work.journal.end(&job, began, &result).await))
            }
            .boxed(),
            Output::Work { key, job, again } => {
                let stop = Stop::default();
                self.stops.insert(key.clone(), stop.clone());
                work.begin(key, job, again, stop)
            }
        };
        self.under_way.push(doing);
    }

    fn answer(&mut self, ticket: u64, answer: std::result::Result<Option<StepAnswer>, Fault>) {
        if let Some(asker) = self.askers.remove(&ticket) {
            // Whoever no longer waits asks again.
            let _ = asker.send(answer);
        }
    }
}

/// Trouble with the disk is said here; the machine only needs to know that there was some.
fn heard<T>(outcome: Result<T>) -> std::result::Result<T, ()> {
    outcome.map_err(|error| warn!(cause = chassis::chain(&error), "a step is given back to its owner"))
}

/// What it takes to do a step.
#[derive(Clone)]
struct Work {
    engine: Arc<Engine>,
    journal: Journal,
    counts: Counts,
    spawned: bool,
}

impl Work {
    /// For the record: another runner may have told another end of the same attempt.
    fn untold(&self, job: &StepJob, result: &StepResult) {
        let outcome = match result.outcome {
            Outcome::Succeeded => AuditOutcome::Done,
            Outcome::Inconclusive | Outcome::Errored | Outcome::Failed => AuditOutcome::Failed,
        };
        let (runner, about, now) = (self.engine.runner.as_str(), job.deployment.as_str(), self.engine.now());
        let fact = AuditRecord {
            reason: Some(result.reason.chars().take(500).collect()),
            detail: json!({ "step": job.step.id, "attempt": job.attempt, "fence": job.fence, "outcome": result.outcome }),
            ..AuditRecord::new(now, runner, UNTOLD, about, outcome)
        };
        if let Err(error) = self.engine.store.note(fact) {
            let (deployment, step) = (&job.deployment, &job.step.id);
            error!(%deployment, %step, cause = chassis::chain(&error), "how a step ended is not on record");
        }
    }

    fn begin(self, key: Key, job: Arc<StepJob>, again: bool, stop: Stop) -> BoxFuture<'static, Input> {
        let spawned = self.spawned;
        let lost = key.clone();
        let work = async move {
            let began = self.engine.now();
            let ctx = Ctx::new(Arc::clone(&self.engine), stop);
            let result = self.watch(&job, &ctx, again).await;
            match &result {
                Some(result) => {
                    self.counts.ended(job.step.agent, result.outcome, self.engine.now().since(began));
                }
                None => {
                    info!(deployment = %job.deployment, step = %job.step.id, "stopped a step that no longer matters");
                }
            }
            Input::Worked(key, result.map(Box::new))
        };
        if !spawned {
            return work.boxed();
        }
        let mut alone = JoinSet::new();
        alone.spawn(work);
        async move {
            alone.join_next().await.and_then(std::result::Result::ok).unwrap_or(Input::Worked(lost, None))
        }
        .boxed()
    }

    /// Runs the agent; none when the step was stopped or its time is over.
    async fn watch(&self, job: &StepJob, ctx: &Ctx, again: bool) -> Option<StepResult> {
        let work: BoxFuture<'_, Result<StepResult>> = Box::pin(agents::run(job, ctx, again));
        let work = AssertUnwindSafe(work).catch_unwind();
        let mut work = std::pin::pin!(work);
        let mut show = tokio::time::interval_at(Instant::now() + SHOW_FIRST, SHOW);
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
                _ = show.tick() => if let Some(progress) = ctx.take_shown() {
                    // Shown to people, never decided on: lost is lost.
                    let _ = self.engine.store.progress(&progress).await;
                },
            }
        }
    }
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
