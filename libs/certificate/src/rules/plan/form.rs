//! What every plan is, whatever the spec asks for: its steps in the order in which they are done, each in a stage where it
//! belongs, of modules and revisions that are the release's or the one's before.

use std::collections::BTreeSet;

use model::{DeploymentSpec, Plan, Step, StepKind, Token, plan::Revision, step::Stage};

/// A plan that is none.
pub(super) fn check(
    spec: &DeploymentSpec,
    before: Option<&DeploymentSpec>,
    plan: &Plan,
    lacks: &mut Vec<String>,
) {
    let mut names = BTreeSet::new();
    for module in spec.modules.iter().filter(|module| !names.insert(&module.name)) {
        lacks.push(format!("the spec has two modules {}", module.name));
    }
    let mut ids = BTreeSet::new();
    let mut last = (Stage::Check, 0);
    for step in &plan.steps {
        if !ids.insert(&step.id) {
            lacks.push(format!("the plan has two steps {}", step.id));
        }
        let place = (step.stage, step.wave);
        if place.0 < last.0 || place.1 < last.1 {
            lacks.push(format!("step {} stands behind steps that are done after it", step.id));
        }
        last = place;
        if !belongs(spec, step) {
            lacks.push(format!("step {} does not belong into the stage {}", step.id, step.stage));
        }
        for (module, revision) in revisions(&step.kind) {
            let known = |spec: &DeploymentSpec| {
                spec.module(module).is_some_and(|module| module.revision() == *revision)
            };
            if !known(spec) && !before.is_some_and(known) {
                let text =
                    format!("step {} is about {module} {revision}, which neither release has", step.id);
                lacks.push(text);
            }
        }
    }
}

/// Only while it executes anything is changed; when it is promoted things are only taken away.
fn belongs(spec: &DeploymentSpec, step: &Step) -> bool {
    match (step.stage, &step.kind) {
        (Stage::Check, kind) => *kind == StepKind::Review,
        (Stage::Execute, kind) => !matches!(kind, StepKind::Review | StepKind::Validate | StepKind::Certify),
        (Stage::Verify, kind) => matches!(
            kind,
            StepKind::Validate | StepKind::Pause { .. } | StepKind::Guard { .. } | StepKind::Hook { .. }
        ),
        (Stage::Finish, StepKind::Scale { module, revision, count: 0 }) => {
            spec.module(module).is_none_or(|module| module.revision() != *revision)
        }
        (Stage::Finish, StepKind::SetWeight { module, weights, .. }) => {
            weights.0.is_empty() && !spec.module(module).is_some_and(|module| spec.is_routed(module))
        }
        (Stage::Finish, kind) => matches!(kind, StepKind::Hook { .. } | StepKind::Certify),
        (Stage::Rollback, _) => false,
    }
}

/// Every revision that a step is about.
fn revisions(kind: &StepKind) -> Vec<(&Token, &Revision)> {
    match kind {
        StepKind::Scale { module, revision, .. }
        | StepKind::Guard { module, revision }
        | StepKind::Smoke { module, revision } => vec![(module, revision)],
        StepKind::Analyse { module, revision, baseline, .. } => {
            [revision].into_iter().chain(baseline).map(|revision| (module, revision)).collect()
        }
        StepKind::SetWeight { module, weights, .. } => {
            weights.0.keys().map(|revision| (module, revision)).collect()
        }
        StepKind::RollBatch { module, from, to, .. } => vec![(module, from), (module, to)],
        StepKind::Review
        | StepKind::Pause { .. }
        | StepKind::Hook { .. }
        | StepKind::Validate
        | StepKind::Certify => Vec::new(),
    }
}
