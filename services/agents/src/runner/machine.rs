//! What a runner does with the steps that are handed to it, without I/O: questions, times and the outcomes of what it
//! asked for go in, what is to be done comes out. The shell in [`super`] does it; the simulation in `tests/` drives this
//! very code with every fault it can think of.
//!
//! A step runs at least once, with its effects at most once per fence. The order makes a crash harmless at every point:
//! *begun* is durable before the first effect, *ended* before anyone is told. A step that is handed over again finds how
//! far the first run came: one that runs is joined, one that ended is only told of, one that was begun by a runner that
//! died is run again by an agent that looks at what is before it acts.
//!
//! Memory is bounded: a lane takes [`WAITING`] steps beyond those that run, and what ended is kept for [`KEPT`]; after that
//! the journal on disk knows it.

mod stops;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use model::{
    Code, Fault, Fence, StepKind, Timestamp,
    deployment::{StepAnswer, StepJob, StepQuestion, StepState, StepStop},
    step::{Agent, StepResult},
};

use super::journal::Entries;
use stops::Stops;

/// Steps of a lane that wait for their turn; more are refused.
pub const WAITING: usize = 1024;
/// A step that ends so soon is told of by the answer to whoever handed it over.
pub const SOON: Duration = Duration::from_millis(50);
/// No question is held longer.
const LONGEST: Duration = Duration::from_secs(10);
/// How long the end of a step is remembered here; longer than an owner is silent.
const KEPT: Duration = Duration::from_secs(60);
/// A runner that leaves waits so long for its last results to be fetched.
const FETCHED: Duration = Duration::from_secs(5);

/// One attempt under one fence: after a retried way back the first attempt comes again under a higher fence and is
/// another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The key that all attempts of a step share.
    pub idem_key: String,
    /// Which attempt.
    pub attempt: u32,
    /// Under which fence.
    pub fence: Fence,
}

impl Key {
    /// Of what is handed over.
    pub fn of(job: &StepJob) -> Key {
        Key { idem_key: job.idem_key.clone(), attempt: job.attempt, fence: job.fence }
    }

    /// Of what is asked about.
    pub fn asked(question: &StepQuestion) -> Key {
        Key { idem_key: question.idem_key.clone(), attempt: question.attempt, fence: question.fence }
    }
}

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// What the clock shows.
    pub wall: Timestamp,
    /// Time that only passes.
    pub mono: Duration,
}

/// What happens to a runner. Trouble with the disk is an `Err(())`: then the step is as if it had never been taken.
#[derive(Clone, Debug)]
pub enum Input {
    /// An owner hands a step over.
    Offered(u64, Box<StepJob>),
    /// An owner asks how a step goes that this runner has.
    Asked(u64, StepQuestion),
    /// An owner asks all runners who has a step.
    Sought(u64, StepQuestion),
    /// Steps no longer matter, or are to finish.
    Stop(StepStop),
    /// What came of [`Output::Read`].
    Read(Key, Result<Entries, ()>),
    /// What came of [`Output::Enter`]: whether the fence was passed.
    Entered(Key, Result<bool, ()>),
    /// What came of [`Output::Begin`].
    Begun(Key, Result<(), ()>),
    /// What came of [`Output::Work`]; none when it was stopped or its time is over.
    Worked(Key, Option<Box<StepResult>>),
    /// What came of [`Output::End`].
    Noted(Key, Result<(), ()>),
    /// What came of [`Output::Look`], with what it said.
    Looked(u64, Key, Who, Result<Entries, ()>),
    /// Time passed.
    Woke,
    /// Nothing new is taken from now on.
    Leave,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Answer whoever asked under this ticket; none: say nothing.
    Answer(u64, Option<StepAnswer>),
    /// Refuse what was handed over under this ticket.
    Refuse(u64, Fault),
    /// Read what the disk knows of the step.
    Read(Key),
    /// Raise the target's fence to the step's, durably, or find that a higher one was seen.
    Enter(Key, Arc<StepJob>),
    /// Note durably that it begins.
    Begin(Key, Arc<StepJob>),
    /// Have its agent do it; `again`: an earlier run was begun and did not end.
    Work {
        /// Which.
        key: Key,
        /// What.
        job: Arc<StepJob>,
        /// An earlier run was begun and did not end.
        again: bool,
    },
    /// Stop it at the next safe point.
    Cancel(Key),
    /// Have it judge what is there.
    Finish(Key),
    /// Say for the record how it ended: nobody fetched it, so no journal of a deployment has it.
    Untold(Arc<StepJob>, Box<StepResult>),
    /// Note durably how it ended; it began then.
    End(Key, Arc<StepJob>, Timestamp, Box<StepResult>),
    /// Read what the disk knows of a step that is not here; all of it comes back in [`Input::Looked`].
    Look(u64, Key, Who),
}

