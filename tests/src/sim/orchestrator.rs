//! A replica of the orchestrator: the shell's loop around the real heart, one small durable thing at a time, so that it
//! can die or be stopped between any two of them.

mod others;

use std::collections::{BTreeMap, VecDeque};

use model::{
    DeploymentId, Event, Phase, Record, ReplicaId, Timestamp,
    command::Command,
    deployment::{StepJob, StepReport},
};
use orchestrator::heart::{
    Context, Policy, decide,
    effects::{Effect, effects},
    state::Deployment,
    target::{Target, Wish},
};

use super::{
    Harm, Planted, Simulation,
    journal::Entry,
    kernel::{Happening, Process, REPLICAS, SILENCE, SWEEP, Stream},
};

/// How soon the same effect is carried out again, in milliseconds.
const RESEND: i64 = 60_000;

/// One replica. Everything but its clock is lost when it dies.
#[derive(Debug)]
pub(super) struct Replica {
    index: usize,
    /// A restarted process is a new replica.
    pub(super) name: ReplicaId,
    pub(super) up: bool,
    pub(super) incarnation: u32,
    pub(super) paused: i64,
    /// How far its clock is off.
    pub(super) offset: i64,
    since: i64,
    /// When it was last heard, once it is dead or stopped.
    pub(super) silent_since: i64,
    pub(super) deployments: BTreeMap<DeploymentId, Deployment>,
    pub(super) target: Target,
    followed: [u64; 2],
    todo: VecDeque<Todo>,
    going: bool,
    done: BTreeMap<String, i64>,
    timers: BTreeMap<DeploymentId, i64>,
}

/// One small thing to do.
#[derive(Debug)]
enum Todo {
    /// Decide what follows by itself.
    Turn(DeploymentId),
    /// Make it durable.
    Append(Box<Record>, u64, Then),
    /// See what should be under way.
    Effects(DeploymentId),
    /// See to one of them.
    Perform(DeploymentId, Box<Effect>),
    /// Journal what a runner says.
    Report(u64, Box<StepReport>),
    /// The report is journalled.
    Ack(u64),
    /// Take over from an owner that is gone.
    Claim(DeploymentId),
    /// Ask a rival to make way.
    Ask(Box<Command>),
}

/// What an append was for.
#[derive(Clone, Debug)]
enum Then {
    Turn,
    Ack(u64, Box<StepReport>),
}

impl Replica {
    pub(super) fn new(index: usize) -> Replica {
        Replica {
            index,
            name: name(index, 0),
            up: true,
            incarnation: 0,
            paused: 0,
            offset: 0,
            since: 0,
            silent_since: 0,
            deployments: BTreeMap::new(),
            target: Target::default(),
            followed: [0; 2],
            todo: VecDeque::new(),
            going: false,
            done: BTreeMap::new(),
            timers: BTreeMap::new(),
        }
    }

    pub(super) fn die(&mut self, now: i64) {
        *self = Replica {
            up: false,
            incarnation: self.incarnation,
            name: self.name.clone(),
            offset: self.offset,
            silent_since: now,
            ..Replica::new(self.index)
        };
    }

    pub(super) fn rise(&mut self, now: i64) {
        self.incarnation += 1;
        self.name = name(self.index, self.incarnation);
        self.up = true;
        self.since = now;
    }

    pub(super) fn works_on(&self, message: u64) -> bool {
        self.todo.iter().any(|todo| match todo {
            Todo::Report(number, _) | Todo::Ack(number) | Todo::Append(_, _, Then::Ack(number, _)) => {
                *number == message
            }
            _ => false,
        })
    }
}

fn name(index: usize, incarnation: u32) -> ReplicaId {
    format!("rep-{index}-{incarnation}").parse().expect("an id")
}

impl Simulation {
    fn clock(&self, index: usize) -> Timestamp {
        Timestamp(self.now + self.replicas[index].offset)
    }

