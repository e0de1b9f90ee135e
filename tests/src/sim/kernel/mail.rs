//! Jobs and reports under way: once, twice, late, and again when whoever had them is silent.

use model::deployment::{StepJob, StepReport};

use super::{Happening, Lane, Process, REPLICAS, Simulation};

/// How long a queue waits for word from a consumer, in milliseconds.
const ACK_WAIT: i64 = 30_000;

impl Simulation {
    /// Sends a job, unless the window remembers its id.
    pub(in crate::sim) fn send(&mut self, job: StepJob) {
        let message_id = format!("{}-{}-{}", job.idem_key, job.attempt, job.fence);
        let Some(number) = self.jobs.publish(job.clone(), &message_id, self.now) else { return };
        let delay = self.travel();
        self.later(delay, None, Happening::Deliver(Lane::Jobs, number));
        if self.random.chance(self.chaos.duplicate) {
            let (again, delay) = (self.jobs.put(job), self.random.between(1, 120_000));
            self.faults += 1;
            self.later(delay, None, Happening::Deliver(Lane::Jobs, again));
        }
    }

    /// Sends a report; a runner's own id makes repeats of the same run of the same attempt one message.
    pub(in crate::sim) fn report(&mut self, report: StepReport, message_id: &str) {
        let Some(number) = self.reports.publish(report.clone(), message_id, self.now) else { return };
        let delay = self.travel();
        self.later(delay, None, Happening::Deliver(Lane::Reports, number));
        if self.random.chance(self.chaos.duplicate) {
            let (again, delay) = (self.reports.put(report), self.random.between(1, 120_000));
            self.faults += 1;
            self.later(delay, None, Happening::Deliver(Lane::Reports, again));
        }
    }

    pub(in crate::sim) fn deliver(&mut self, lane: Lane, number: u64) {
        let with = match lane {
            Lane::Jobs => self.jobs.open(number).map(|message| message.with),
            Lane::Reports => self.reports.open(number).map(|message| message.with),
        };
        let Some(with) = with else { return };
        if let Some((index, incarnation, until)) = with {
            // Whoever works says so; silence for the whole wait hands the message to another.
            let process = lane.process(index);
            let works = self.life(process).1 == incarnation
                && self.is_ready(process)
                && match lane {
                    Lane::Jobs => self.runners[index].tasks.contains_key(&number),
                    Lane::Reports => self.replicas[index].works_on(number),
                };
            if works || until > self.now {
                return self.later(
                    if works { ACK_WAIT } else { until - self.now },
                    None,
                    Happening::Deliver(lane, number),
                );
            }
        }
        let count = if lane == Lane::Jobs { self.runners.len() } else { REPLICAS };
        let ready: Vec<usize> = (0..count).filter(|index| self.is_ready(lane.process(*index))).collect();
        if ready.is_empty() {
            return self.later(500, None, Happening::Deliver(lane, number));
        }
        let index = ready[self.random.below(ready.len())];
        let with = Some((index, self.life(lane.process(index)).1, self.now + ACK_WAIT));
        match lane {
            Lane::Jobs => {
                let Some(message) = self.jobs.open(number) else { return };
                message.with = with;
                let job = message.payload.clone();
                self.take(index, number, job);
            }
            Lane::Reports => {
                let Some(message) = self.reports.open(number) else { return };
                message.with = with;
                let report = message.payload.clone();
                self.hear_report(index, number, report);
            }
        }
        self.later(ACK_WAIT + 1, None, Happening::Deliver(lane, number));
    }
}

impl Lane {
    fn process(self, index: usize) -> Process {
        match self {
            Lane::Jobs => Process::Runner(index),
            Lane::Reports => Process::Replica(index),
        }
    }
}
