//! Processes die, are stopped, and come back.

use super::{Happening, Process, SILENCE, Simulation, Stream};

impl Simulation {
    /// Whether it is up, its incarnation, and until when it is stopped.
    pub(in crate::sim) fn life(&self, process: Process) -> (bool, u32, i64) {
        match process {
            Process::Replica(index) => {
                let replica = &self.replicas[index];
                (replica.up, replica.incarnation, replica.paused)
            }
            Process::Runner(index) => {
                let runner = &self.runners[index];
                (runner.up, runner.incarnation, runner.paused)
            }
        }
    }

    /// Ready to take something now.
    pub(in crate::sim) fn is_ready(&self, process: Process) -> bool {
        let (up, _, paused) = self.life(process);
        up && paused <= self.now
    }

    /// A point between two durable things: the process may die here, or be stopped and go on later. True: it died.
    pub(in crate::sim) fn point(&mut self, process: Process, what: &str) -> bool {
        if self.chaos.crashes > 0 && self.random.chance(self.chaos.crash) {
            self.chaos.crashes -= 1;
            self.note(format_args!("point {what}"));
            let back = if self.may_stay_away(process) && self.random.chance(30_000) {
                None
            } else {
                Some(self.random.between(500, 20_000))
            };
            self.kill(process, back);
            return true;
        }
        if self.chaos.pauses > 0 && self.random.chance(self.chaos.pause) {
            self.chaos.pauses -= 1;
            let span = self.random.between(1_000, 60_000);
            self.stop(process, span);
        }
        false
    }

    fn may_stay_away(&self, process: Process) -> bool {
        let others = |count: usize, of: fn(usize) -> Process, me: usize| {
            (0..count).filter(|index| *index != me).any(|index| {
                let (up, _, paused) = self.life(of(index));
                up && paused <= self.now
            })
        };
        match process {
            Process::Replica(me) => others(self.replicas.len(), Process::Replica, me),
            Process::Runner(me) => others(self.runners.len(), Process::Runner, me),
        }
    }

    fn stop(&mut self, process: Process, span: i64) {
        self.faults += 1;
        let until = self.now + span;
        match process {
            Process::Replica(index) => {
                self.replicas[index].paused = until;
                self.replicas[index].silent_since = self.now;
            }
            Process::Runner(index) => self.runners[index].paused = until,
        }
        self.note(format_args!("{process:?} is stopped for {span} ms"));
        self.listen_for_silence(process);
    }

    /// Kill -9: memory is gone, the disk stays.
    pub(in crate::sim) fn kill(&mut self, process: Process, back: Option<i64>) {
        if !self.life(process).0 {
            return;
        }
        // At least one of each kind comes back.
        let back = if self.may_stay_away(process) { back } else { back.or(Some(5_000)) };
        self.faults += 1;
        match process {
            Process::Replica(index) => self.replicas[index].die(self.now),
            Process::Runner(index) => self.runners[index].die(),
        }
        self.note(format_args!("{process:?} is killed, back in {back:?} ms"));
        if let Some(back) = back {
            self.later(back, None, Happening::Restart(process));
        }
        self.listen_for_silence(process);
    }

    fn listen_for_silence(&mut self, process: Process) {
        let Process::Replica(silent) = process else { return };
        for index in (0..self.replicas.len()).filter(|index| *index != silent) {
            let delay = SILENCE + self.random.between(10, 500);
            self.later(delay, Some(Process::Replica(index)), Happening::Silence(index));
        }
    }

    pub(in crate::sim) fn restart(&mut self, process: Process) {
        match process {
            Process::Runner(index) => self.runners[index].rise(self.chaos.planted),
            Process::Replica(index) => {
                self.replicas[index].rise(self.now);
                let (deployments, targets) = (self.deployments.head(), self.targets.head());
                let me = Some(process);
                self.later(1, me, Happening::Follow(index, Stream::Targets, targets));
                self.later(2, me, Happening::Follow(index, Stream::Deployments, deployments));
                self.later(3, me, Happening::Sweep(index));
                self.later(SILENCE + 100, me, Happening::Silence(index));
            }
        }
        self.note(format_args!("{process:?} is back"));
    }
}