    fn add(&mut self, index: usize, todo: Todo) {
        self.replicas[index].todo.push_back(todo);
        self.go_on(index);
    }

    fn first(&mut self, index: usize, todo: Todo) {
        self.replicas[index].todo.push_front(todo);
        self.go_on(index);
    }

    fn turn_soon(&mut self, index: usize, id: &DeploymentId) {
        let waits =
            self.replicas[index].todo.iter().any(|todo| matches!(todo, Todo::Turn(other) if other == id));
        if !waits {
            self.add(index, Todo::Turn(id.clone()));
        }
    }

    fn go_on(&mut self, index: usize) {
        if !self.replicas[index].going && !self.replicas[index].todo.is_empty() {
            self.replicas[index].going = true;
            let delay = self.random.between(0, 3);
            self.later(delay, Some(Process::Replica(index)), Happening::Go(index));
        }
    }

    /// Does the next thing.
    pub(super) fn go(&mut self, index: usize) {
        self.replicas[index].going = false;
        let Some(todo) = self.replicas[index].todo.pop_front() else { return };
        match todo {
            Todo::Turn(id) => self.turn(index, id),
            Todo::Append(record, expected, then) => self.do_append(index, record, expected, then),
            Todo::Effects(id) => self.plan_effects(index, &id),
            Todo::Perform(id, effect) => self.perform(index, &id, *effect),
            Todo::Report(number, report) => self.journal_report(index, number, report),
            Todo::Ack(number) => self.reports.ack(number),
            Todo::Claim(id) => self.claim(index, &id),
            Todo::Ask(command) => {
                let _ = self.command(index, &command);
            }
        }
        self.go_on(index);
    }

