//! What may not have happened on the way to a promotion. Nothing of it can be seen in what a certificate says: the order of
//! the journal shows it.

use model::{Digest, Event, Plan, deployment::Mode, spec::GateMode};

use crate::rules::Gap;

/// How far a deployment has come, and what of it no promotion may have.
#[derive(Default)]
pub(super) struct Course {
    plan: Option<Digest>,
    expected: Option<Digest>,
    /// The plan that the experts were told of.
    advised: Option<Digest>,
    began: bool,
    gaps: Vec<Gap>,
}

impl Course {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Received { expected_plan, .. } => self.expected.clone_from(expected_plan),
            Event::Planned { plan, .. } => self.planned(plan),
            Event::Advised { .. } => self.advised.clone_from(&self.plan),
            Event::ExecutionBegan { .. } => self.began = true,
            Event::RollbackBegan { .. } => self.add("cause", "it had begun to turn back"),
            Event::RolledBack {} => self.add("cause", "it had been rolled back"),
            Event::HumanNeeded { .. } => self.add("cause", "it had come to where a human must look"),
            _ => {}
        }
    }

    fn planned(&mut self, plan: &Plan) {
        let digest = plan.digest();
        if self.began && self.plan.as_ref() != Some(&digest) {
            self.add("plan", "it was planned anew when its execution had begun");
        }
        self.plan = Some(digest);
    }

    fn add(&mut self, field: &str, text: &str) {
        let gap = Gap { field: field.to_owned(), text: text.to_owned() };
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// In the order of the journal; then what the whole of it lacks.
    pub(super) fn gaps(&self, mode: Mode, gate: GateMode) -> Vec<Gap> {
        let mut gaps = self.gaps.clone();
        let mut add = |field: &str, text: String| gaps.push(Gap { field: field.to_owned(), text });
        if let Some(expected) =
            self.expected.as_ref().filter(|expected| self.plan.as_ref() != Some(*expected))
        {
            add("plan", format!("the plan is not the one that was asked for, {expected}"));
        }
        if mode == Mode::Apply
            && gate == GateMode::Require
            && self.advised.is_some()
            && self.advised != self.plan
        {
            add("experts.opinion", "the experts were told of an earlier plan".to_owned());
        }
        gaps
    }
}
