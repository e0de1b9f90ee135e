//! A runner of agents: the machine that the product runs, and around it what the product's shell does, one small thing at
//! a time: a journal on its disk, and agents that look at what is and drive it to what is asked, so that it can die or be
//! stopped between any two of them.

mod drive;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use agents::runner::{
    journal::{Entries, Entry},
    machine::{Input, Key, Machine, Moment, Output},
};
use model::{
    Fence, GateResult, Outcome, StepKind, Timestamp,
    deployment::{StepJob, StepStop},
    step::StepResult,
};
use orchestrator::heart::replica::Said;

use super::{
    Harm, Planted, Simulation,
    kernel::{BEGIN, Happening, Process},
    world::{Author, Effect, Flaw, Write},
};

use drive::Next;

/// How long a look at what has not changed waits for the next, in milliseconds.
const LOOK: i64 = 250;
/// Steps of one lane that a runner runs at once.
const AT_ONCE: usize = 4;

/// One runner. Its disk outlives it.
pub(super) struct Runner {
    index: usize,
    pub(super) up: bool,
    pub(super) incarnation: u32,
    pub(super) paused: i64,
    machine: Machine,
    todo: VecDeque<Output>,
    going: bool,
    timer: i64,
    /// What its agents work on.
    pub(super) tasks: BTreeMap<u64, Task>,
    next: u64,
    disk: Disk,
}

/// What a runner keeps durably.
#[derive(Debug, Default)]
struct Disk {
    /// By the key that the attempts of a step share.
    steps: BTreeMap<String, Entries>,
    /// The highest fence it worked under.
    highest: Fence,
}

/// One step that an agent works on.
#[derive(Clone, Debug)]
pub(super) struct Task {
    key: Key,
    pub(super) job: Arc<StepJob>,
    /// When it was begun here.
    pub(super) began: i64,
    /// A write that was decided on and not made yet.
    planned: Option<Write>,
    /// Told to judge what is there.
    pub(super) finish: bool,
    /// Looks that a verification still needs.
    pub(super) looks: u32,
}

impl Runner {
    pub(super) fn new(index: usize, planted: Option<Planted>) -> Runner {
        Runner {
            index,
            up: true,
            incarnation: 0,
            paused: 0,
            machine: machine(index, 0, planted),
            todo: VecDeque::new(),
            going: false,
            timer: i64::MAX,
            tasks: BTreeMap::new(),
            next: 0,
            disk: Disk::default(),
        }
    }

    pub(super) fn die(&mut self) {
        self.up = false;
        self.paused = 0;
        self.tasks.clear();
        self.todo.clear();
        self.going = false;
        self.timer = i64::MAX;
    }

    /// A restarted process is a new runner on the old disk.
    pub(super) fn rise(&mut self, planted: Option<Planted>) {
        self.up = true;
        self.incarnation += 1;
        self.machine = machine(self.index, self.incarnation, planted);
    }

    pub(super) fn name(&self) -> String {
        name(self.index, self.incarnation)
    }
}

fn name(index: usize, incarnation: u32) -> String {
    format!("runner-{index}-{incarnation}")
}

fn machine(index: usize, incarnation: u32, planted: Option<Planted>) -> Machine {
    let bug = match planted {
        Some(Planted::Runner(bug)) => Some(bug),
        _ => None,
    };
    Machine::new(name(index, incarnation), |_| AT_ONCE).planted(bug)
}

impl Simulation {
    /// Tells the machine of a runner; what it wants done goes on the list.
    pub(super) fn tell_runner(&mut self, index: usize, input: Input) {
        let mono = Duration::from_millis((self.now - BEGIN).max(0) as u64);
        let now = Moment { wall: Timestamp(self.now), mono };
        let runner = &mut self.runners[index];
        runner.todo.extend(runner.machine.hear(input, now));
        if let Some(at) = runner.machine.wake() {
            let at = (BEGIN + at.as_millis() as i64 + 1).max(self.now + 1);
            if runner.timer > at || runner.timer <= self.now {
                runner.timer = at;
                self.later(at - self.now, Some(Process::Runner(index)), Happening::RunnerTimer(index, at));
            }
        }
        self.runner_goes_on(index);
    }

    pub(super) fn runner_timer(&mut self, index: usize, at: i64) {
        if self.runners[index].timer == at {
            self.runners[index].timer = i64::MAX;
            self.tell_runner(index, Input::Woke);
        }
    }