    fn with_context<T>(
        &self,
        index: usize,
        id: &DeploymentId,
        ask: impl Fn(&Deployment, Context<'_>) -> T,
    ) -> Option<T> {
        let replica = &self.replicas[index];
        let state = replica.deployments.get(id)?;
        let policy = Policy { advice: self.scenario.advice.0, ..Policy::default() };
        Some(ask(
            state,
            Context { now: self.clock(index), me: &replica.name, target: &replica.target, policy },
        ))
    }

    fn turn(&mut self, index: usize, id: DeploymentId) {
        // A plan is made from the target as its journal has it, not from what was heard so far: an older baseline would
        // be refused once the lock is held.
        let is_new = |state: &Deployment| state.phase < Phase::Planned;
        if self.replicas[index].deployments.get(&id).is_some_and(is_new) {
            self.replicas[index].target = self.target_now();
        }
        let Some(events) = self.with_context(index, &id, decide::advance) else { return };
        if events.is_empty() {
            return self.first(index, Todo::Effects(id));
        }
        if self.planted(Planted::SendBeforeJournal) {
            self.send_early(index, &id, &events);
        }
        self.decide(index, &id, events, Then::Turn);
    }

    /// Puts the record that is next on the list; dying between deciding and appending costs nothing.
    fn decide(&mut self, index: usize, id: &DeploymentId, events: Vec<Event>, then: Then) {
        let at = self.clock(index);
        let replica = &self.replicas[index];
        let Some(state) = replica.deployments.get(id) else { return };
        let record = Record {
            id: id.to_string(),
            version: state.version + 1,
            writer: replica.name.to_string(),
            at,
            trace: None,
            events,
        };
        let expected = state.seq;
        if !self.point(Process::Replica(index), "decided") {
            self.first(index, Todo::Append(Box::new(record), expected, then));
        }
    }

    fn do_append(&mut self, index: usize, record: Box<Record>, expected: u64, then: Then) {
        let incarnation = self.replicas[index].incarnation;
        if self.random.chance(self.chaos.unknown) {
            return self.append_unknown(index, record, expected, then);
        }
        let id: DeploymentId = record.id.parse().expect("an id");
        match self.append((*record).clone(), expected, index) {
            Ok(seq) => {
                // The plan may have killed it, chance may do so now: the record is durable, nothing was done yet.
                let gone = !self.replicas[index].up || self.replicas[index].incarnation != incarnation;
                if gone || self.point(Process::Replica(index), "appended") {
                    return;
                }
                self.appended(index, &id, &record, seq, then);
            }
            Err(()) if self.planted(Planted::StaleCache) => self.force_stale(index, &id, record, then),
            Err(()) => {
                self.reload(index, &id);
                self.again(index, id, then);
            }
        }
    }

    fn appended(&mut self, index: usize, id: &DeploymentId, record: &Record, seq: u64, then: Then) {
        if let Some(state) = self.replicas[index].deployments.get_mut(id)
            && state.version < record.version
            && state.fold(record, seq).is_err()
        {
            self.reload(index, id);
        }
        match then {
            Then::Turn => {}
            Then::Ack(number, _) => self.first(index, Todo::Ack(number)),
        }
        // The record's events may allow more; the effects are those of where it stands then.
        self.turn_soon(index, id);
        self.first(index, Todo::Effects(id.clone()));
    }

    fn again(&mut self, index: usize, id: DeploymentId, then: Then) {
        match then {
            Then::Turn => self.turn_soon(index, &id),
            Then::Ack(number, report) => self.first(index, Todo::Report(number, report)),
        }
    }

    /// The answer never comes. Reload, and look for the own record: found is done, another's is a lost race, none may
    /// be tried again, because a late arrival fails its compare-and-set.
    fn append_unknown(&mut self, index: usize, record: Box<Record>, expected: u64, then: Then) {
        self.faults += 1;
        let id: DeploymentId = record.id.parse().expect("an id");
        match self.random.below(3) {
            0 => drop(self.append((*record).clone(), expected, index)),
            1 => {}
            _ => {
                let delay = self.random.between(10, 4_000);
                self.later(delay, None, Happening::LateAppend(record.clone(), expected));
            }
        }
        if !self.replicas[index].up {
            return;
        }
        self.reload(index, &id);
        let own = |entry: &Entry<Event>| entry.record == *record;
        match self.deployments.of(id.as_str()).iter().find(|entry| own(entry)).map(|entry| entry.seq) {
            Some(seq) => self.appended(index, &id, &record, seq, then),
            None => self.again(index, id, then),
        }
    }

    /// Planted: the decision of an old state goes behind records it never saw.
    fn force_stale(&mut self, index: usize, id: &DeploymentId, mut record: Box<Record>, then: Then) {
        let last = self.deployments.last(id.as_str());
        let (seq, version) = last.map_or((0, 0), |last| (last.seq, last.record.version));
        record.version = version + 1;
        if let Ok(seq) = self.append((*record).clone(), seq, index)
            && self.replicas[index].up
        {
            self.reload(index, id);
            self.appended(index, id, &record, seq, then);
        }
    }

    /// Folds the journal from its beginning, read from where it is written.
    fn reload(&mut self, index: usize, id: &DeploymentId) {
        if let Some(state) = fold(self.deployments.of(id.as_str())) {
            self.replicas[index].deployments.insert(id.clone(), state);
        }
    }

    fn plan_effects(&mut self, index: usize, id: &DeploymentId) {
        let Some(wanted) = self.with_context(index, id, effects) else { return };
        let unfinished = wanted.iter().any(|effect| !matches!(effect, Effect::Send(_) | Effect::Advise(_)));
        for effect in wanted.into_iter().rev() {
            let (key, again) = match &effect {
                Effect::Send(job) => (format!("send {} {} {}", job.step.id, job.attempt, job.fence), RESEND),
                Effect::Stop(stop) => (format!("stop {:?} {}", stop.step, stop.below), 1_000),
                Effect::Wish(wish) => (format!("wish {:?}", std::mem::discriminant(wish)), 100),
                Effect::Ask(command) => (format!("ask {}", command.deployment), 2_000),
                Effect::Advise(_) => ("advise".to_owned(), RESEND),
            };
            let key = format!("{id} {key}");
            let now = self.now;
            let done = &mut self.replicas[index].done;
            if done.get(&key).is_none_or(|last| now - last >= again) {
                done.insert(key, now);
                self.first(index, Todo::Perform(id.clone(), Box::new(effect)));
            }
        }
        self.set_timer(index, id, unfinished);
    }

    fn set_timer(&mut self, index: usize, id: &DeploymentId, unfinished: bool) {
        let replica = &self.replicas[index];
        let Some(state) = replica.deployments.get(id).filter(|state| !state.is_closed()) else { return };
        if state.owner.as_ref() != Some(&replica.name) {
            return;
        }
        let local = self.clock(index);
        let wake = decide::wake_at(state);
        let version = state.version;
        if let Some(at) = wake.filter(|at| *at <= local && !unfinished) {
            let idle = self.with_context(index, id, decide::advance).is_some_and(|events| events.is_empty());
            if idle && version == self.deployments.last(id.as_str()).map_or(0, |last| last.record.version) {
                self.violate(
                    "progress",
                    Harm::Wrong,
                    format!("{id} v{version}: the timer at {at} is due and nothing follows"),
                );
            }
        }
        let least = if unfinished { 250 } else { RESEND };
        let delay = wake.map_or(least, |at| (at.0 - local.0).clamp(100, least)).max(1);
        let at = self.now + delay;
        let timer = self.replicas[index].timers.entry(id.clone()).or_insert(i64::MAX);
        if *timer > at || *timer <= self.now {
            *timer = at;
            self.later(delay, Some(Process::Replica(index)), Happening::Timer(index, id.clone(), at));
        }
    }

    pub(super) fn timer(&mut self, index: usize, id: DeploymentId, at: i64) {
        if self.replicas[index].timers.get(&id) == Some(&at) {
            self.replicas[index].timers.remove(&id);
            self.turn_soon(index, &id);
        }
    }

    fn perform(&mut self, index: usize, id: &DeploymentId, effect: Effect) {
        let process = Process::Replica(index);
        if self.point(process, "before an effect") {
            return;
        }
        if self.replicas[index].paused > self.now {
            // Stopped with the effect in hand: it goes on with what it knew.
            return self.first(index, Todo::Perform(id.clone(), Box::new(effect)));
        }
        match effect {
            Effect::Send(job) => self.send(*job),
            Effect::Stop(stop) => {
                for runner in 0..self.runners.len() {
                    if !self.random.chance(self.chaos.loss) {
                        let delay = self.travel();
                        self.later(
                            delay,
                            Some(Process::Runner(runner)),
                            Happening::Stop(runner, Box::new(stop.clone())),
                        );
                    }
                }
            }
            Effect::Wish(wish) => self.wish(index, &wish),
            Effect::Ask(command) => self.first(index, Todo::Ask(Box::new(command))),
            Effect::Advise(job) => self.consult(&job),
        }
        self.point(process, "after an effect");
    }

    /// Decided on the target as its journal has it now, appended by compare-and-set.
    fn wish(&mut self, index: usize, wish: &Wish) {
        let (writer, at) = (self.replicas[index].name.to_string(), self.clock(index));
        // With the planted bug the replica believes its own fold.
        let target = if self.planted(Planted::SkipCas) {
            self.replicas[index].target.clone()
        } else {
            self.target_now()
        };
        let Ok(events) = target.decide(wish, at) else { return };
        if !events.is_empty() {
            let _ = self.append_target(events, &writer, at.0, target.version, target.seq);
        }
    }

    fn target_now(&self) -> Target {
        let token = self.scenario.releases[0].spec.target_id().token();
        let mut target = Target::default();
        for entry in self.targets.of(&token) {
            entry.record.events.iter().for_each(|event| target.evolve(event));
            target.version = entry.record.version;
            target.seq = entry.seq;
        }
        target
    }

    /// Records reach the replica, in order.
    pub(super) fn follow(&mut self, index: usize, stream: Stream, upto: u64) {
        let from = self.replicas[index].followed[stream as usize];
        for seq in from + 1..=upto {
            match stream {
                Stream::Deployments => self.follow_deployment(index, seq),
                Stream::Targets => self.follow_target(index, seq),
            }
        }
        let followed = &mut self.replicas[index].followed[stream as usize];
        *followed = (*followed).max(upto);
    }

    fn follow_deployment(&mut self, index: usize, seq: u64) {
        let Some(entry) = self.deployments.at(seq).cloned() else { return };
        let id: DeploymentId = entry.record.id.parse().expect("an id");
        let state = self.replicas[index].deployments.get_mut(&id);
        let folded = match state {
            Some(state) if entry.record.version <= state.version => true,
            Some(state) => state.fold(&entry.record, seq).is_ok(),
            None => false,
        };
        if !folded {
            self.reload(index, &id);
        }
        let replica = &self.replicas[index];
        let Some(state) = replica.deployments.get(&id) else { return };
        if !state.is_closed() && state.owner.as_ref().is_none_or(|owner| *owner == replica.name) {
            self.turn_soon(index, &id);
        }
    }

    fn follow_target(&mut self, index: usize, seq: u64) {
        let Some(entry) = self.targets.at(seq).cloned() else { return };
        let replica = &mut self.replicas[index];
        if entry.record.version > replica.target.version {
            entry.record.events.iter().for_each(|event| replica.target.evolve(event));
            replica.target.version = entry.record.version;
            replica.target.seq = seq;
        }
        for id in self.owned(index) {
            self.turn_soon(index, &id);
        }
    }

    fn owned(&self, index: usize) -> Vec<DeploymentId> {
        let replica = &self.replicas[index];
        let mine = |state: &&Deployment| !state.is_closed() && state.owner.as_ref() == Some(&replica.name);
        replica.deployments.values().filter(mine).map(|state| state.id.clone()).collect()
    }

    pub(super) fn hear_report(&mut self, index: usize, number: u64, report: StepReport) {
        self.add(index, Todo::Report(number, Box::new(report)));
    }

    /// Acknowledged once journalled. Whoever lags behind the journal looks at it before saying that there is nothing
    /// to write.
    fn journal_report(&mut self, index: usize, number: u64, report: Box<StepReport>) {
        let id = report.deployment.clone();
        let head = self.deployments.last(id.as_str()).map_or(0, |last| last.record.version);
        let known = self.replicas[index].deployments.get(&id).map(|state| state.version);
        if known.is_none() || known < Some(head) && !self.planted(Planted::LaggingReport) {
            self.reload(index, &id);
        }
        let Some(events) = self.with_context(index, &id, |state, _| decide::on_report(state, &report)) else {
            return;
        };
        if events.is_empty() {
            return self.first(index, Todo::Ack(number));
        }
        self.decide(index, &id, events, Then::Ack(number, report));
    }

    /// Planted: jobs leave before the record that schedules them is durable.
    fn send_early(&mut self, index: usize, id: &DeploymentId, events: &[Event]) {
        let at = self.clock(index);
        let early = self.with_context(index, id, |state, context| {
            let mut ahead = state.clone();
            events.iter().for_each(|event| ahead.evolve(event, at));
            effects(&ahead, context)
        });
        for effect in early.into_iter().flatten() {
            if let Effect::Send(job) = effect {
                let job: StepJob = *job;
                self.send(job);
            }
        }
    }
}

/// Folds a whole journal; none when it is empty or broken.
pub(super) fn fold(entries: &[Entry<Event>]) -> Option<Deployment> {
    let (first, rest) = entries.split_first()?;
    let mut state = Deployment::begin(&first.record, first.seq).ok()?;
    for entry in rest {
        state.fold(&entry.record, entry.seq).ok()?;
    }
    Some(state)
}
