//! What a release that is under way asks for at this moment: what its done steps have made of the release before it.
//!
//! A step that was begun and is not done may have done anything between nothing and all of it.

use std::collections::BTreeMap;

use model::{
    DeploymentSpec, Phase, StepKind, Token,
    asked::{Asked, Share, UnderWay},
    plan::Revision,
    route::Weights,
    step::Stage,
};

use super::state::Deployment;

/// None before it holds its target, and when it is over.
pub fn under_way(state: &Deployment) -> Option<UnderWay> {
    state.change.lock.filter(|_| (Phase::Locked..Phase::Decided).contains(&state.phase))?;
    let mut asked = Now::of(state.change.baseline.as_ref().map(|snapshot| &snapshot.spec));
    let turned = !state.retreat.steps.is_empty();
    for step in state.all_steps() {
        let stand = state.state_of(&step.id);
        // What the plan had begun when it turned back goes no further, and what it had not is not begun any more.
        let may_begin = step.stage == Stage::Rollback && turned;
        if stand.is_done() {
            asked.change(&state.spec, &step.kind, Said::Done);
        } else if stand.attempt > 0 || may_begin {
            asked.change(&state.spec, &step.kind, Said::Perhaps);
        }
    }
    Some(UnderWay {
        deployment: state.id.clone(),
        text: text(state, &asked),
        spec: Box::new(state.spec.clone()),
        asked: asked.0.into_values().filter(|asked| asked.most > 0).collect(),
    })
}

/// Whether a step has done what it does.
#[derive(Clone, Copy, PartialEq)]
enum Said {
    Done,
    Perhaps,
}

/// What is asked for after some of the steps.
struct Now(BTreeMap<(Token, Revision), Asked>);

impl Now {
    fn of(baseline: Option<&DeploymentSpec>) -> Now {
        let all = baseline.map(Asked::by).unwrap_or_default().into_iter();
        Now(all.map(|asked| ((asked.module.clone(), asked.revision.clone()), asked)).collect())
    }

    fn change(&mut self, spec: &DeploymentSpec, kind: &StepKind, said: Said) {
        match kind {
            StepKind::Scale { module, revision, count } => self.count(spec, (module, revision), *count, said),
            StepKind::RollBatch { module, from, to, new_count, old_count, .. } => {
                self.count(spec, (module, to), *new_count, said);
                self.count(spec, (module, from), *old_count, said);
                // In proportion to the healthy instances of the two, which change by themselves.
                let over = said == Said::Done && *old_count == 0;
                let share =
                    |percent| if over { Share::exactly(percent) } else { Share { least: 0, most: 100 } };
                self.share(module, to, share(100));
                self.share(module, from, share(0));
            }
            StepKind::SetWeight { module, weights, .. } => self.weigh(module, weights, said),
            StepKind::Review
            | StepKind::Pause { .. }
            | StepKind::Analyse { .. }
            | StepKind::Guard { .. }
            | StepKind::Smoke { .. }
            | StepKind::Hook { .. }
            | StepKind::Validate
            | StepKind::Certify => {}
        }
    }

    fn of_revision(&mut self, spec: &DeploymentSpec, module: &Token, revision: &Revision) -> &mut Asked {
        let is_routed = spec.module(module).is_some_and(|module| spec.is_routed(module));
        self.0.entry((module.clone(), revision.clone())).or_insert_with(|| Asked {
            module: module.clone(),
            revision: revision.clone(),
            least: 0,
            most: 0,
            traffic: is_routed.then_some(Share::exactly(0)),
        })
    }

    fn count(
        &mut self,
        spec: &DeploymentSpec,
        (module, revision): (&Token, &Revision),
        count: u32,
        said: Said,
    ) {
        let asked = self.of_revision(spec, module, revision);
        (asked.least, asked.most) = match said {
            Said::Done => (count, count),
            Said::Perhaps => (asked.least.min(count), asked.most.max(count)),
        };
    }

    fn share(&mut self, module: &Token, revision: &Revision, share: Share) {
        if let Some(asked) = self.0.get_mut(&(module.clone(), revision.clone())) {
            asked.traffic = asked.traffic.map(|_| share);
        }
    }

    fn weigh(&mut self, module: &Token, weights: &Weights, said: Said) {
        for ((name, revision), asked) in &mut self.0 {
            let Some(before) = asked.traffic.filter(|_| name == module) else { continue };
            let percent = weights.of(revision);
            asked.traffic = Some(match said {
                Said::Done => Share::exactly(percent),
                Said::Perhaps => Share { least: before.least.min(percent), most: before.most.max(percent) },
            });
        }
    }

    fn traffic(&self, module: &Token, revision: &Revision) -> Option<Share> {
        self.0.get(&(module.clone(), revision.clone()))?.traffic
    }
}

/// `a release is under way (dep-…): 25 % of web to 2.0.0`
fn text(state: &Deployment, asked: &Now) -> String {
    let what = match state.phase {
        Phase::RollingBack | Phase::RolledBack => "a release goes back",
        Phase::NeedsHuman => "a release waits for a person",
        Phase::Promoted => "a release is promoted and tidies up",
        _ => "a release is under way",
    };
    let changes = state.change.plan.iter().flat_map(|plan| &plan.changes);
    let moves = changes.filter_map(|change| {
        let to = change.to.as_ref().filter(|to| change.from.as_ref() != Some(to))?;
        let version = &state.spec.module(&change.module)?.version;
        let module = &change.module;
        Some(match asked.traffic(module, to) {
            None | Some(Share { most: 0, .. }) => format!("{module} {version} gets no traffic"),
            Some(Share { least, most }) if least == most => format!("{most} % of {module} to {version}"),
            Some(Share { least, most }) => format!("{least} to {most} % of {module} to {version}"),
        })
    });
    let moves: Vec<String> = moves.collect();
    let moves = if moves.is_empty() { "no revision changes".to_owned() } else { moves.join(", ") };
    format!("{what} ({}): {moves}", state.id)
}
