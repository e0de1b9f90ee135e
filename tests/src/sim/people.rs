//! People: they ask for releases, approve, promote, abort. They look at the journal's truth, because a person who is
//! told "moved on, look again" looks again.

use model::{
    Code, Phase, Principal, StepKind,
    command::{Action, Command, Submit},
};
use orchestrator::heart::{
    Context, decide,
    replica::{self, Ask, Input},
    state::Deployment,
};

use super::{
    Simulation,
    kernel::Happening,
    scenario::{Wanted, When},
};

/// How often someone looks whether the moment has come, in milliseconds.
const LOOK: i64 = 250;
/// How long someone waits for an answer.
const PATIENCE: i64 = 30_000;

/// Somebody who only says a name.
fn person(name: &str) -> Principal {
    Principal::stated(name).expect("a name")
}

impl Simulation {
    /// Asks for a release once its moment has come. Asking again for the same gives the same.
    pub(super) fn submit(&mut self, place: usize) {
        if !self.has_come(&self.scenario.releases[place].after) {
            return self.later(LOOK, None, Happening::Submit(place));
        }
        let Some(index) = self.any_replica() else { return self.later(LOOK, None, Happening::Submit(place)) };
        let release = self.scenario.releases[place].clone();
        let submit = Submit {
            document: String::new(),
            request_id: None,
            plan: None,
            force: release.force.clone(),
            mode: release.mode,
        };
        let (target, policy) = (self.target_now(), self.policy());
        let me = self.replicas[index].name.clone();
        let context = Context { now: self.clock(index), me: &me, target: &target, policy, approvals: None };
        let received = decide::receive(&submit, &person("eve"), release.spec);
        let record = replica::first_record(&release.id, received, None, context, false).expect("a request");
        self.submitted[place] = true;
        if self.append(record, 0, index).is_ok() && self.replicas[index].up {
            self.adopt(index, &release.id);
        }
    }

    /// Does what a person does once the moment has come, until it is accepted or refused for good.
    pub(super) fn act(&mut self, place: usize) {
        let person = self.scenario.people[place].clone();
        let id = self.scenario.releases[person.release].id.clone();
        if !self.acted[place] {
            if !self.has_come(&person.when) {
                if self.truth.deployments.get(&id).is_some_and(Deployment::is_closed) {
                    return;
                }
                return self.later(LOOK, None, Happening::Act(place));
            }
            self.acted[place] = true;
            return self.later(person.delay, None, Happening::Act(place));
        }
        if let Wanted::Strike(module, revision) = &person.action {
            self.note(format_args!("{module} {revision} dies"));
            return self.world.strike(module, revision);
        }
        if let Some((ticket, since)) = self.acting[place] {
            match self.answers.remove(&ticket) {
                Some(Ok(_)) => return self.note(format_args!("{} was heard", person.name)),
                Some(Err(fault)) if fault.code == Code::Conflict && !fault.message.contains("look again") => {
                    return self.note(format_args!("{} is refused: {fault}", person.name));
                }
                None if self.now - since < PATIENCE => return self.later(LOOK, None, Happening::Act(place)),
                // What became of it is unknown, or it moved on meanwhile: whoever still wants it looks again.
                Some(Err(_)) | None if self.is_past(&person.when, &person.action) => return,
                Some(Err(_)) | None => self.acting[place] = None,
            }
        }
        let Some(index) = self.any_replica() else { return self.later(LOOK, None, Happening::Act(place)) };
        let Some(state) = self.truth.deployments.get(&id) else { return };
        let action = match &person.action {
            Wanted::Strike(..) => return,
            Wanted::Do(action) => action.clone(),
            Wanted::Approve => match &state.change.digest {
                Some(plan) => Action::Approve { plan: plan.clone(), signed: None },
                None => return self.later(LOOK, None, Happening::Act(place)),
            },
        };
        let expect = Some(state.version);
        let command = Command { deployment: id.clone(), expect, action };
        self.note(format_args!("{} does {:?}", person.name, command.action));
        if !self.replicas[index].deployments.contains_key(&id) {
            self.adopt(index, &id);
        }
        let ticket = self.next_ticket();
        self.acting[place] = Some((ticket, self.now));
        self.tell(
            index,
            &id,
            Input::Asked(ticket, Ask::Command(Box::new(command), self::person(person.name))),
        );
        self.later(LOOK, None, Happening::Act(place));
    }

    /// Who promotes a step that waits does not promote the next one by mistake.
    fn is_past(&self, when: &When, action: &Wanted) -> bool {
        matches!(action, Wanted::Do(Action::Promote { .. })) && !self.has_come(when)
    }

    fn has_come(&self, when: &When) -> bool {
        let state = |place: &usize| self.truth.deployments.get(&self.scenario.releases[*place].id);
        match when {
            When::Begin => true,
            When::Phase(place, phase) => state(place).is_some_and(|state| {
                state.phase == *phase
                    || (*phase < Phase::NeedsHuman && state.phase > *phase && state.is_closed())
            }),
            When::Over(place) => state(place).is_some_and(Deployment::is_closed),
            When::WaitsForPromote(place) => state(place).is_some_and(|state| {
                state.all_steps().any(|step| {
                    matches!(step.kind, StepKind::Pause { duration: None })
                        && state.state_of(&step.id).is_open()
                })
            }),
            When::Open(place, part) => state(place).is_some_and(|state| {
                state
                    .all_steps()
                    .any(|step| step.id.as_str().contains(part) && state.state_of(&step.id).is_open())
            }),
        }
    }
}
