//! What a task does next, from what is: every kind of step looks first and is finished when nothing is left to do.

use model::{
    Outcome, StepKind, Token,
    plan::Revision,
    route::Weights,
    spec::DeploymentSpec,
    step::{Stage, StepResult},
};

use super::{Task, judged};
use crate::sim::{
    Simulation,
    world::{Flaw, Write},
};

/// What is next.
pub(super) enum Next {
    /// Look again soon.
    Wait,
    /// Look again after so many milliseconds.
    Later(i64),
    /// Make this write.
    Write(Write),
    /// It ended.
    Done(StepResult),
}

fn done() -> Next {
    Next::Done(StepResult::new(Outcome::Succeeded, "as asked"))
}

impl Simulation {
    pub(super) fn next(&mut self, task: &mut Task) -> Next {
        let job = &task.job;
        match job.step.kind.clone() {
            StepKind::Scale { module, revision, count } => self.next_scale(&module, &revision, count),
            StepKind::SetWeight { module, weights, verify } => {
                self.next_weight(task, &module, weights, verify)
            }
            StepKind::RollBatch { module, from, to, new_count, old_count, max_total, min_healthy } => {
                let routed = job.spec.module(&module).is_some_and(|module| module.expose.is_some());
                let batch = Batch { module, from, to, new_count, old_count, max_total, min_healthy, routed };
                self.next_batch(&batch)
            }
            StepKind::Analyse { module, revision, analysis, background, .. } => {
                let full = job.extend.map_or(analysis.duration.0, |extend| analysis.duration.0 + extend.0);
                let elapsed = self.now - task.began;
                let over = if background { task.finish } else { elapsed >= full.as_millis() as i64 };
                self.next_analysis(&module, &revision, background, over)
            }
            StepKind::Smoke { module, revision } => {
                if self.world.healthy(&module, &revision) == 0 {
                    return Next::Wait;
                }
                match self.world.flaws_of(&module, &revision).any(|flaw| *flaw == Flaw::Smoke) {
                    true => Next::Done(judged("smoke", Outcome::Failed, 500.0)),
                    false => Next::Done(judged("smoke", Outcome::Succeeded, 200.0)),
                }
            }
            StepKind::Guard { module, revision } => self.next_guard(task, &module, &revision),
            StepKind::Hook { index } => self.next_hook(task, index),
            StepKind::Validate => self.validate(task),
            StepKind::Review | StepKind::Certify => done(),
            StepKind::Pause { .. } => {
                self.violate("intent", crate::sim::Harm::Wrong, "a pause was sent to a runner");
                done()
            }
        }
    }

    fn next_scale(&self, module: &Token, revision: &Revision, count: u32) -> Next {
        let live = self.world.live(module, revision);
        if live < count {
            let slot = self.world.free_slot(module, revision);
            return Next::Write(Write::Start((module.clone(), revision.clone(), slot)));
        }
        if live > count {
            let last = self.world.slots(module, revision).next_back().map(|(slot, _)| slot);
            return last.map_or(Next::Wait, |slot| {
                Next::Write(Write::Stop((module.clone(), revision.clone(), slot)))
            });
        }
        if self.world.healthy(module, revision) == count { done() } else { Next::Wait }
    }

    /// Only what healthy instances can carry (W1); on the way back as soon as one can take requests (W2).
    fn next_weight(&self, task: &mut Task, module: &Token, weights: Weights, verify: bool) -> Next {
        let back = task.job.step.stage == Stage::Rollback;
        let carried = weights.0.iter().all(|(revision, share)| {
            let needed = if back { 1 } else { self.world.needed(module, revision, *share) };
            self.world.healthy(module, revision) >= needed
        });
        if !carried {
            return Next::Wait;
        }
        let route = self.world.route(module);
        if route.weights != weights {
            return Next::Write(Write::Route(module.clone(), weights, route.version));
        }
        if verify && task.looks > 0 {
            task.looks -= 1;
            return Next::Wait;
        }
        done()
    }

    fn next_batch(&self, batch: &Batch) -> Next {
        let (new, old) =
            (self.world.live(&batch.module, &batch.to), self.world.live(&batch.module, &batch.from));
        let (new_well, old_well) =
            (self.world.healthy(&batch.module, &batch.to), self.world.healthy(&batch.module, &batch.from));
        let route = self.world.route(&batch.module);
        if new < batch.new_count && new + old < batch.max_total {
            let slot = self.world.free_slot(&batch.module, &batch.to);
            return Next::Write(Write::Start((batch.module.clone(), batch.to.clone(), slot)));
        }
        if old > batch.old_count && new_well + old_well > batch.min_healthy {
            // Traffic leaves before the instance does.
            let shares = batch.shares(new_well, old_well.saturating_sub(1));
            if batch.routed && route.weights != shares {
                return Next::Write(Write::Route(batch.module.clone(), shares, route.version));
            }
            let last = self.world.slots(&batch.module, &batch.from).next_back().map(|(slot, _)| slot);
            let stop = |slot| Next::Write(Write::Stop((batch.module.clone(), batch.from.clone(), slot)));
            return last.map_or(Next::Wait, stop);
        }
        let shares = batch.shares(new_well, old_well);
        if batch.routed && route.weights != shares && new_well + old_well > 0 {
            return Next::Write(Write::Route(batch.module.clone(), shares, route.version));
        }
        if new_well == batch.new_count && old == batch.old_count { done() } else { Next::Wait }
    }