/// Who a question was put to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// This runner, by its name: it has to answer.
    One,
    /// All runners: who knows nothing says nothing.
    All,
}

/// A piece of our own safety that is left out, so that the simulation shows that it would notice. Nothing but the
/// simulation makes one: `tests/it/house.rs` sees to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The fence is not raised when a step begins.
    LazyFence,
    /// A step is told to have succeeded before it is begun.
    AnswerBeforeEffect,
    /// A step that is handed over while it runs is run a second time beside it.
    RunTwice,
    /// The end of one attempt is taken for that of every other.
    ForgetAttempt,
    /// A stop also ends the steps that said it.
    StopTooMuch,
    /// What was begun and not ended is taken for ended well.
    TrustBegun,
}

enum Stage {
    Waits,
    Reads,
    Enters,
    Begins,
    Works,
    Ends(Box<StepResult>),
    Ended { result: Box<StepResult>, at: Duration, told: bool },
}

struct Task {
    job: Arc<StepJob>,
    stage: Stage,
    again: bool,
    began: Timestamp,
    /// Who waits for an answer, and until when.
    asked: Vec<(u64, Duration)>,
}

impl Task {
    fn runs(&self) -> bool {
        !matches!(self.stage, Stage::Waits | Stage::Ended { .. })
    }
}

#[derive(Default)]
struct Lane {
    at_once: usize,
    running: usize,
    waiting: VecDeque<Key>,
}

/// The steps of one runner.
pub struct Machine {
    name: String,
    lanes: BTreeMap<Agent, Lane>,
    tasks: BTreeMap<Key, Task>,
    stops: Stops,
    leaving: bool,
    bug: Option<Bug>,
}

impl Machine {
    /// A runner of this name, with the number of steps that an agent's lane runs at once.
    pub fn new(name: impl Into<String>, at_once: impl Fn(Agent) -> usize) -> Machine {
        let lane = |agent| (agent, Lane { at_once: at_once(agent).max(1), ..Lane::default() });
        Machine {
            name: name.into(),
            lanes: Agent::ALL.into_iter().map(lane).collect(),
            tasks: BTreeMap::new(),
            stops: Stops::default(),
            leaving: false,
            bug: None,
        }
    }

    /// Leaves out a piece of safety; for the simulation alone.
    #[doc(hidden)]
    pub fn planted(mut self, bug: Option<Bug>) -> Machine {
        self.bug = bug;
        self
    }

