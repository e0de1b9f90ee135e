//! What one replica does with one deployment, without I/O: messages, times and the outcomes of what it asked for go in,
//! what is to be done comes out. The shell in [`crate::hub`] does it on the bus; the simulation in `tests/` does it in
//! virtual time and with every fault it can think of. Both drive this very code.
//!
//! A turn is: decide, append, fold, then see to the effects. A crash anywhere is healed by whoever owns the deployment
//! next, because all of it follows from the journal.
//!
//! What was folded may lag behind the journal. An append on top of it is refused then, so a decision to write is safe; a
//! decision *not* to write (a command that is refused, advice that does not matter) is only taken after a look at the
//! journal.

mod errand;
mod messages;
mod tend;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use ground::{Backoff, Jitter};
use model::{Code, DeploymentId, Event, Fault, Fence, Phase, Record, ReplicaId, StepId, StepKind, Timestamp};

use super::{
    Context, decide, effects,
    state::{BadJournal, Deployment},
    target::Target,
    view,
};
use errand::Errand;
pub use errand::{FIND, HOLD, OFFER, SILENT, STARTED};
pub use messages::{Ask, Bug, Input, Moment, NotAppended, Output, Question, Reply, Rules, Said};

/// How often a deployment is looked at when nothing happens.
const IDLE: Duration = Duration::from_secs(15);
/// How often it is looked at while something is due that has not shown its effect yet.
const BUSY: Duration = Duration::from_millis(250);
/// A phase that lasts for so long is told to the world.
const REST: Duration = Duration::from_millis(500);
/// How often a command that loses races is decided anew.
const TRIES: u32 = 50;
/// How long nothing is asked of the journal after trouble with it.
const TROUBLE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_millis(6400), Jitter::None);

/// What is under way for the journal.
enum Busy {
    Append(Box<Record>, Purpose),
    Load,
    Look,
}

#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Turn,
    Ask,
}

struct Asked {
    ticket: u64,
    ask: Ask,
    /// The journal was looked at since it was asked.
    has_looked: bool,
    tries: u32,
}

struct Done {
    at: Duration,
    times: u32,
    under_way: bool,
}

/// One deployment in one replica.
pub struct Replica {
    rules: Rules,
    state: Deployment,
    target: Arc<Target>,
    busy: Option<Busy>,
    /// The journal is known to hold more, or may.
    behind: bool,
    /// It says that something that was folded is passed over, and has to be folded from its beginning.
    anew: bool,
    /// Something happened since what follows was last decided.
    stirred: bool,
    /// The target was just read from its journal.
    has_looked: bool,
    asks: VecDeque<Asked>,
    errands: BTreeMap<StepId, Errand>,
    /// Attempts that this replica scheduled, so that no other owner can have handed them over.
    ours: BTreeSet<(StepId, u32, Fence)>,
    calls: u64,
    done: BTreeMap<String, Done>,
    /// When an effect is to be carried out again.
    effects_at: Option<Duration>,
    /// The phase that the world was told of last, and whether it is being told.
    said: Option<Phase>,
    saying: bool,
    /// The phase, and since when it is that.
    rests: (Phase, Duration),
    trouble: u32,
    /// Nothing is asked of the journal before.
    retry_at: Duration,
    bug: Option<Bug>,
    stale: Option<Vec<Event>>,
}

impl Replica {
    /// A deployment as it was folded, and its target as far as it was followed. [`Input::Woke`] begins it.
    pub fn new(rules: Rules, state: Deployment, target: Arc<Target>) -> Replica {
        let mut replica = Replica {
            rules,
            target,
            busy: None,
            behind: false,
            anew: false,
            stirred: true,
            has_looked: false,
            asks: VecDeque::new(),
            errands: BTreeMap::new(),
            ours: BTreeSet::new(),
            calls: 0,
            done: BTreeMap::new(),
            effects_at: None,
            said: None,
            saying: false,
            rests: (state.phase, Duration::ZERO),
            trouble: 0,
            retry_at: Duration::ZERO,
            bug: None,
            stale: None,
            state,
        };
        if replica.state.version == 1 && replica.is_ours() {
            // The request and what follows from it are one record, and it was us who wrote it.
            let open = replica.state.steps.iter();
            replica.ours = open.map(|(id, stand)| (id.clone(), stand.attempt, stand.fence)).collect();
        }
        replica
    }

    /// Leaves out a piece of safety; for the simulation alone.
    #[doc(hidden)]
    pub fn planted(mut self, bug: Option<Bug>) -> Replica {
        self.bug = bug;
        self
    }

