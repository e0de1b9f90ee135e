//! Moves virtual time from happening to happening, keeps the journals and what only the harness may know.

mod net;
mod process;

use std::{collections::BTreeMap, fmt};

use model::{
    DeploymentId, Event, Fault, Record, Timestamp, Verdict, deployment::StepStop, expert::AdviceReport,
    plan::Snapshot, target::TargetEvent,
};
use orchestrator::heart::{
    replica::{Question, Reply, Said},
    state::Deployment,
    target::Target,
};

use super::{
    Chaos, Harm, Run, Scenario, Victim, Violation, invariants,
    journal::Journal,
    orchestrator::Replica,
    random::Random,
    runner::Runner,
    world::{Instance, InstanceKey, Route, World},
};

/// When the story begins, in milliseconds since 1970.
pub(super) const BEGIN: i64 = 1_800_000_000_000;
/// Silence after which an owner counts as gone.
pub(super) const SILENCE: i64 = 3_000;
/// How often every replica looks at everything.
pub(super) const SWEEP: i64 = 15_000;
/// Violations kept of each rule.
const KEPT: usize = 3;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// An orchestrator.
    Replica(usize),
    /// A runner.
    Runner(usize),
}

/// A process in one of its lives.
type Life = (Process, u32);

/// A stream of journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Of deployments.
    Deployments,
    /// Of the target.
    Targets,
}

/// Something that is due.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A release is asked for, when its moment has come.
    Submit(usize),
    /// A person acts, when the moment has come.
    Act(usize),
    /// A replica does the next thing on its list.
    Go(usize),
    /// Records up to this one reach a replica.
    Follow(usize, Stream, u64),
    /// A replica set itself a timer.
    Timer(usize, DeploymentId, i64),
    /// A replica asks who has been silent.
    Silence(usize),
    /// A replica looks at everything.
    Sweep(usize),
    /// A question about a step reaches a runner, under a ticket.
    Question(usize, u64, Box<Question>),
    /// Word reaches who asked under this ticket.
    Said(u64, Box<Said>),
    /// A runner does the next thing on its list.
    GoRunner(usize),
    /// A runner set itself a timer.
    RunnerTimer(usize, i64),
    /// An agent does the next little thing of a task.
    Work(usize, u64),
    /// A runner hears that steps no longer matter.
    Stop(usize, Box<StepStop>),
    /// Some replica hears what experts say, unless whoever was asked under this ticket has journalled it.
    Advice(u64, Box<AdviceReport>),
    /// An instance becomes healthy, if it is still in this life.
    Healthy(InstanceKey, u64),
    /// A process begins again.
    Restart(Process),
    /// An append that was given up for unknown arrives after all.
    LateAppend(Box<Record>, u64),
    /// A replica's clock jumps.
    Jump(usize),
    /// A replica believes the owners to be gone.
    FalseClaim(usize),
}

/// What the harness knows and the engine does not: journals folded without delay.
#[derive(Default)]
pub(super) struct Truth {
    pub(super) deployments: BTreeMap<DeploymentId, Deployment>,
    pub(super) target: Target,
}

/// One run.
pub struct Simulation {
    pub(super) scenario: Scenario,
    pub(super) chaos: Chaos,
    pub(super) random: Random,
    pub(super) now: i64,
    /// By time and by the order of asking; a process in a later life than the one that is named hears nothing.
    agenda: BTreeMap<(i64, u64), (Option<Life>, Happening)>,
    ticket: u64,
    pub(super) replicas: Vec<Replica>,
    pub(super) runners: Vec<Runner>,
    pub(super) deployments: Journal<Event>,
    pub(super) targets: Journal<TargetEvent>,
    /// Questions about steps that nobody has answered yet.
    asking: BTreeMap<u64, net::Asking>,
    /// What was answered to people, experts and replicas, by ticket.
    pub(super) answers: BTreeMap<u64, Result<Reply, Fault>>,
    pub(super) tickets: u64,
    pub(super) world: World,
    pub(super) truth: Truth,
    pub(super) submitted: Vec<bool>,
    pub(super) acted: Vec<bool>,
    /// What people have asked and wait for: ticket, and since when.
    pub(super) acting: Vec<Option<(u64, i64)>>,
    pub(super) watch: invariants::Watch,
    pub(super) violations: Vec<Violation>,
    pub(super) faults: usize,
    pub(super) ended: Option<i64>,
    trace: u64,
    log: Vec<String>,
}

