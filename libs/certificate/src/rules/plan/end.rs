//! What is left when all steps are done, held against the spec.

use std::collections::BTreeMap;

use model::{DeploymentSpec, Plan, StepKind, Token, plan::Revision, route::Weights, step::Stage};

/// What there is when the plan is done.
#[derive(Default)]
struct End<'a> {
    counts: BTreeMap<(&'a Token, Revision), u32>,
    traffic: BTreeMap<&'a Token, Weights>,
}

/// The release and nothing else.
pub(super) fn check(
    spec: &DeploymentSpec,
    before: Option<&DeploymentSpec>,
    plan: &Plan,
    lacks: &mut Vec<String>,
) {
    let mut end = End::default();
    for (before, module) in before.into_iter().flat_map(|spec| spec.modules.iter().map(move |it| (spec, it)))
    {
        end.counts.insert((&module.name, module.revision()), module.replicas);
        if before.is_routed(module) {
            end.traffic.insert(&module.name, Weights::all_to(module.revision()));
        }
    }
    for step in plan.steps.iter().filter(|step| step.stage != Stage::Rollback) {
        match &step.kind {
            StepKind::Scale { module, revision, count } => {
                end.counts.insert((module, revision.clone()), *count);
            }
            StepKind::SetWeight { module, weights, .. } => {
                end.traffic.insert(module, weights.clone());
            }
            StepKind::RollBatch { module, from, to, new_count, old_count, .. } => {
                end.counts.insert((module, from.clone()), *old_count);
                end.counts.insert((module, to.clone()), *new_count);
                if spec.module(module).is_some_and(|module| spec.is_routed(module)) {
                    end.traffic.insert(module, Weights::all_to(to.clone()));
                }
            }
            _ => {}
        }
    }
    end.counts.retain(|_, count| *count > 0);
    end.traffic.retain(|_, weights| !weights.0.is_empty());
    for module in &spec.modules {
        let (name, revision) = (&module.name, module.revision());
        if end.counts.remove(&(name, revision.clone())) != Some(module.replicas) {
            lacks.push(format!("the plan does not end with {} × {name} {revision}", module.replicas));
        }
        let asked = spec.is_routed(module).then(|| Weights::all_to(revision));
        if end.traffic.remove(name) != asked {
            let asked = asked.map_or_else(
                || format!("no traffic to {name}"),
                |asked| format!("traffic of {name} to {asked}"),
            );
            lacks.push(format!("the plan does not end with {asked}"));
        }
    }
    for (module, revision) in end.counts.keys() {
        lacks.push(format!("the plan leaves {module} {revision}, which the spec does not have"));
    }
    for module in end.traffic.keys() {
        lacks.push(format!("the plan leaves traffic to {module}, which the spec does not have"));
    }
}
