//! Questions about steps on their way to runners and back: late, twice, in any order, or lost.

use std::time::Duration;

use agents::runner::machine;
use model::{DeploymentId, StepId, deployment::StepAnswer};
use orchestrator::heart::replica::{Input, Question, Said};

use super::{Happening, Process, Simulation};

/// A question or an answer is lost so many times less often than a signal: whoever asks hears of it.
const CALLS: u32 = 5;

/// Who asked, and about what: word for it is taken once.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Asking {
    index: usize,
    incarnation: u32,
    deployment: DeploymentId,
    step: StepId,
    call: u64,
}

impl Simulation {
    /// A replica asks. Silence is heard when its patience is over.
    pub(in crate::sim) fn ask_about(
        &mut self,
        index: usize,
        deployment: &DeploymentId,
        step: StepId,
        call: u64,
        what: Question,
        patience: Duration,
    ) {
        let ticket = self.next_ticket();
        let incarnation = self.replicas[index].incarnation;
        let asking = Asking { index, incarnation, deployment: deployment.clone(), step, call };
        self.asking.insert(ticket, asking);
        self.later(patience.as_millis() as i64, None, Happening::Said(ticket, Box::new(Said::Silence)));
        let up: Vec<usize> = (0..self.runners.len()).filter(|runner| self.runners[*runner].up).collect();
        let to: Vec<usize> = match &what {
            Question::Offer(_) if up.is_empty() => Vec::new(),
            // One of the lane; it may be stopped and hear it later.
            Question::Offer(_) => vec![up[self.random.below(up.len())]],
            Question::Find(_) => up,
            Question::State(name, _) => {
                up.into_iter().filter(|runner| self.runners[*runner].name() == *name).collect()
            }
        };
        if to.is_empty() {
            return self.say(ticket, Said::Nobody);
        }
        for runner in to {
            self.carry(runner, ticket, what.clone());
            if self.random.chance(self.chaos.duplicate) {
                self.faults += 1;
                let delay = self.random.between(1, 120_000);
                let again = Happening::Question(runner, ticket, Box::new(what.clone()));
                self.later(delay, Some(Process::Runner(runner)), again);
            }
        }
    }

    fn carry(&mut self, runner: usize, ticket: u64, what: Question) {
        if self.random.chance(self.chaos.loss / CALLS) {
            self.faults += 1;
            return;
        }
        let delay = self.travel();
        let question = Happening::Question(runner, ticket, Box::new(what));
        self.later(delay, Some(Process::Runner(runner)), question);
    }

    /// A question reaches a runner.
    pub(in crate::sim) fn question(&mut self, runner: usize, ticket: u64, what: Question) {
        self.tell_runner(
            runner,
            match what {
                Question::Offer(job) => machine::Input::Offered(ticket, job),
                Question::Find(question) => machine::Input::Sought(ticket, question),
                Question::State(_, question) => machine::Input::Asked(ticket, question),
            },
        );
    }

    /// A runner answers.
    pub(in crate::sim) fn runner_says(&mut self, ticket: u64, answer: Option<StepAnswer>) {
        if self.random.chance(self.chaos.loss / CALLS) {
            self.faults += 1;
            return;
        }
        if let Some(answer) = answer {
            self.say(ticket, Said::Answer(answer));
        }
    }

    pub(in crate::sim) fn say(&mut self, ticket: u64, said: Said) {
        let delay = self.travel();
        self.later(delay, None, Happening::Said(ticket, Box::new(said)));
    }

    /// Word arrives at who asked, the first that does.
    pub(in crate::sim) fn hear_said(&mut self, ticket: u64, said: Said) {
        let Some(asking) = self.asking.get(&ticket).cloned() else { return };
        let (up, incarnation, paused) = self.life(Process::Replica(asking.index));
        if up && incarnation == asking.incarnation && paused > self.now {
            return self.later(paused - self.now + 1, None, Happening::Said(ticket, Box::new(said)));
        }
        self.asking.remove(&ticket);
        if up && incarnation == asking.incarnation {
            let input = Input::Heard { step: asking.step, call: asking.call, said };
            self.tell(asking.index, &asking.deployment, input);
        }
    }
}