    fn next_analysis(&self, module: &Token, revision: &Revision, background: bool, over: bool) -> Next {
        let share = self.world.route(module).weights.of(revision);
        for flaw in self.world.flaws_of(module, revision) {
            match flaw {
                Flaw::Analysis(from) if !background && share >= *from && over => {
                    return Next::Done(judged("error-rate", Outcome::Failed, 0.4));
                }
                Flaw::Background(from) if background && share >= *from => {
                    return Next::Done(judged("error-rate", Outcome::Failed, 0.4));
                }
                Flaw::Inconclusive if over => {
                    return Next::Done(judged("error-rate", Outcome::Inconclusive, 0.0));
                }
                _ => {}
            }
        }
        if over { Next::Done(judged("error-rate", Outcome::Succeeded, 0.001)) } else { Next::Later(500) }
    }

    /// What was well and died is found at the next look.
    fn next_guard(&self, task: &Task, module: &Token, revision: &Revision) -> Next {
        let dead = self.world.slots(module, revision).filter(|(_, instance)| instance.dead).count();
        match (dead, task.finish) {
            (0, true) => Next::Done(judged("trial", Outcome::Succeeded, 0.0)),
            (0, false) => Next::Later(1_000),
            (dead, _) => Next::Done(judged("trial", Outcome::Failed, dead as f64)),
        }
    }

    /// A hook runs once it has taken its time; it runs again when the runner died meanwhile.
    fn next_hook(&self, task: &mut Task, index: u32) -> Next {
        if task.looks == 0 {
            return done();
        }
        let long = task
            .job
            .spec
            .hooks
            .get(index as usize)
            .is_some_and(|hook| hook.command.iter().any(|word| word == "sleep"));
        if self.now - task.began < if long { 300_000 } else { 50 } {
            return Next::Later(if long { 10_000 } else { 60 });
        }
        task.looks = 0;
        Next::Write(Write::Hook(index))
    }

    /// Compares what runs with what should: the new release before it is promoted, the old one on the way back.
    fn validate(&self, task: &Task) -> Next {
        let back = task.job.step.stage == Stage::Rollback;
        let (should, other) = match back {
            true => (task.job.baseline.as_deref(), Some(&*task.job.spec)),
            false => (Some(&*task.job.spec), None),
        };
        let complaint = should.and_then(|spec| self.complaint(spec)).or_else(|| {
            let stray = |module: &&model::spec::Module| {
                let kept = should.and_then(|spec| spec.module(&module.name)).map(|module| module.revision());
                kept.as_ref() != Some(&module.revision())
                    && self.world.live(&module.name, &module.revision()) > 0
            };
            other?
                .modules
                .iter()
                .find(stray)
                .map(|module| format!("{} of the new release still runs", module.name))
        });
        match complaint {
            None => Next::Done(judged("running", Outcome::Succeeded, 0.0)),
            Some(complaint) => Next::Done(judged(&complaint, Outcome::Failed, 1.0)),
        }
    }

    /// What does not run as the spec says.
    pub(in crate::sim) fn complaint(&self, spec: &DeploymentSpec) -> Option<String> {
        spec.modules.iter().find_map(|module| {
            let (revision, well) = (module.revision(), self.world.healthy(&module.name, &module.revision()));
            if well != module.replicas {
                return Some(format!(
                    "{well} of {} instances of {} {revision} are well",
                    module.replicas, module.name
                ));
            }
            let weights = self.world.route(&module.name).weights;
            let right = module.expose.is_none() || weights == Weights::all_to(revision.clone());
            (!right).then(|| format!("traffic of {} goes to {weights}, not to {revision}", module.name))
        })
    }
}

struct Batch {
    module: Token,
    from: Revision,
    to: Revision,
    new_count: u32,
    old_count: u32,
    max_total: u32,
    min_healthy: u32,
    routed: bool,
}

impl Batch {
    /// Traffic in proportion to healthy instances.
    fn shares(&self, new: u32, old: u32) -> Weights {
        let share = (100 * new).checked_div(new + old).unwrap_or(0).min(100) as u8;
        Weights::split(self.to.clone(), share, self.from.clone())
    }
}