    fn runner_goes_on(&mut self, index: usize) {
        if !self.runners[index].going && !self.runners[index].todo.is_empty() {
            self.runners[index].going = true;
            let delay = self.random.between(0, 3);
            self.later(delay, Some(Process::Runner(index)), Happening::GoRunner(index));
        }
    }

    /// Does the next thing; what is asked of the disk and said to others is under way at once, so any may be next.
    pub(super) fn go_runner(&mut self, index: usize) {
        self.runners[index].going = false;
        let place = self.random.below(self.runners[index].todo.len());
        let Some(output) = self.runners[index].todo.remove(place) else { return };
        self.do_for_runner(index, output);
        if self.runners[index].up {
            self.runner_goes_on(index);
        }
    }

    fn do_for_runner(&mut self, index: usize, output: Output) {
        let process = Process::Runner(index);
        let input = match output {
            Output::Answer(ticket, answer) => return self.runner_says(ticket, answer),
            Output::Refuse(ticket, _) => return self.say(ticket, Said::Refused),
            Output::Untold(job, result) => {
                return self.note(format_args!("nobody asked how {} ended: {}", job.step.id, result.outcome));
            }
            Output::Read(key) => {
                let entries = self.runners[index].disk.steps.get(&key.idem_key).cloned().unwrap_or_default();
                Input::Read(key, Ok(entries))
            }
            Output::Look(ticket, key, who) => {
                let entries = self.runners[index].disk.steps.get(&key.idem_key).cloned().unwrap_or_default();
                Input::Looked(ticket, key, who, Ok(entries))
            }
            Output::Enter(key, job) => {
                let passed = self.pass(index, job.fence);
                if !passed {
                    self.note(format_args!("runner {index} refuses {} under {}", job.step.id, job.fence));
                }
                Input::Entered(key, Ok(passed))
            }
            Output::Begin(key, _) => {
                self.keep(index, &key, Timestamp(self.now), None);
                if self.point(process, "begun") {
                    return;
                }
                Input::Begun(key, Ok(()))
            }
            Output::Work { key, job, .. } => return self.begin_task(index, key, job),
            Output::Cancel(key) => {
                let working = self.runners[index].tasks.len();
                self.runners[index].tasks.retain(|_, task| task.key != key);
                if self.runners[index].tasks.len() == working {
                    return;
                }
                Input::Worked(key, None)
            }
            Output::Finish(key) => {
                let tasks = self.runners[index].tasks.values_mut();
                return tasks.filter(|task| task.key == key).for_each(|task| task.finish = true);
            }
            Output::End(key, _, began, result) => {
                if self.point(process, "before it is noted as ended") {
                    return;
                }
                self.keep(index, &key, began, Some(*result));
                if self.point(process, "noted as ended") {
                    return;
                }
                Input::Noted(key, Ok(()))
            }
        };
        self.tell_runner(index, input);
    }

    fn keep(&mut self, index: usize, key: &Key, started: Timestamp, result: Option<StepResult>) {
        let entries = self.runners[index].disk.steps.entry(key.idem_key.clone()).or_default();
        entries.note(key.attempt, key.fence, Entry { started, result });
    }

    /// The fence rule at the beginning of a step that writes: raised on the own disk and on the platform, even when there
    /// will be nothing to write, so that a late step of an earlier wave can undo nothing.
    fn pass(&mut self, index: usize, fence: Fence) -> bool {
        let disk = &mut self.runners[index].disk;
        if fence < disk.highest {
            return false;
        }
        disk.highest = fence;
        self.world.enter(fence)
    }

    fn begin_task(&mut self, index: usize, key: Key, job: Arc<StepJob>) {
        if self.runners[index].tasks.values().any(|task| task.key.idem_key == key.idem_key) {
            let text = format!("runner {index} runs {} beside itself", job.step.id);
            self.violate("beside", Harm::Duplicate, text);
        }
        self.note(format_args!("runner {index} begins {} attempt {}", job.step.id, job.attempt));
        let task = Task { key, job, began: self.now, planned: None, finish: false, looks: 3 };
        let runner = &mut self.runners[index];
        runner.next += 1;
        let number = runner.next;
        let delay = self.random.between(1, 20);
        self.set(index, number, task, delay);
    }

    /// Steps that no longer matter are dropped; a background analysis that has run long enough judges.
    pub(super) fn hear_stop(&mut self, index: usize, stop: &StepStop) {
        self.tell_runner(index, Input::Stop(stop.clone()));
    }

