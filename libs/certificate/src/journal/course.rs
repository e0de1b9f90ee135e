//! What may not have happened on the way to a promotion. Nothing of it can be seen in what a certificate says: the order of
//! the journal shows it.

use std::collections::BTreeMap;

use model::{
    Digest, Event, Outcome, Plan, StepKind, Timestamp, Verdict,
    deployment::Mode,
    spec::GateMode,
    step::{Stage, StepResult},
};

use crate::rules::{Gap, SKEW};

/// The events between which the steps of a deployment are done, in the order in which they come.
const WAY: [&str; 5] = ["lock_awaited", "locked", "execution_began", "verification_began", "promoted"];
const WENT_ON: usize = 1;
const LOCKED: usize = 2;
const BEGAN: usize = 3;
const PROMOTED: usize = WAY.len();

/// How far a deployment has come, and what of it no promotion may have.
#[derive(Default)]
pub(super) struct Course<'a> {
    plan: Option<&'a Plan>,
    digest: Option<Digest>,
    expected: Option<&'a Digest>,
    /// Signatures are waited for.
    terms: bool,
    /// The plan that the experts were told of.
    advised: Option<Digest>,
    /// How many events of [`WAY`] came, each behind the one before.
    passed: usize,
    lock: u64,
    /// When each attempt was scheduled.
    scheduled: BTreeMap<(&'a str, u32), Timestamp>,
    promotes: bool,
    gaps: Vec<Gap>,
}

impl<'a> Course<'a> {
    pub(super) fn take(&mut self, event: &'a Event, at: Timestamp) {
        if at == Timestamp(0) {
            self.add("journal", "a record has no time".to_owned());
        }
        if let Some(place) = WAY.iter().position(|name| *name == event.name()) {
            self.pass(place);
        }
        match event {
            Event::Received { expected_plan, .. } => self.expected = expected_plan.as_ref(),
            Event::Planned { plan, .. } => self.planned(plan),
            Event::Advised { .. } => {
                if self.advised.is_some() || self.passed >= WENT_ON {
                    self.add("experts", "the experts were heard again, or too late".to_owned());
                }
                self.advised.clone_from(&self.digest);
            }
            Event::ApprovalAwaited { terms, .. } => {
                self.terms = terms.is_some();
                self.people("approvals were waited for");
            }
            Event::Approved { by, .. } | Event::Denied { by, .. } => self.people(&format!("{by} decided")),
            Event::Locked { token } => self.lock = *token,
            Event::PromoteRequested { .. } => self.promotes = true,
            Event::StepScheduled { step, attempt, fence, .. } => {
                self.scheduled(step.as_str(), *attempt, fence.lock, at)
            }
            Event::StepFinished { step, attempt, result, .. } => {
                self.finished(step.as_str(), *attempt, result, at)
            }
            Event::RollbackBegan { .. } => self.add("cause", "it had begun to turn back".to_owned()),
            Event::RolledBack {} => self.add("cause", "it had been rolled back".to_owned()),
            Event::HumanNeeded { .. } => {
                self.add("cause", "it had come to where a human must look".to_owned())
            }
            Event::Decided { verdict, cause } | Event::Closed { verdict, cause, .. }
                if *verdict != Verdict::Promoted || cause.is_some() =>
            {
                self.add("ending", "it was decided otherwise".to_owned());
            }
            _ => {}
        }
    }

    fn pass(&mut self, place: usize) {
        if self.passed == place {
            self.passed += 1;
        } else {
            self.add("journal", format!("{} is not in its place", WAY[place]));
        }
    }

    fn planned(&mut self, plan: &'a Plan) {
        let digest = plan.digest();
        if self.digest.as_ref() != Some(&digest) {
            if self.passed >= BEGAN {
                self.add("plan", "it was planned anew when its execution had begun".to_owned());
            } else if self.terms {
                self.add("plan", "it was planned anew when signatures were waited for".to_owned());
            }
        }
        (self.plan, self.digest) = (Some(plan), Some(digest));
    }

    /// People decide on a plan, before anything is done.
    fn people(&mut self, what: &str) {
        if self.digest.is_none() {
            self.add("approvals", format!("{what} before there was a plan"));
        } else if self.passed >= WENT_ON {
            self.add("approvals", format!("{what} when it had gone on"));
        }
    }

    /// A step of the plan in force, which is none of those that tidy up.
    fn known(&self, id: &str) -> Option<&'a model::Step> {
        let step = self.plan?.steps.iter().find(|step| step.id.as_str() == id)?;
        (!matches!(step.stage, Stage::Finish | Stage::Rollback)).then_some(step)
    }

    fn in_stage(&mut self, step: &model::Step) {
        let passed = match step.stage {
            Stage::Check => 0,
            Stage::Execute => BEGAN,
            Stage::Verify => BEGAN + 1,
            Stage::Finish | Stage::Rollback => PROMOTED,
        };
        if self.passed != passed {
            self.add("steps", format!("step {} was not done while it was time to {}", step.id, step.stage));
        }
    }

    fn scheduled(&mut self, id: &'a str, attempt: u32, lock: u64, at: Timestamp) {
        let Some(step) = self.known(id) else { return };
        self.in_stage(step);
        if self.passed >= LOCKED && lock != self.lock {
            self.add("steps", format!("step {id} was begun under another lock"));
        }
        if self.scheduled.insert((id, attempt), at).is_some() {
            self.add("steps", format!("step {id} was begun twice as attempt {attempt}"));
        }
    }

    fn finished(&mut self, id: &'a str, attempt: u32, result: &StepResult, at: Timestamp) {
        let Some(step) = self.known(id) else { return };
        self.in_stage(step);
        if result.outcome == Outcome::Failed {
            self.add("steps", format!("step {id} had failed"));
        }
        let began = self.scheduled.get(&(id, attempt));
        if let (StepKind::Pause { duration }, Some(began), None) = (&step.kind, began, &result.skipped_by)
            && !self.promotes
            && duration.is_none_or(|duration| at.since(*began) + SKEW < duration.0)
        {
            self.add("steps", format!("step {id} ended before its time, and nobody promoted it"));
        }
    }

    fn add(&mut self, field: &str, text: String) {
        let gap = Gap { field: field.to_owned(), text };
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// In the order of the journal; then what the whole of it lacks.
    pub(super) fn gaps(&self, mode: Mode, gate: GateMode) -> Vec<Gap> {
        let mut gaps = self.gaps.clone();
        let mut add = |field: &str, text: String| gaps.push(Gap { field: field.to_owned(), text });
        if let Some(missing) = WAY.get(self.passed) {
            add("journal", format!("{missing} is not there"));
        }
        let expected = self.expected.filter(|expected| self.digest.as_ref() != Some(*expected));
        if let Some(expected) = expected {
            add("plan", format!("the plan is not the one that was asked for, {expected}"));
        }
        let told = self.advised.is_none() || self.advised == self.digest;
        if mode == Mode::Apply && gate == GateMode::Require && !told {
            add("experts.opinion", "the experts were told of an earlier plan".to_owned());
        }
        gaps
    }
}
