//! A runner of agents: takes jobs, keeps a journal on its disk, looks at what is and drives it to what is asked, one
//! small write at a time, so that it can die or be stopped between any two of them.

mod drive;

use std::collections::BTreeMap;

use model::{
    Fence, GateResult, Outcome, StepKind,
    deployment::{StepJob, StepReport, StepStop, StopKind},
    step::StepResult,
};

use super::{
    Planted, Simulation,
    kernel::{Happening, NO_FENCE, Process},
    world::{Author, Effect, Flaw, Write},
};

use drive::Next;

/// How long a look at what has not changed waits for the next, in milliseconds.
const LOOK: i64 = 250;

/// One runner. Its disk outlives it.
#[derive(Debug)]
pub(super) struct Runner {
    index: usize,
    pub(super) up: bool,
    pub(super) incarnation: u32,
    pub(super) paused: i64,
    /// What it works on, by message.
    pub(super) tasks: BTreeMap<u64, Task>,
    disk: Disk,
}

/// What a runner keeps durably.
#[derive(Debug, Default)]
struct Disk {
    /// By idempotency key and attempt: begun, and how it ended.
    entries: BTreeMap<(String, u32), Option<StepResult>>,
    /// The highest fence it worked under.
    highest: Fence,
}

/// One job under way.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) job: StepJob,
    stage: Stage,
    /// When it was begun here.
    pub(super) began: i64,
    /// A write that was decided on and not made yet.
    planned: Option<Write>,
    /// Told to judge what is there.
    pub(super) finish: bool,
    /// Looks that a verification still needs.
    pub(super) looks: u32,
    /// It has reported already, by the planted bug.
    ghost: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Begin,
    Working,
    Ended(StepResult),
    Reported,
}

impl Runner {
    pub(super) fn new(index: usize) -> Runner {
        Runner { index, up: true, incarnation: 0, paused: 0, tasks: BTreeMap::new(), disk: Disk::default() }
    }

    pub(super) fn die(&mut self) {
        self.up = false;
        self.paused = 0;
        self.tasks.clear();
    }

    pub(super) fn rise(&mut self) {
        self.up = true;
        self.incarnation += 1;
    }

    fn name(&self) -> String {
        format!("runner-{}-{}", self.index, self.incarnation)
    }
}

/// The step changes something outside, so it needs the fence.
fn writes(kind: &StepKind) -> bool {
    matches!(
        kind,
        StepKind::Scale { .. }
            | StepKind::SetWeight { .. }
            | StepKind::RollBatch { .. }
            | StepKind::Hook { .. }
    )
}

impl Simulation {
    /// A message was handed to the runner.
    pub(super) fn take(&mut self, index: usize, message: u64, job: StepJob) {
        let task = Task {
            job,
            stage: Stage::Begin,
            began: self.now,
            planned: None,
            finish: false,
            looks: 3,
            ghost: false,
        };
        self.runners[index].tasks.insert(message, task);
        self.work_later(index, message, 1);
    }

    fn work_later(&mut self, index: usize, message: u64, delay: i64) {
        self.later(delay, Some(Process::Runner(index)), Happening::Work(index, message));
    }

    /// Steps that no longer matter are dropped; a background analysis that has run long enough judges.
    pub(super) fn hear_stop(&mut self, index: usize, stop: &StepStop) {
        let runner = &mut self.runners[index];
        let mut dropped = Vec::new();
        for (message, task) in &mut runner.tasks {
            let job = &task.job;
            if job.deployment != stop.deployment
                || stop.step.as_ref().is_some_and(|step| *step != job.step.id)
            {
                continue;
            }
            match stop.kind {
                StopKind::Cancel if job.fence < stop.below => dropped.push(*message),
                StopKind::Finish if job.fence <= stop.below => task.finish = true,
                StopKind::Cancel | StopKind::Finish => {}
            }
        }
        for message in dropped {
            self.runners[index].tasks.remove(&message);
            self.jobs.ack(message);
        }
    }

    /// One small thing of one task.
    pub(super) fn work(&mut self, index: usize, message: u64) {
        let Some(task) = self.runners[index].tasks.get(&message).cloned() else { return };
        match task.stage.clone() {
            Stage::Begin => self.begin(index, message, task),
            Stage::Working => self.drive(index, message, task),
            Stage::Ended(result) => self.say_how(index, message, task, result),
            Stage::Reported => {
                self.jobs.ack(message);
                self.runners[index].tasks.remove(&message);
            }
        }
    }

    fn set(&mut self, index: usize, message: u64, task: Task, delay: i64) {
        self.runners[index].tasks.insert(message, task);
        self.work_later(index, message, delay);
    }

