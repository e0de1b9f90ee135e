//! A replica of the orchestrator: the machine that the product runs, one per deployment, and around it what the product's
//! shell does, one small durable thing at a time, so that it can die or be stopped between any two of them.

mod others;
mod perform;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use model::{DeploymentId, Event, ReplicaId, Timestamp};
use orchestrator::heart::{
    Context, Policy, decide, effects,
    replica::{self, Input, Moment, Output, Rules},
    state::Deployment,
    target::Target,
};

use super::{
    Harm, Planted, Simulation,
    journal::Entry,
    kernel::{BEGIN, Happening, Process, SILENCE, SWEEP, Stream},
};

/// How soon experts are asked again.
const RESEND: Duration = Duration::from_secs(60);

/// One replica. Everything but its clock is lost when it dies.
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
    pub(super) deployments: BTreeMap<DeploymentId, replica::Replica>,
    pub(super) target: Arc<Target>,
    followed: [u64; 2],
    /// What the machines asked for; in the product all of it is under way at once, so any may be next.
    todo: VecDeque<(DeploymentId, Output)>,
    going: bool,
    timers: BTreeMap<DeploymentId, i64>,
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
            target: Arc::default(),
            followed: [0; 2],
            todo: VecDeque::new(),
            going: false,
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
}

fn name(index: usize, incarnation: u32) -> ReplicaId {
    format!("rep-{index}-{incarnation}").parse().expect("an id")
}

impl Simulation {
    pub(super) fn clock(&self, index: usize) -> Timestamp {
        Timestamp(self.now + self.replicas[index].offset)
    }

    pub(super) fn policy(&self) -> Policy {
        Policy { advice: self.scenario.advice.0, ..Policy::default() }
    }

    fn moment(&self, index: usize) -> Moment {
        let mono = Duration::from_millis((self.now - BEGIN).max(0) as u64);
        Moment { wall: self.clock(index), mono, draining: false }
    }

    /// Tells the machine of a deployment; what it wants done goes on the list.
    pub(super) fn tell(&mut self, index: usize, id: &DeploymentId, input: Input) {
        let moment = self.moment(index);
        let replica = &mut self.replicas[index];
        let Some(machine) = replica.deployments.get_mut(id) else { return };
        let outputs = machine.hear(input, moment);
        replica.todo.extend(outputs.into_iter().map(|output| (id.clone(), output)));
        self.set_timer(index, id);
        self.go_on(index);
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
        let place = self.random.below(self.replicas[index].todo.len());
        let Some((id, output)) = self.replicas[index].todo.remove(place) else { return };
        self.perform(index, id, output);
        if self.replicas[index].up {
            self.go_on(index);
        }
    }

    fn set_timer(&mut self, index: usize, id: &DeploymentId) {
        let moment = self.moment(index);
        let Some(machine) = self.replicas[index].deployments.get(id) else { return };
        if machine.state().is_closed() {
            return;
        }
        let (wall, wait) = machine.wake(moment);
        self.is_any_timer_idle(index, id, moment);
        let wait = wait.as_millis() as i64;
        let delay = wall.map_or(wait, |at| (at.0 - moment.wall.0).min(wait)).max(1);
        let at = self.now + delay;
        let timer = self.replicas[index].timers.entry(id.clone()).or_insert(i64::MAX);
        if *timer > at || *timer <= self.now {
            *timer = at;
            self.later(delay, Some(Process::Replica(index)), Happening::Timer(index, id.clone(), at));
        }
    }

    /// A timer of the heart that is due, with nothing that follows from it and nothing under way, would be due for ever.
    fn is_any_timer_idle(&mut self, index: usize, id: &DeploymentId, moment: Moment) {
        let replica = &self.replicas[index];
        let Some(machine) = replica.deployments.get(id).filter(|machine| machine.is_ours()) else { return };
        let state = machine.state();
        let head = self.deployments.last(id.as_str()).map_or(0, |last| last.record.version);
        let Some(at) = decide::wake_at(state).filter(|at| *at <= moment.wall && state.version == head) else {
            return;
        };
        if replica.todo.iter().any(|(of, _)| of == id) {
            return;
        }
        let target = self.target_now();
        let context = Context {
            now: moment.wall,
            me: &replica.name,
            target: &target,
            policy: self.policy(),
            approvals: None,
        };
        let waits =
            effects::others(state, context).iter().all(|effect| matches!(effect, effects::Effect::Advise(_)));
        if waits && decide::advance(state, context).is_empty() {
            let text = format!("{id} v{}: the timer at {at} is due and nothing follows", state.version);
            self.violate("progress", Harm::Wrong, text);
        }
    }

    pub(super) fn timer(&mut self, index: usize, id: DeploymentId, at: i64) {
        if self.replicas[index].timers.get(&id) == Some(&at) {
            self.replicas[index].timers.remove(&id);
            self.tell(index, &id, Input::Woke);
        }
    }

    pub(super) fn target_now(&self) -> Target {
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
        if self.replicas[index].deployments.contains_key(&id) {
            self.tell(index, &id, Input::Record(Box::new(entry.record), seq));
        } else {
            self.adopt(index, &id);
        }
    }

    /// Begins the machine of a deployment from its journal.
    pub(super) fn adopt(&mut self, index: usize, id: &DeploymentId) {
        let Some(state) = fold(self.deployments.of(id.as_str())) else { return };
        let bug = match self.chaos.planted {
            Some(Planted::Replica(bug)) => Some(bug),
            _ => None,
        };
        let rules = Rules {
            me: self.replicas[index].name.clone(),
            policy: self.policy(),
            approvals: None,
            resend: RESEND,
        };
        let replica = &mut self.replicas[index];
        let machine = replica::Replica::new(rules, state, replica.target.clone()).planted(bug);
        replica.deployments.insert(id.clone(), machine);
        self.tell(index, id, Input::Woke);
    }

    fn follow_target(&mut self, index: usize, seq: u64) {
        let Some(entry) = self.targets.at(seq).cloned() else { return };
        let replica = &mut self.replicas[index];
        if entry.record.version > replica.target.version {
            let mut target = (*replica.target).clone();
            entry.record.events.iter().for_each(|event| target.evolve(event));
            target.version = entry.record.version;
            target.seq = seq;
            self.heard_target(index, target);
        }
    }

    /// All that watch the target are shown it.
    fn heard_target(&mut self, index: usize, target: Target) {
        if target.version <= self.replicas[index].target.version {
            return;
        }
        let target = Arc::new(target);
        self.replicas[index].target = target.clone();
        let ids: Vec<DeploymentId> = self.replicas[index].deployments.keys().cloned().collect();
        for id in ids {
            self.tell(index, &id, Input::Target(target.clone()));
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