impl Simulation {
    /// Sets the stage: what the baseline says runs, and all processes are up.
    pub fn new(scenario: Scenario, seed: u64, chaos: Chaos) -> Simulation {
        let mut sim = Simulation {
            random: Random::new(seed),
            now: BEGIN,
            agenda: BTreeMap::new(),
            ticket: 0,
            replicas: (0..scenario.replicas).map(Replica::new).collect(),
            runners: (0..scenario.runners).map(|index| Runner::new(index, chaos.planted)).collect(),
            deployments: Journal::default(),
            targets: Journal::default(),
            asking: BTreeMap::new(),
            answers: BTreeMap::new(),
            tickets: 0,
            world: World { flaws: scenario.flaws.clone(), ..World::default() },
            truth: Truth::default(),
            submitted: vec![false; scenario.releases.len()],
            acted: vec![false; scenario.people.len()],
            acting: vec![None; scenario.people.len()],
            watch: invariants::Watch::default(),
            violations: Vec::new(),
            faults: 0,
            ended: None,
            trace: 0xcbf2_9ce4_8422_2325,
            log: Vec::new(),
            scenario,
            chaos,
        };
        sim.set_stage();
        sim
    }

    fn set_stage(&mut self) {
        let specs =
            self.scenario.baseline.iter().chain(self.scenario.releases.iter().map(|release| &release.spec));
        for module in specs.flat_map(|spec| &spec.modules) {
            let full =
                self.world.full.entry((module.name.clone(), module.revision())).or_insert(module.replicas);
            *full = (*full).min(module.replicas);
        }
        if let Some(spec) = self.scenario.baseline.clone() {
            for module in &spec.modules {
                for slot in 0..module.replicas {
                    let key = (module.name.clone(), module.revision(), slot);
                    self.world.instances.insert(key, Instance { healthy: true, dead: false, life: 0 });
                }
                if module.expose.is_some() {
                    let weights = model::route::Weights::all_to(module.revision());
                    self.world.routes.insert(module.name.clone(), Route { weights, version: 1 });
                }
            }
            let deployment = DeploymentId::derived("baseline");
            let snapshot = Box::new(Snapshot { deployment, spec, at: Timestamp(BEGIN) });
            self.append_target(vec![TargetEvent::Settled { snapshot }], "stage", BEGIN, 0, 0)
                .expect("an empty journal");
        }
        for index in 0..self.replicas.len() {
            let first = self.random.between(1, SWEEP);
            self.later(first, Some(Process::Replica(index)), Happening::Sweep(index));
        }
        for release in 0..self.scenario.releases.len() {
            self.later(1, None, Happening::Submit(release));
        }
        for person in 0..self.scenario.people.len() {
            self.later(1, None, Happening::Act(person));
        }
        for _ in 0..self.chaos.jumps {
            let (index, at) = (self.random.below(self.replicas.len()), self.random.between(1, 60_000));
            self.later(at, None, Happening::Jump(index));
        }
        for _ in 0..self.chaos.false_claims {
            let (index, at) = (self.random.below(self.replicas.len()), self.random.between(1, 60_000));
            self.later(at, Some(Process::Replica(index)), Happening::FalseClaim(index));
        }
    }