    fn set(&mut self, index: usize, number: u64, task: Task, delay: i64) {
        self.runners[index].tasks.insert(number, task);
        self.later(delay, Some(Process::Runner(index)), Happening::Work(index, number));
    }

    fn end_task(&mut self, index: usize, number: u64, result: Option<StepResult>) {
        if let Some(task) = self.runners[index].tasks.remove(&number) {
            self.tell_runner(index, Input::Worked(task.key, result.map(Box::new)));
        }
    }

    /// One small thing of one task.
    pub(super) fn work(&mut self, index: usize, number: u64) {
        let Some(mut task) = self.runners[index].tasks.get(&number).cloned() else { return };
        if self.now >= task.job.until.0 {
            // Its time is over.
            return self.end_task(index, number, None);
        }
        if let Some(write) = task.planned.take() {
            return self.carry_out_write(index, number, task, write);
        }
        match self.next(&mut task) {
            Next::Wait => self.set(index, number, task, LOOK),
            Next::Later(delay) => self.set(index, number, task, delay),
            Next::Write(write) => {
                task.planned = Some(write);
                let delay = self.random.between(1, 30);
                self.set(index, number, task, delay);
            }
            Next::Done(result) => self.end_task(index, number, Some(result)),
        }
    }

    fn carry_out_write(&mut self, index: usize, number: u64, mut task: Task, write: Write) {
        if self.point(Process::Runner(index), "before a write") {
            return;
        }
        if self.runners[index].paused > self.now {
            // Stopped with the write in hand: it goes on with it.
            task.planned = Some(write);
            return self.set(index, number, task, 1);
        }
        if self.errs(&write) {
            let result = StepResult::new(Outcome::Errored, "the platform did not do it");
            return self.end_task(index, number, Some(result));
        }
        let effect = self.write(&task, write);
        if self.point(Process::Runner(index), "after a write") {
            return;
        }
        if effect == Effect::Refused {
            let result = StepResult::new(Outcome::Errored, "a higher fence was seen");
            return self.end_task(index, number, Some(result));
        }
        let delay = self.random.between(1, 20);
        self.set(index, number, task, delay);
    }

    fn errs(&mut self, write: &Write) -> bool {
        let Write::Start((module, revision, _)) = write else {
            return self.random.chance(self.chaos.trouble);
        };
        let flaws: Vec<Flaw> = self.world.flaws_of(module, revision).cloned().collect();
        for flaw in flaws {
            match flaw {
                Flaw::NoWayBack(until) if self.now < super::kernel::BEGIN + until => return true,
                Flaw::Error(times) => {
                    let shown = self.world.shown.entry((module.clone(), revision.clone())).or_default();
                    if *shown < times {
                        *shown += 1;
                        return true;
                    }
                }
                _ => {}
            }
        }
        self.random.chance(self.chaos.trouble)
    }

    fn write(&mut self, task: &Task, write: Write) -> Effect {
        let job = &task.job;
        let rolling = match &job.step.kind {
            StepKind::RollBatch { max_total, min_healthy, .. } => Some((*max_total, *min_healthy)),
            _ => None,
        };
        let author = Author {
            deployment: job.deployment.clone(),
            step: job.step.id.clone(),
            stage: job.step.stage,
            attempt: job.attempt,
            fence: job.fence,
            rolling,
        };
        let before = match &write {
            Write::Start((module, ..)) | Write::Stop((module, ..)) => self.world.of_module(module),
            Write::Route(..) | Write::Hook(_) => (0, 0),
        };
        let effect = self.world.write(self.now, author, write.clone());
        self.note(format_args!("{:?} for {} under {}: {write:?}", effect, job.step.id, job.fence));
        if let (Write::Start(key), Effect::Took) = (&write, effect) {
            let life = self.world.instances.get(key).map_or(0, |instance| instance.life);
            let delay = self.random.between(300, 2_500);
            self.later(delay, None, Happening::Healthy(key.clone(), life));
        }
        super::invariants::on_write(self, before);
        effect
    }
}

/// A verdict with its gate.
fn judged(name: &str, outcome: Outcome, measured: f64) -> StepResult {
    let text = format!("{name} {measured}");
    let mut result = StepResult::new(outcome, text.clone());
    let gate = serde_json::from_value::<GateResult>(serde_json::json!({
        "gate": name, "outcome": outcome, "measured": measured, "limit": "< 0.05", "samples": 1000, "text": text,
    }));
    result.gates.extend(gate);
    result
}