    /// As far as it was folded.
    pub fn state(&self) -> &Deployment {
        &self.state
    }

    /// We drive it.
    pub fn is_ours(&self) -> bool {
        self.state.owner.as_ref() == Some(&self.rules.me)
    }

    /// Takes in what happened; gives what is to be done.
    pub fn hear(&mut self, input: Input, now: Moment) -> Vec<Output> {
        let mut out = Vec::new();
        if matches!(input, Input::Record(..) | Input::Asked(..)) {
            // News, or somebody who waits: what could not be read may be read now.
            self.retry_at = self.retry_at.min(now.mono);
        }
        match input {
            Input::Record(record, seq) => match self.fold(&record, seq) {
                Ok(()) => {}
                Err(BadJournal::Gap { found, last, .. }) if found <= last => self.doubt(seq),
                Err(_) => self.behind = true,
            },
            Input::Target(target) => self.take_target(target),
            Input::Approvals(approvals) => self.rules.approvals = approvals,
            Input::Asked(ticket, ask) => {
                self.asks.push_back(Asked { ticket, ask, has_looked: false, tries: 0 })
            }
            Input::Appended(outcome) => self.appended(outcome, now, &mut out),
            Input::Loaded(outcome) => self.loaded(outcome, now, &mut out),
            Input::Looked(outcome) => {
                self.busy = None;
                match outcome {
                    Ok(target) => {
                        self.take_target(target);
                        self.has_looked = true;
                    }
                    Err(_) => self.troubled(now),
                }
            }
            Input::Heard { step, call, said } => self.heard(&step, call, said, now),
            Input::Done(key, ok) => {
                if let Some(done) = self.done.get_mut(&key) {
                    done.under_way = false;
                    done.times += u32::from(ok);
                }
            }
            Input::Told(ok) => {
                self.saying = false;
                if !ok {
                    (self.said, self.rests.1) = (None, now.mono);
                }
            }
            Input::Woke => {}
        }
        self.stirred = true;
        self.proceed(now, &mut out);
        out
    }

    /// When the clock shows this time, or after this wait, whatever comes first, [`Input::Woke`] is due.
    pub fn wake(&self, now: Moment) -> (Option<Timestamp>, Duration) {
        let after = |at: Duration| at.saturating_sub(now.mono);
        if self.busy.is_some() {
            return (None, IDLE);
        }
        if self.retry_at > now.mono {
            return (None, after(self.retry_at));
        }
        if !self.is_ours() || now.draining {
            return (None, IDLE);
        }
        let at = decide::wake_at(&self.state);
        let is_due = at.is_some_and(|at| at <= now.wall);
        // One whose step is open but not to be done now, as when a person has to look first, is due for nothing.
        let timers = effects::open(&self.state)
            .filter_map(|(step, _)| self.errands.get(&step.id)?.wake(self.noted(&step.id)));
        let is_told = self.saying || self.said == Some(self.state.phase);
        let word = (!is_told).then_some(self.rests.1 + REST);
        let wait = timers.chain(self.effects_at).chain(word).map(after).min().unwrap_or(IDLE).min(IDLE);
        (at.filter(|_| !is_due), if is_due { wait.min(BUSY) } else { wait })
    }

    fn noted(&self, step: &StepId) -> Option<&String> {
        self.state.steps.get(step)?.runner.as_ref()
    }

    fn take_target(&mut self, target: Arc<Target>) {
        if target.version >= self.target.version {
            self.target = target;
        }
    }