    /// Takes in what happened; gives what is to be done.
    pub fn hear(&mut self, input: Input, now: Moment) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Offered(ticket, job) => self.offered(ticket, job, now, &mut out),
            Input::Asked(ticket, question) => self.asked(ticket, question, now, &mut out),
            Input::Sought(ticket, question) => {
                let key = Key::asked(&question);
                match self.state(&key) {
                    Some(state) => out.push(self.answer(ticket, state)),
                    None => out.push(Output::Look(ticket, key, Who::All)),
                }
            }
            Input::Looked(ticket, key, who, entries) => {
                let answer = self.looked(ticket, &key, who, entries);
                out.push(answer);
            }
            Input::Stop(stop) => self.stop(stop, now, &mut out),
            Input::Read(key, entries) => self.read(key, entries, now, &mut out),
            Input::Entered(key, Ok(true)) => self.begin(key, &mut out),
            Input::Entered(key, Ok(false)) => self.leave(&key, StepState::Dropped, &mut out),
            Input::Begun(key, Ok(())) => self.work(key, &mut out),
            Input::Worked(key, Some(result)) => self.worked(key, result, now, &mut out),
            Input::Worked(key, None) => self.leave(&key, StepState::Dropped, &mut out),
            Input::Noted(key, Ok(())) => self.ended(&key, now, &mut out),
            Input::Entered(key, Err(())) | Input::Begun(key, Err(())) | Input::Noted(key, Err(())) => {
                self.leave(&key, StepState::Unknown, &mut out);
            }
            Input::Woke => {}
            Input::Leave => self.leave_all(&mut out),
        }
        self.tell_who_waited(now, &mut out);
        self.start_what_can(now, &mut out);
        out
    }

    /// When [`Input::Woke`] is due.
    pub fn wake(&self) -> Option<Duration> {
        let asked = self.tasks.values().flat_map(|task| &task.asked).map(|(_, until)| *until);
        let ended = self.tasks.values().filter_map(|task| match task.stage {
            Stage::Ended { at, .. } => Some(at + if self.leaving { FETCHED } else { KEPT }),
            _ => None,
        });
        asked.chain(ended).min()
    }

    /// It leaves, nothing runs any more, and what ended was told or nobody fetched it in time.
    pub fn has_left(&self) -> bool {
        let over = |task: &Task| matches!(task.stage, Stage::Ended { told: true, .. });
        self.leaving && self.tasks.values().all(over)
    }

    fn answer(&self, ticket: u64, state: StepState) -> Output {
        Output::Answer(ticket, Some(StepAnswer { runner: self.name.clone(), state }))
    }

    fn state(&mut self, key: &Key) -> Option<StepState> {
        match &mut self.tasks.get_mut(key)?.stage {
            Stage::Ended { result, told, .. } => {
                *told = true;
                Some(StepState::Ended(result.clone()))
            }
            _ => Some(StepState::Running),
        }
    }

    fn offered(&mut self, ticket: u64, job: Box<StepJob>, now: Moment, out: &mut Vec<Output>) {
        let key = Key::of(&job);
        if let Some(task) = self.tasks.get(&key) {
            if self.bug == Some(Bug::RunTwice) && matches!(task.stage, Stage::Works) {
                out.push(Output::Work { key: key.clone(), job: task.job.clone(), again: true });
            }
            return self.hold(ticket, &key, SOON, now, out);
        }
        if self.leaving {
            let text = format!("{} leaves and takes no steps", self.name);
            return out.push(Output::Refuse(ticket, Fault::new(Code::Unavailable, text)));
        }
        let lane = self.lanes.entry(job.step.agent).or_default();
        if lane.waiting.len() >= WAITING {
            let text = format!("{WAITING} steps of the {} wait already, no more are taken", job.step.agent);
            return out.push(Output::Refuse(ticket, Fault::new(Code::Overloaded, text)));
        }
        lane.waiting.push_back(key.clone());
        let (job, began) = (Arc::new(*job), now.wall);
        let asked = vec![(ticket, now.mono + SOON)];
        self.tasks.insert(key, Task { job, stage: Stage::Waits, again: false, began, asked });
    }

    fn asked(&mut self, ticket: u64, question: StepQuestion, now: Moment, out: &mut Vec<Output>) {
        let key = Key::asked(&question);
        if self.tasks.contains_key(&key) {
            self.hold(ticket, &key, question.hold.0.min(LONGEST), now, out);
        } else {
            out.push(Output::Look(ticket, key, Who::One));
        }
    }

    fn hold(&mut self, ticket: u64, key: &Key, hold: Duration, now: Moment, out: &mut Vec<Output>) {
        match self.state(key) {
            Some(StepState::Running) => {
                if let Some(task) = self.tasks.get_mut(key) {
                    task.asked.push((ticket, now.mono + hold));
                }
            }
            state => out.push(self.answer(ticket, state.unwrap_or(StepState::Unknown))),
        }
    }

    /// Of a question about a step that was not here.
    fn looked(&mut self, ticket: u64, key: &Key, who: Who, entries: Result<Entries, ()>) -> Output {
        // It may have been handed over while the disk was read.
        let state = self.state(key).or_else(|| {
            let result = self.result(key, entries.as_ref().ok()?)?;
            Some(StepState::Ended(Box::new(result)))
        });
        match (state, who) {
            (Some(state), _) => self.answer(ticket, state),
            (None, Who::All) => Output::Answer(ticket, None),
            (None, Who::One) if entries.is_err() => {
                let text = format!("the journal of {} cannot be read now", self.name);
                Output::Refuse(ticket, Fault::new(Code::Unavailable, text))
            }
            (None, Who::One) => self.answer(ticket, StepState::Unknown),
        }
    }

    fn result(&self, key: &Key, entries: &Entries) -> Option<StepResult> {
        match self.bug {
            Some(Bug::ForgetAttempt) => entries.any_end().cloned(),
            Some(Bug::TrustBegun) if entries.is_open() => {
                Some(StepResult::new(model::Outcome::Succeeded, "begun"))
            }
            _ => entries.result(key.attempt, key.fence).cloned(),
        }
    }

    fn stop(&mut self, stop: StepStop, now: Moment, out: &mut Vec<Output>) {
        let too_much = self.bug == Some(Bug::StopTooMuch);
        let concerned = self.tasks.iter().filter(|(_, task)| task.runs());
        let orders = concerned
            .filter_map(|(key, task)| stops::order(&stop, &task.job, too_much).map(|order| (key, order)));
        out.extend(orders.map(|(key, order)| match order {
            stops::Order::Cancel => Output::Cancel(key.clone()),
            stops::Order::Finish => Output::Finish(key.clone()),
        }));
        self.stops.hear(stop, now.mono);
    }

    fn start_what_can(&mut self, now: Moment, out: &mut Vec<Output>) {
        for agent in Agent::ALL {
            while let Some(key) = self.next_of(agent) {
                self.start(key, now, out);
            }
        }
    }

    /// The first that waits and whose step does not run already, when there is room. It leaves the queue.
    fn next_of(&mut self, agent: Agent) -> Option<Key> {
        let lane = self.lanes.get_mut(&agent)?;
        if lane.running >= lane.at_once {
            return None;
        }
        let busy = |key: &Key| {
            let mut others =
                self.tasks.range(first_of(key)..).take_while(|(other, _)| other.idem_key == key.idem_key);
            others.any(|(_, task)| task.runs())
        };
        let place = lane.waiting.iter().position(|key| !busy(key))?;
        lane.waiting.remove(place)
    }

    fn start(&mut self, key: Key, now: Moment, out: &mut Vec<Output>) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(lane) = self.lanes.get_mut(&task.job.step.agent) {
            lane.running += 1;
        }
        task.stage = Stage::Reads;
        task.began = now.wall;
        if self.bug == Some(Bug::AnswerBeforeEffect) && writes(&task.job.step.kind) {
            let done = StepState::Ended(Box::new(StepResult::new(model::Outcome::Succeeded, "done")));
            let asked = std::mem::take(&mut task.asked);
            out.extend(asked.into_iter().map(|(ticket, _)| self.answer(ticket, done.clone())));
        }
        if self.tasks.get(&key).is_some_and(|task| is_kept(&task.job.step.kind)) {
            out.push(Output::Read(key));
        } else {
            self.read(key, Ok(Entries::default()), now, out);
        }
    }

    fn read(&mut self, key: Key, entries: Result<Entries, ()>, now: Moment, out: &mut Vec<Output>) {
        let Ok(entries) = entries else { return self.leave(&key, StepState::Unknown, out) };
        let found = self.result(&key, &entries);
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(result) = found {
            task.stage = Stage::Ends(Box::new(result));
            return self.ended(&key, now, out);
        }
        task.again = entries.is_open();
        let too_much = self.bug == Some(Bug::StopTooMuch);
        if now.wall >= task.job.until || self.stops.cancels(&task.job, now.mono, too_much) {
            return self.leave(&key, StepState::Dropped, out);
        }
        if writes(&task.job.step.kind) && self.bug != Some(Bug::LazyFence) {
            task.stage = Stage::Enters;
            out.push(Output::Enter(key, task.job.clone()));
        } else {
            self.begin(key, out);
        }
    }

    fn begin(&mut self, key: Key, out: &mut Vec<Output>) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if is_kept(&task.job.step.kind) {
            task.stage = Stage::Begins;
            out.push(Output::Begin(key, task.job.clone()));
        } else {
            self.work(key, out);
        }
    }

    fn work(&mut self, key: Key, out: &mut Vec<Output>) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.stage = Stage::Works;
        out.push(Output::Work { key: key.clone(), job: task.job.clone(), again: task.again });
        let too_much = self.bug == Some(Bug::StopTooMuch);
        // What was said while it was begun.
        out.extend(self.stops.orders(&task.job, too_much).map(|order| match order {
            stops::Order::Cancel => Output::Cancel(key.clone()),
            stops::Order::Finish => Output::Finish(key.clone()),
        }));
    }

    fn worked(&mut self, key: Key, result: Box<StepResult>, now: Moment, out: &mut Vec<Output>) {
        let Some(task) = self.tasks.get_mut(&key).filter(|task| matches!(task.stage, Stage::Works)) else {
            return;
        };
        task.stage = Stage::Ends(result.clone());
        if is_kept(&task.job.step.kind) {
            out.push(Output::End(key, task.job.clone(), task.began, result));
        } else {
            self.ended(&key, now, out);
        }
    }

    fn ended(&mut self, key: &Key, now: Moment, out: &mut Vec<Output>) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Stage::Ends(result) = &task.stage else { return };
        let (result, asked) = (result.clone(), std::mem::take(&mut task.asked));
        let state = StepState::Ended(result.clone());
        // Whoever asked for longer than was promised no longer listens.
        let told = asked.iter().any(|(_, until)| *until > now.mono);
        task.stage = Stage::Ended { result, at: now.mono, told };
        let agent = task.job.step.agent;
        out.extend(asked.into_iter().map(|(ticket, _)| self.answer(ticket, state.clone())));
        self.free(agent);
    }

    /// It is not here any more; whoever asks is told so.
    fn leave(&mut self, key: &Key, state: StepState, out: &mut Vec<Output>) {
        let Some(task) = self.tasks.remove(key) else { return };
        out.extend(task.asked.iter().map(|(ticket, _)| self.answer(*ticket, state.clone())));
        if task.runs() {
            self.free(task.job.step.agent);
        }
    }

    fn free(&mut self, agent: Agent) {
        if let Some(lane) = self.lanes.get_mut(&agent) {
            lane.running = lane.running.saturating_sub(1);
        }
    }

    /// Whoever was held for long enough is told that it runs; what ended long ago leaves.
    fn tell_who_waited(&mut self, now: Moment, out: &mut Vec<Output>) {
        let running = StepAnswer { runner: self.name.clone(), state: StepState::Running };
        for task in self.tasks.values_mut() {
            task.asked.retain(|(ticket, until)| {
                let waits = *until > now.mono;
                if !waits {
                    out.push(Output::Answer(*ticket, Some(running.clone())));
                }
                waits
            });
        }
        let kept = if self.leaving { FETCHED } else { KEPT };
        self.tasks.retain(|_, task| match &task.stage {
            Stage::Ended { result, at, told } if *at + kept <= now.mono => {
                if !told && is_kept(&task.job.step.kind) {
                    out.push(Output::Untold(task.job.clone(), result.clone()));
                }
                false
            }
            _ => true,
        });
    }

    /// What waits goes back to its owner, what runs goes on.
    fn leave_all(&mut self, out: &mut Vec<Output>) {
        self.leaving = true;
        let waiting: Vec<Key> = self.lanes.values_mut().flat_map(|lane| lane.waiting.drain(..)).collect();
        for key in waiting {
            self.leave(&key, StepState::Unknown, out);
        }
    }
}

fn first_of(key: &Key) -> Key {
    Key { idem_key: key.idem_key.clone(), attempt: 0, fence: Fence::default() }
}

/// The step changes what runs or where traffic goes; the others may work on under a fence that was passed.
pub fn writes(kind: &StepKind) -> bool {
    match kind {
        StepKind::Scale { .. }
        | StepKind::SetWeight { .. }
        | StepKind::RollBatch { .. }
        | StepKind::Hook { .. } => true,
        StepKind::Review
        | StepKind::Pause { .. }
        | StepKind::Analyse { .. }
        | StepKind::Guard { .. }
        | StepKind::Smoke { .. }
        | StepKind::Validate
        | StepKind::Certify => false,
    }
}

/// A review touches nothing and ends at once: it is simply done again.
pub fn is_kept(kind: &StepKind) -> bool {
    !matches!(kind, StepKind::Review)
}