    /// Runs to the end, or to the story's limit.
    pub fn run(mut self) -> Run {
        while let Some(((at, _), (process, happening))) = self.agenda.pop_first() {
            if at > BEGIN + self.scenario.limit || self.violations.len() > 30 {
                break;
            }
            self.now = self.now.max(at);
            let Some((process, incarnation)) = process else {
                self.happen(happening);
                continue;
            };
            let (up, current, paused) = self.life(process);
            if !up || current != incarnation {
                continue;
            }
            if paused > self.now {
                self.at(paused + 1, Some((process, incarnation)), happening);
                continue;
            }
            self.happen(happening);
        }
        invariants::at_end(&mut self);
        self.violations.sort_by_key(|violation| violation.at);
        Run {
            verdicts: self.verdicts(),
            trace: self.trace,
            records: (self.deployments.head() + self.targets.head()) as usize,
            effects: self
                .world
                .ledger
                .iter()
                .filter(|line| line.effect == super::world::Effect::Took)
                .count(),
            faults: self.faults,
            took: self.ended.unwrap_or(self.now) - BEGIN,
            violations: self.violations,
            log: self.log,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Submit(release) => self.submit(release),
            Happening::Act(person) => self.act(person),
            Happening::Go(index) => self.go(index),
            Happening::Follow(index, stream, upto) => self.follow(index, stream, upto),
            Happening::Timer(index, id, at) => self.timer(index, id, at),
            Happening::Silence(index) => self.claim_from_the_silent(index, false),
            Happening::Sweep(index) => self.sweep(index),
            Happening::Question(runner, ticket, what) => self.question(runner, ticket, *what),
            Happening::Said(ticket, said) => self.hear_said(ticket, *said),
            Happening::GoRunner(index) => self.go_runner(index),
            Happening::RunnerTimer(index, at) => self.runner_timer(index, at),
            Happening::Work(index, task) => self.work(index, task),
            Happening::Stop(index, stop) => self.hear_stop(index, &stop),
            Happening::Advice(before, report) => self.hear_advice(before, report),
            Happening::Healthy(key, life) => {
                if let Some(instance) =
                    self.world.instances.get_mut(&key).filter(|instance| instance.life == life)
                {
                    instance.healthy = true;
                    self.note(format_args!("{} {} #{} is healthy", key.0, key.1, key.2));
                }
            }
            Happening::Restart(process) => self.restart(process),
            Happening::LateAppend(record, expected) => {
                let arrived = self.append(*record, expected, usize::MAX).is_ok();
                self.note(format_args!("a late append arrives: {arrived}"));
            }
            Happening::Jump(index) => {
                let by = self.random.between(-3_600_000, 3_600_000);
                self.replicas[index].offset = by;
                self.faults += 1;
                self.note(format_args!("clock of replica {index} is off by {by} ms"));
            }
            Happening::FalseClaim(index) => {
                self.faults += 1;
                self.claim_from_the_silent(index, true);
            }
        }
    }

    // ---- time ----

    /// Puts something on the agenda, `delay` milliseconds from now, for the process as it lives now.
    pub(super) fn later(&mut self, delay: i64, process: Option<Process>, happening: Happening) {
        let process = process.map(|process| (process, self.life(process).1));
        self.at(self.now + delay, process, happening);
    }

    fn at(&mut self, at: i64, process: Option<Life>, happening: Happening) {
        self.ticket += 1;
        self.agenda.insert((at, self.ticket), (process, happening));
    }

    /// How long a message or record is under way.
    pub(super) fn travel(&mut self) -> i64 {
        if self.random.chance(self.chaos.slow) {
            self.random.between(20, 5_000)
        } else {
            self.random.between(1, 10)
        }
    }

    // ---- journals ----

    /// Appends by compare-and-set, lets the followers hear, and kills whom the plan kills at this record. `writer` is
    /// the replica, or no index for an append that arrives late.
    pub(super) fn append(&mut self, record: Record, expected: u64, writer: usize) -> Result<u64, ()> {
        let seq = self.deployments.append(record.clone(), expected).map_err(|_| ())?;
        let names: Vec<&str> = record.events.iter().map(Event::name).collect();
        self.note(format_args!(
            "{} v{} by {}: {}",
            record.id,
            record.version,
            record.writer,
            names.join(" ")
        ));
        invariants::on_record(self, &record, seq);
        self.publish(Stream::Deployments, seq);
        self.after_record(writer);
        Ok(seq)
    }

