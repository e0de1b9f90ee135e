//! What a replica does because of others: it claims from the silent, looks at everything, hears people and experts.

use model::{
    DeploymentId, Fault, ReplicaId,
    expert::{AdviceJob, AdviceReport, PlanAdvice},
};
use orchestrator::heart::{
    replica::{Ask, Input, Reply},
    target::Wish,
};

use super::{Happening, Process, SILENCE, SWEEP, Simulation};

/// For how long everything is looked at after all is over, in milliseconds: longer than a replica is stopped.
const STRAGGLERS: i64 = 120_000;
/// How soon what experts say is delivered again that nobody has journalled.
const AGAIN: i64 = 5_000;

impl Simulation {
    /// Claims what belongs to replicas that were silent for too long; `deaf` believes that of all others.
    pub(in crate::sim) fn claim_from_the_silent(&mut self, index: usize, deaf: bool) {
        if !deaf && self.now - self.replicas[index].since < SILENCE {
            return;
        }
        let me = self.replicas[index].name.clone();
        let orphans: Vec<(DeploymentId, ReplicaId)> = self.replicas[index]
            .deployments
            .values()
            .map(|machine| machine.state())
            .filter(|state| !state.is_closed())
            .filter_map(|state| Some((state.id.clone(), state.owner.clone()?)))
            .filter(|(_, owner)| *owner != me && (deaf || self.is_silent(owner)))
            .collect();
        for (id, owner) in orphans {
            self.note(format_args!("replica {index} claims {id}"));
            let ticket = self.next_ticket();
            self.tell(index, &id, Input::Asked(ticket, Ask::Claim(owner)));
        }
    }

    fn is_silent(&self, owner: &ReplicaId) -> bool {
        !self.replicas.iter().filter(|replica| replica.name == *owner).any(|replica| {
            let speaks = replica.up && replica.paused <= self.now;
            speaks || self.now - replica.silent_since < SILENCE
        })
    }

    /// Looks at everything: liveness does not depend on any single message.
    pub(in crate::sim) fn sweep(&mut self, index: usize) {
        // Whoever was stopped with a wish in hand may still bring a deployment that is over back to the target.
        if self.is_over() && self.ended.is_none_or(|ended| self.now > ended + STRAGGLERS) {
            return;
        }
        let ids: Vec<String> = self.deployments.ids().cloned().collect();
        for id in ids {
            let Some(last) = self.deployments.last(&id).cloned() else { continue };
            let id: DeploymentId = id.parse().expect("an id");
            match self.replicas[index].deployments.get(&id).map(|machine| machine.state().version) {
                None => self.adopt(index, &id),
                Some(version) if version < last.record.version => {
                    self.tell(index, &id, Input::Record(Box::new(last.record), last.seq));
                }
                Some(_) => {}
            }
        }
        self.claim_from_the_silent(index, false);
        let target = self.target_now();
        self.heard_target(index, target.clone());
        // Locks and places of deployments that are over are given back.
        for id in target.holder.iter().map(|(holder, _)| holder).chain(&target.queue) {
            let closed =
                self.replicas[index].deployments.get(id).is_some_and(|machine| machine.state().is_closed());
            if closed {
                self.wish(index, &Wish::Leave(id.clone()));
            }
        }
        self.later(SWEEP, Some(Process::Replica(index)), Happening::Sweep(index));
    }

    /// Whoever asked under this ticket is answered.
    pub(super) fn answered(&mut self, ticket: u64, reply: Result<Reply, Fault>) {
        self.answers.insert(ticket, reply);
    }

    /// The panel answers after a while, more than once if it is asked more than once; or it never does.
    pub(super) fn consult(&mut self, job: &AdviceJob) {
        let Some(action) = self.scenario.panel else { return };
        let advice = PlanAdvice {
            question: job.matter.question.clone(),
            consultation: None,
            source: "rules".to_owned(),
            action,
            reason: "so it is in this story".to_owned(),
            voices: Vec::new(),
            findings: Vec::new(),
            votes: 3,
            effective_votes: 1.5,
            turns_without: Default::default(),
            strategies: Vec::new(),
            canary_steps_pct: Vec::new(),
            bake_minutes: 0,
            cost_micro_usd: 0,
            took_ms: 1,
        };
        let report =
            AdviceReport { deployment: job.deployment.clone(), plan: job.matter.plan.digest(), advice };
        let delay = self.random.between(1, 3_000) + self.travel();
        self.later(delay, None, Happening::Advice(0, Box::new(report)));
    }

    /// Some replica journals what experts say; until one has, it is delivered again.
    pub(in crate::sim) fn hear_advice(&mut self, before: u64, report: Box<AdviceReport>) {
        if matches!(self.answers.get(&before), Some(Ok(_))) || self.is_over() {
            return;
        }
        let ticket = self.next_ticket();
        if let Some(index) = self.any_replica() {
            let id = report.deployment.clone();
            if !self.replicas[index].deployments.contains_key(&id) {
                self.adopt(index, &id);
            }
            self.tell(index, &id, Input::Asked(ticket, Ask::Advice(report.clone())));
        }
        self.later(AGAIN, None, Happening::Advice(ticket, report));
    }

    /// Any replica that is ready.
    pub(in crate::sim) fn any_replica(&mut self) -> Option<usize> {
        let ready: Vec<usize> =
            (0..self.replicas.len()).filter(|index| self.is_ready(Process::Replica(*index))).collect();
        if ready.is_empty() { None } else { Some(ready[self.random.below(ready.len())]) }
    }

    pub(in crate::sim) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }
}
