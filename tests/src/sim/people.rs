//! People: they ask for releases, approve, promote, abort. They look at the journal's truth, because a person who is
//! told "moved on, look again" looks again.

use model::{
    Event, Phase, Record, StepKind, Timestamp,
    command::{Action, Command, Submit},
    deployment::Mode,
};
use orchestrator::heart::{decide, state::Deployment};

use super::{
    Simulation,
    kernel::Happening,
    scenario::{Wanted, When},
};

/// How often someone looks whether the moment has come, in milliseconds.
const LOOK: i64 = 250;

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
            initiator: "eve".to_owned(),
            request_id: None,
            plan: None,
            force: release.force.clone(),
            mode: release.mode,
        };
        debug_assert!(matches!(release.mode, Mode::Apply | Mode::Rollback));
        let events: Vec<Event> = vec![decide::receive(&submit, release.spec)];
        let at = Timestamp(self.now + self.replicas[index].offset);
        let (id, writer) = (release.id.to_string(), self.replicas[index].name.to_string());
        self.submitted[place] = true;
        let _ = self.append(Record { id, version: 1, writer, at, trace: None, events }, 0, index);
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
        let Some(index) = self.any_replica() else { return self.later(LOOK, None, Happening::Act(place)) };
        let Some(state) = self.truth.deployments.get(&id) else { return };
        let action = match &person.action {
            Wanted::Do(action) => action.clone(),
            Wanted::Approve => match &state.plan_digest {
                Some(plan) => Action::Approve { plan: plan.clone() },
                None => return self.later(LOOK, None, Happening::Act(place)),
            },
        };
        let expect = Some(state.version);
        let command = Command { deployment: id, expect, by: person.name.to_owned(), action };
        let accepted = self.command(index, &command);
        self.note(format_args!("{} does {:?}: {accepted:?}", person.name, command.action));
        if accepted.is_none() {
            self.later(LOOK, None, Happening::Act(place));
        }
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
