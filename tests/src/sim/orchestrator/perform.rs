//! What a machine asks for is done: on the journals of the simulation, over its slow and lossy bus.

use model::{Code, DeploymentId, Fault, Record, deployment::StepStop};
use orchestrator::heart::{
    effects::Effect,
    replica::{Ask, Input, NotAppended, Output},
    target::Wish,
};

use super::{Happening, Process, Simulation};

impl Simulation {
    pub(super) fn perform(&mut self, index: usize, id: DeploymentId, output: Output) {
        let process = Process::Replica(index);
        if self.point(process, "before something is done") {
            return;
        }
        if self.replicas[index].paused > self.now {
            // Stopped with it in hand: it goes on with what it knew.
            self.replicas[index].todo.push_back((id, output));
            return;
        }
        let incarnation = self.replicas[index].incarnation;
        let input = match output {
            Output::Append(record, expected) => Some(self.do_append(index, record, expected)),
            Output::Load(after) => {
                let entries = self.deployments.of(id.as_str()).iter().filter(|entry| entry.seq > after);
                Some(Input::Loaded(Ok(entries.map(|entry| (entry.record.clone(), entry.seq)).collect())))
            }
            Output::Look => {
                let target = self.target_now();
                self.heard_target(index, target.clone());
                Some(Input::Looked(Ok(std::sync::Arc::new(target))))
            }
            Output::Call { step, call, what, patience } => {
                self.ask_about(index, &id, step, call, what, patience);
                None
            }
            Output::Effect { key, effect, .. } => {
                self.carry_out(index, &id, effect);
                Some(Input::Done(key, true))
            }
            Output::Say(..) => Some(Input::Told(true)),
            Output::Answer(ticket, reply) => {
                self.answered(ticket, reply);
                None
            }
        };
        // The plan may have killed it, chance may do so now: what was done is done, and nobody here knows.
        let gone = !self.replicas[index].up || self.replicas[index].incarnation != incarnation;
        if gone || self.point(process, "something was done") {
            return;
        }
        if let Some(input) = input {
            self.tell(index, &id, input);
        }
    }

    fn do_append(&mut self, index: usize, record: Box<Record>, expected: u64) -> Input {
        if self.random.chance(self.chaos.unknown) {
            return self.append_unknown(index, record, expected);
        }
        Input::Appended(self.append(*record, expected, index).map_err(|()| NotAppended::Raced))
    }

    /// The answer never comes: it was written, it was not, or it will be.
    fn append_unknown(&mut self, index: usize, record: Box<Record>, expected: u64) -> Input {
        self.faults += 1;
        match self.random.below(3) {
            0 => drop(self.append((*record).clone(), expected, index)),
            1 => {}
            _ => {
                let delay = self.random.between(10, 4_000);
                self.later(delay, None, Happening::LateAppend(record, expected));
            }
        }
        let fault = Fault::new(Code::Timeout, "the broker did not answer");
        Input::Appended(Err(NotAppended::Unknown(fault)))
    }

    fn carry_out(&mut self, index: usize, id: &DeploymentId, effect: Effect) {
        match effect {
            Effect::Send(_) => {}
            Effect::Stop(stop) => self.say_stop(&stop),
            Effect::Wish(wish) => self.wish(index, &wish),
            Effect::MakeWay(rival) => {
                let ticket = self.next_ticket();
                self.tell(index, &rival, Input::Asked(ticket, Ask::MakeWay(id.clone())));
            }
            Effect::Advise(job) => self.consult(&job),
        }
    }

    fn say_stop(&mut self, stop: &StepStop) {
        for runner in 0..self.runners.len() {
            if !self.random.chance(self.chaos.loss) {
                let delay = self.travel();
                let heard = Happening::Stop(runner, Box::new(stop.clone()));
                self.later(delay, Some(Process::Runner(runner)), heard);
            }
        }
    }

    /// Decided on the target as its journal has it now, appended by compare-and-set.
    pub(super) fn wish(&mut self, index: usize, wish: &Wish) {
        let (writer, at) = (self.replicas[index].name.to_string(), self.clock(index));
        let target = self.target_now();
        let Ok(events) = target.decide(wish, at) else { return };
        if !events.is_empty() {
            let _ = self.append_target(events, &writer, at.0, target.version, target.seq);
        }
        if self.replicas[index].up {
            let target = self.target_now();
            self.heard_target(index, target);
        }
    }
}