    /// The same for the target.
    pub(super) fn append_target(
        &mut self,
        events: Vec<TargetEvent>,
        writer: &str,
        at: i64,
        version: u64,
        expected: u64,
    ) -> Result<u64, ()> {
        let id = self.scenario.releases[0].spec.target_id().token();
        let record = Record {
            id,
            version: version + 1,
            writer: writer.to_owned(),
            at: Timestamp(at),
            trace: None,
            events,
        };
        let seq = self.targets.append(record.clone(), expected).map_err(|_| ())?;
        self.note(format_args!("target v{} by {writer}: {:?}", record.version, Short(&record.events)));
        invariants::on_target_record(self, &record);
        self.publish(Stream::Targets, seq);
        let writer = self.replicas.iter().position(|replica| replica.name.as_str() == writer);
        self.after_record(writer.unwrap_or(usize::MAX));
        Ok(seq)
    }

    fn publish(&mut self, stream: Stream, seq: u64) {
        for index in 0..self.replicas.len() {
            let delay = self.travel();
            self.later(delay, Some(Process::Replica(index)), Happening::Follow(index, stream, seq));
        }
        if self.ended.is_none() && self.is_over() {
            self.ended = Some(self.now);
            self.note(format_args!("all is over"));
        }
    }

    fn after_record(&mut self, writer: usize) {
        let count = (self.deployments.head() + self.targets.head()) as usize;
        let due: Vec<_> = self.chaos.kills.iter().filter(|kill| kill.record == count).cloned().collect();
        for kill in due {
            let process = match kill.victim {
                Victim::Writer if writer < self.replicas.len() => Process::Replica(writer),
                Victim::Writer => continue,
                Victim::Runner => Process::Runner(
                    self.runners.iter().position(|runner| !runner.tasks.is_empty()).unwrap_or(0),
                ),
            };
            self.kill(process, kill.back);
        }
    }

    // ---- what the harness knows ----

    /// All that was asked for is over, the target is free, and nobody has anything left to do.
    pub(super) fn is_over(&self) -> bool {
        self.submitted.iter().all(|submitted| *submitted)
            && self
                .scenario
                .releases
                .iter()
                .all(|release| self.truth.deployments.get(&release.id).is_some_and(Deployment::is_closed))
            && self.truth.target.holder.is_none()
            && self.truth.target.queue.is_empty()
    }

    pub(super) fn verdicts(&self) -> Vec<Option<Verdict>> {
        let verdict = |id| {
            self.truth.deployments.get(id).filter(|state: &&Deployment| state.is_closed())?.ending.verdict
        };
        self.scenario.releases.iter().map(|release| verdict(&release.id)).collect()
    }

    pub(super) fn violate(&mut self, rule: &'static str, harm: Harm, text: impl Into<String>) {
        if self.violations.iter().filter(|violation| violation.rule == rule).count() < KEPT {
            let text = text.into();
            self.note(format_args!("VIOLATION {rule}: {text}"));
            self.violations.push(Violation { rule, harm, at: self.now - BEGIN, text });
        }
    }

    /// Adds to the trace: the hash that two runs of one seed must share.
    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = what.to_string();
        for byte in self.now.to_le_bytes().iter().chain(line.as_bytes()) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.chaos.log {
            self.log.push(format!("{:>10.3} s  {line}", (self.now - BEGIN) as f64 / 1000.0));
        }
    }
}

/// The names of a target's events.
struct Short<'a>(&'a [TargetEvent]);

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in self.0 {
            match event {
                TargetEvent::Queued { deployment, .. } => write!(f, "queued {deployment} ")?,
                TargetEvent::Left { deployment } => write!(f, "left {deployment} ")?,
                TargetEvent::Granted { deployment, token, .. } => write!(f, "granted {deployment} {token} ")?,
                TargetEvent::Released { deployment, token } => write!(f, "released {deployment} {token} ")?,
                TargetEvent::Settled { snapshot } => write!(f, "settled {} ", snapshot.deployment)?,
                TargetEvent::Quarantined(found) => write!(f, "quarantined by {} ", found.deployment)?,
                TargetEvent::Unquarantined { .. } => f.write_str("unquarantined ")?,
                TargetEvent::Held(_) => f.write_str("held ")?,
                TargetEvent::Unheld { .. } => f.write_str("unheld ")?,
                TargetEvent::RecordSkipped(skip) => write!(f, "skipped {} ", skip.seq)?,
            }
        }
        Ok(())
    }
}
