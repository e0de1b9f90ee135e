//! What a replica does because of others: it claims from the silent, looks at everything, journals a person's command.

use model::{
    DeploymentId, Record, ReplicaId,
    command::Command,
    expert::{AdviceJob, AdviceReport, PlanAdvice},
};
use orchestrator::heart::{decide, state::Deployment, target::Wish};

use super::{Happening, Process, REPLICAS, SILENCE, SWEEP, Simulation, Then, Todo};

impl Simulation {
    /// Claims what belongs to replicas that were silent for too long; `deaf` believes that of all others.
    pub(in crate::sim) fn claim_from_the_silent(&mut self, index: usize, deaf: bool) {
        if !deaf && self.now - self.replicas[index].since < SILENCE {
            return;
        }
        let me = self.replicas[index].name.clone();
        let orphans: Vec<DeploymentId> = self.replicas[index]
            .deployments
            .values()
            .filter(|state| !state.is_closed())
            .filter(|state| {
                state.owner.as_ref().is_some_and(|owner| *owner != me && (deaf || self.is_silent(owner)))
            })
            .map(|state| state.id.clone())
            .collect();
        for id in orphans {
            self.add(index, Todo::Claim(id));
        }
    }

    fn is_silent(&self, owner: &ReplicaId) -> bool {
        !self.replicas.iter().filter(|replica| replica.name == *owner).any(|replica| {
            let speaks = replica.up && replica.paused <= self.now;
            speaks || self.now - replica.silent_since < SILENCE
        })
    }

    pub(in crate::sim) fn claim(&mut self, index: usize, id: &DeploymentId) {
        let me = self.replicas[index].name.clone();
        let Some(state) = self.replicas[index].deployments.get(id) else { return };
        let events = decide::claim(state, &me);
        if !events.is_empty() {
            self.note(format_args!("replica {index} claims {id}"));
            self.decide(index, id, events, Then::Turn);
        }
    }

    /// Looks at everything: liveness does not depend on any single message.
    pub(in crate::sim) fn sweep(&mut self, index: usize) {
        if self.is_over() {
            return;
        }
        let ids: Vec<String> = self.deployments.ids().cloned().collect();
        for id in ids {
            let id: DeploymentId = id.parse().expect("an id");
            let head = self.deployments.last(id.as_str()).map_or(0, |last| last.record.version);
            if self.replicas[index].deployments.get(&id).is_none_or(|state| state.version < head) {
                self.reload(index, &id);
            }
            self.turn_soon(index, &id);
        }
        self.claim_from_the_silent(index, false);
        // Locks and places of deployments that are over are given back.
        let target = self.target_now();
        for id in target.holder.iter().map(|(holder, _)| holder).chain(&target.queue) {
            if self.replicas[index].deployments.get(id).is_some_and(Deployment::is_closed) {
                self.wish(index, &Wish::Leave(id.clone()));
            }
        }
        self.later(SWEEP, Some(Process::Replica(index)), Happening::Sweep(index));
    }

    /// A person's command at this replica, decided on the journal as it is. None: the replica or the race was lost, ask
    /// again; Some(false): refused.
    pub(in crate::sim) fn command(&mut self, index: usize, command: &Command) -> Option<bool> {
        let id = &command.deployment;
        self.reload(index, id);
        let decided =
            self.with_context(index, id, |state, context| decide::on_command(state, command, context))?;
        let events = match decided {
            Ok(events) if events.is_empty() => return Some(true),
            Ok(events) => events,
            Err(fault) => {
                self.note(format_args!("refused: {fault}"));
                return Some(false);
            }
        };
        let state = self.replicas[index].deployments.get(id)?;
        let record = Record {
            id: id.to_string(),
            version: state.version + 1,
            writer: self.replicas[index].name.to_string(),
            at: self.clock(index),
            trace: None,
            events,
        };
        let seq = state.seq;
        self.append(record, seq, index).ok().map(|_| true)
    }

    /// The panel answers after a while, more than once if it is asked more than once; or it never does.
    pub(in crate::sim) fn consult(&mut self, job: &AdviceJob) {
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
        self.later(delay, None, Happening::Advice(Box::new(report)));
    }

    /// Some replica journals what experts say; until one has, it is delivered again.
    pub(in crate::sim) fn hear_advice(&mut self, report: Box<AdviceReport>) {
        let journalled = self.any_replica().is_some_and(|index| self.journal_advice(index, &report));
        if !journalled && !self.is_over() {
            let delay = self.random.between(1_000, 5_000);
            self.later(delay, None, Happening::Advice(report));
        }
    }

    fn journal_advice(&mut self, index: usize, report: &AdviceReport) -> bool {
        self.reload(index, &report.deployment);
        let Some(state) = self.replicas[index].deployments.get(&report.deployment) else { return false };
        let events = decide::on_advice(state, report);
        if events.is_empty() {
            return true;
        }
        let record = Record {
            id: report.deployment.to_string(),
            version: state.version + 1,
            writer: self.replicas[index].name.to_string(),
            at: self.clock(index),
            trace: None,
            events,
        };
        let seq = state.seq;
        self.append(record, seq, index).is_ok()
    }

    /// Any replica that is ready.
    pub(in crate::sim) fn any_replica(&mut self) -> Option<usize> {
        let ready: Vec<usize> =
            (0..REPLICAS).filter(|index| self.is_ready(Process::Replica(*index))).collect();
        if ready.is_empty() { None } else { Some(ready[self.random.below(ready.len())]) }
    }
}