    fn context(&self, now: Moment) -> Context<'_> {
        Context {
            now: now.wall,
            me: &self.rules.me,
            target: &self.target,
            policy: self.rules.policy,
            approvals: self.rules.approvals.as_deref(),
        }
    }

    fn fold(&mut self, record: &Record, seq: u64) -> Result<(), BadJournal> {
        self.state.fold(record, seq)?;
        if record.writer == self.rules.me.as_str() {
            let scheduled = record.events.iter().filter_map(|event| match event {
                Event::StepScheduled { step, attempt, fence, .. } => Some((step.clone(), *attempt, *fence)),
                _ => None,
            });
            self.ours.extend(scheduled);
        }
        Ok(())
    }

    /// A record of a version that was folded already. One that comes later is of somebody who cannot read what we folded, and
    /// had it passed over.
    fn doubt(&mut self, seq: u64) {
        if seq > self.state.seq {
            (self.anew, self.behind) = (true, true);
        }
    }

    fn appended(&mut self, outcome: Result<u64, NotAppended>, now: Moment, out: &mut Vec<Output>) {
        let Some(Busy::Append(record, purpose)) = self.busy.take() else { return };
        match outcome {
            Ok(seq) => {
                self.trouble = 0;
                match self.fold(&record, seq) {
                    Ok(()) => {}
                    // It came by before the broker's word did.
                    Err(BadJournal::Gap { found, last, .. }) if found <= last => {}
                    Err(_) => self.behind = true,
                }
                if purpose == Purpose::Ask {
                    self.answer(Ok(Reply::Written(Some(record.version))), out);
                }
            }
            Err(NotAppended::Raced) => {
                self.behind = true;
                if self.bug == Some(Bug::StaleAppend) {
                    self.stale = Some(record.events);
                }
                if purpose == Purpose::Ask
                    && let Some(first) = self.asks.front_mut()
                {
                    (first.has_looked, first.tries) = (true, first.tries + 1);
                    if first.tries >= TRIES {
                        let text = format!("{} is written by too many at once: ask again", self.state.id);
                        self.answer(Err(Fault::new(Code::Conflict, text)), out);
                    }
                }
            }
            Err(NotAppended::Unknown(fault)) => {
                // It may have been written all the same.
                self.behind = true;
                self.troubled(now);
                if purpose == Purpose::Ask {
                    self.answer(Err(fault), out);
                }
            }
        }
    }

    fn loaded(&mut self, outcome: Result<Vec<(Record, u64)>, Fault>, now: Moment, out: &mut Vec<Output>) {
        self.busy = None;
        let bad = |bad: BadJournal| Fault::new(Code::Internal, bad.to_string());
        let folded = outcome.and_then(|records| match std::mem::take(&mut self.anew) {
            true => {
                let anew = Deployment::of(&records).map_err(bad)?;
                self.state = anew.ok_or_else(|| bad(BadJournal::NoBeginning(self.state.id.to_string())))?;
                Ok(())
            }
            false => {
                let (known, new): (Vec<_>, Vec<_>) =
                    records.into_iter().partition(|(record, _)| record.version <= self.state.version);
                known.iter().for_each(|(_, seq)| self.doubt(*seq));
                if self.anew {
                    return Ok(());
                }
                new.iter().try_for_each(|(record, seq)| self.fold(record, *seq)).map_err(bad)
            }
        });
        match folded {
            Ok(()) => (self.behind, self.trouble) = (self.anew, 0),
            Err(fault) => {
                self.troubled(now);
                match self.asks.front().map(|first| (&first.ask, first.has_looked)) {
                    // Shown as far as it was heard.
                    Some((Ask::Show, _)) => self.show(now, out),
                    Some((_, true)) => self.answer(Err(fault), out),
                    _ => {}
                }
            }
        }
    }

    fn troubled(&mut self, now: Moment) {
        self.trouble += 1;
        self.retry_at = now.mono + TROUBLE.most(self.trouble);
    }

    /// How often in a row the journal or the target could not be reached.
    pub fn trouble(&self) -> u32 {
        self.trouble
    }

    fn proceed(&mut self, now: Moment, out: &mut Vec<Output>) {
        while self.busy.is_none() && now.mono >= self.retry_at && !self.state.is_closed() {
            if self.behind {
                self.busy = Some(Busy::Load);
                out.push(Output::Load(if self.anew { 0 } else { self.state.seq }));
            } else if let Some(events) = self.stale.take() {
                self.append(events, now, Purpose::Turn, out);
            } else if !(self.answer_first(now, out) || self.stirred && self.move_on(now, out)) {
                break;
            }
        }
        if self.busy.is_none() && !self.behind && !self.state.is_closed() {
            self.tend(now, out);
        }
    }

    /// Sees to whoever asked first. False: nobody did.
    fn answer_first(&mut self, now: Moment, out: &mut Vec<Output>) -> bool {
        let Some(first) = self.asks.front() else { return false };
        let has_looked = first.has_looked;
        let decided = match &first.ask {
            Ask::Show => Ok(Vec::new()),
            Ask::Advice(report) => Ok(decide::on_advice(&self.state, report)),
            Ask::Command(command, by) => decide::on_command(&self.state, command, by, self.context(now)),
            Ask::MakeWay(newer) => decide::make_way(&self.state, newer, self.context(now)),
            // Another may have been faster; from a living owner nothing is claimed.
            Ask::Claim(silent) if self.state.owner.as_ref() == Some(silent) => {
                Ok(decide::claim(&self.state, &self.rules.me))
            }
            Ask::Claim(_) => Ok(Vec::new()),
            Ask::Release => Ok(decide::release(&self.state, &self.rules.me)),
        };
        match decided {
            Ok(events) if !events.is_empty() => {
                let events = match now.draining {
                    true => events,
                    false => decide::follow(&self.state, events, self.context(now)),
                };
                self.append(events, now, Purpose::Ask, out);
            }
            _ if !has_looked => {
                if let Some(first) = self.asks.front_mut() {
                    first.has_looked = true;
                }
                self.behind = true;
            }
            Ok(_) if matches!(self.asks.front(), Some(Asked { ask: Ask::Show, .. })) => self.show(now, out),
            nothing => self.answer(nothing.map(|_| Reply::Written(None)), out),
        }
        true
    }

    fn show(&mut self, now: Moment, out: &mut Vec<Output>) {
        let view = view::view(&self.state, &self.target, now.wall);
        self.answer(Ok(Reply::View(Box::new(view))), out);
    }

    fn answer(&mut self, reply: Result<Reply, Fault>, out: &mut Vec<Output>) {
        if let Some(first) = self.asks.pop_front() {
            out.push(Output::Answer(first.ticket, reply));
        }
    }

    /// Journals what runners said and all that follows. False: nothing does.
    fn move_on(&mut self, now: Moment, out: &mut Vec<Output>) -> bool {
        let may_move = self.is_ours() || self.state.owner.is_none();
        if !may_move || now.draining {
            self.stirred = false;
            return false;
        }
        let needs = decide::needs_target(&self.state) && self.bug != Some(Bug::BlindTarget);
        if needs && !self.has_looked {
            self.busy = Some(Busy::Look);
            out.push(Output::Look);
            return true;
        }
        let is_fresh = std::mem::take(&mut self.has_looked) || self.bug == Some(Bug::BlindTarget);
        let reports = self.reports(now.mono);
        let mut events = decide::on_reports(&self.state, &reports, now.wall);
        if self.bug == Some(Bug::Unjournalled) {
            events.drain(..).for_each(|event| self.state.evolve(&event, now.wall));
        }
        let mut after = self.state.clone();
        events.iter().for_each(|event| after.evolve(event, now.wall));
        let advance = if is_fresh { decide::advance } else { decide::advance_as_heard };
        events.extend(advance(&after, self.context(now)));
        if events.is_empty() {
            self.stirred = false;
            return false;
        }
        if self.bug == Some(Bug::SendBeforeJournal) {
            self.send_early(&events, now, out);
        }
        self.append(events, now, Purpose::Turn, out);
        true
    }

    fn append(&mut self, mut events: Vec<Event>, now: Moment, purpose: Purpose, out: &mut Vec<Output>) {
        if self.bug == Some(Bug::ForgetHeld) && self.state.phase == Phase::Verifying {
            events.iter_mut().for_each(forget_held);
        }
        let record = Box::new(record(&self.state, events, &self.rules.me, now.wall));
        out.push(Output::Append(record.clone(), self.state.seq));
        self.busy = Some(Busy::Append(record, purpose));
    }
}