    fn begin(&mut self, index: usize, message: u64, mut task: Task) {
        let key = (task.job.idem_key.clone(), task.job.attempt);
        if let Some(Some(result)) = self.runners[index].disk.entries.get(&key).cloned() {
            // Done before: only say so again.
            task.stage = Stage::Ended(result);
            return self.set(index, message, task, 1);
        }
        if writes(&task.job.step.kind) && !self.pass(index, task.job.fence) {
            self.note(format_args!("runner {index} refuses {} under {}", task.job.step.id, task.job.fence));
            self.runners[index].tasks.remove(&message);
            return self.jobs.ack(message);
        }
        self.runners[index].disk.entries.insert(key, None);
        if self.point(Process::Runner(index), "begun") {
            return;
        }
        self.note(format_args!("runner {index} begins {} attempt {}", task.job.step.id, task.job.attempt));
        self.send_report(index, &task, None);
        task.stage = Stage::Working;
        if self.planted(Planted::AckBeforeEffect) && writes(&task.job.step.kind) {
            let done = StepResult::new(Outcome::Succeeded, "done");
            self.send_report(index, &task, Some(done));
            self.jobs.ack(message);
            task.ghost = true;
        }
        let delay = self.random.between(1, 20);
        self.set(index, message, task, delay);
    }

    /// The fence rule at the beginning of a step that writes: raised on the own disk and on the platform, even when
    /// there will be nothing to write, so that a late job of an earlier step can undo nothing.
    fn pass(&mut self, index: usize, fence: Fence) -> bool {
        if !self.is_fenced() {
            return true;
        }
        if self.planted(Planted::LazyFence) {
            return fence >= self.world.highest;
        }
        let disk = &mut self.runners[index].disk;
        if fence < disk.highest {
            return false;
        }
        disk.highest = fence;
        self.world.enter(fence)
    }

    fn drive(&mut self, index: usize, message: u64, mut task: Task) {
        if self.now > task.job.until.0 + 7_200_000 {
            // Nobody waits for it any more, whatever clocks say.
            self.jobs.ack(message);
            self.runners[index].tasks.remove(&message);
            return;
        }
        if let Some(write) = task.planned.take() {
            return self.carry_out(index, message, task, write);
        }
        match self.next(&mut task) {
            Next::Wait => self.set(index, message, task, LOOK),
            Next::Later(delay) => self.set(index, message, task, delay),
            Next::Write(write) => {
                task.planned = Some(write);
                let delay = self.random.between(1, 30);
                self.set(index, message, task, delay);
            }
            Next::Done(_) if task.ghost => {
                self.runners[index].tasks.remove(&message);
            }
            Next::Done(result) => {
                if self.point(Process::Runner(index), "before it is noted as ended") {
                    return;
                }
                let key = (task.job.idem_key.clone(), task.job.attempt);
                self.runners[index].disk.entries.insert(key, Some(result.clone()));
                if self.point(Process::Runner(index), "noted as ended") {
                    return;
                }
                task.stage = Stage::Ended(result);
                self.set(index, message, task, 1);
            }
        }
    }

    fn carry_out(&mut self, index: usize, message: u64, mut task: Task, write: Write) {
        if self.point(Process::Runner(index), "before a write") {
            return;
        }
        if self.runners[index].paused > self.now {
            // Stopped with the write in hand: it goes on with it.
            task.planned = Some(write);
            return self.set(index, message, task, 1);
        }
        if self.errs(&write) {
            let result = StepResult::new(Outcome::Errored, "the platform did not do it");
            let key = (task.job.idem_key.clone(), task.job.attempt);
            self.runners[index].disk.entries.insert(key, Some(result.clone()));
            task.stage = Stage::Ended(result);
            return self.set(index, message, task, 1);
        }
        let effect = self.write(&task, write);
        if self.point(Process::Runner(index), "after a write") {
            return;
        }
        if effect == Effect::Refused {
            self.runners[index].tasks.remove(&message);
            return self.jobs.ack(message);
        }
        let delay = self.random.between(1, 20);
        self.set(index, message, task, delay);
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
        let fenced = self.is_fenced();
        let effect = self.world.write(self.now, author, write.clone(), fenced);
        self.note(format_args!("{:?} for {} under {}: {write:?}", effect, job.step.id, job.fence));
        if let (Write::Start(key), Effect::Took) = (&write, effect) {
            let life = self.world.instances.get(key).map_or(0, |instance| instance.life);
            let delay = self.random.between(300, 2_500);
            self.later(delay, None, Happening::Healthy(key.clone(), life));
        }
        super::invariants::on_write(self, before);
        effect
    }

    fn say_how(&mut self, index: usize, message: u64, mut task: Task, result: StepResult) {
        self.send_report(index, &task, Some(result));
        if self.point(Process::Runner(index), "reported") {
            return;
        }
        task.stage = Stage::Reported;
        self.set(index, message, task, 1);
    }

    fn send_report(&mut self, index: usize, task: &Task, result: Option<StepResult>) {
        let job = &task.job;
        let runner = self.runners[index].name();
        let kind = if result.is_some() { "ended" } else { "began" };
        // A runner that is asked again says it again: the window must not swallow it.
        let message_id = format!("{}-{}-{kind}-{runner}-{}", job.idem_key, job.attempt, self.now);
        let report = StepReport {
            deployment: job.deployment.clone(),
            step: job.step.id.clone(),
            attempt: job.attempt,
            fence: job.fence,
            runner,
            result,
        };
        debug_assert!(report.fence >= NO_FENCE);
        self.report(report, &message_id);
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