/// [`Bug::ForgetHeld`].
fn forget_held(event: &mut Event) {
    if let Event::RollbackBegan { steps, .. } = event {
        steps.retain(|step| matches!(step.kind, StepKind::Scale { count: 0, .. } | StepKind::Validate));
    }
}

/// The first record of a deployment: the request, and what follows from it by itself, so that a request is one durable
/// write. The target in `context` is the one that its journal has now; a replica that drains only takes the request.
///
/// # Errors
/// [`BadJournal`] when the record could not be folded, which is a defect.
pub fn first_record(
    id: &DeploymentId,
    received: Event,
    trace: Option<String>,
    context: Context<'_>,
    draining: bool,
) -> Result<Record, BadJournal> {
    let writer = context.me.to_string();
    let mut record =
        Record { id: id.to_string(), version: 1, writer, at: context.now, trace, events: vec![received] };
    let state = Deployment::begin(&record, 0)?;
    if !draining {
        record.events.extend(decide::advance(&state, context));
    }
    Ok(record)
}

/// One record that says `events`, on top of what `deployment` folded.
pub fn record(deployment: &Deployment, events: Vec<Event>, writer: &ReplicaId, at: Timestamp) -> Record {
    Record {
        id: deployment.id.to_string(),
        version: deployment.version + 1,
        writer: writer.to_string(),
        at,
        trace: deployment.trace.clone(),
        events,
    }
}
