//! The way back: the steps that return a target to its snapshot, from wherever the deployment stands.
//!
//! Traffic and the old instances come first and side by side, so that requests leave the bad revision as soon as any
//! old instance can take them; then the new instances go; then what runs is compared with the snapshot.

use model::{
    DeploymentSpec, Plan, Step, StepKind,
    plan::{Change, Snapshot},
    route::Weights,
    step::{Agent, Stage},
};

use super::compile::Steps;

/// Steps back for every module of the plan that changes. Modules that were not touched yet cost one look each.
pub fn way_back(spec: &DeploymentSpec, plan: &Plan, baseline: Option<&Snapshot>) -> Vec<Step> {
    let mut steps = Steps::default();
    let back = |steps: &mut Steps, agent, kind| steps.push(Stage::Rollback, agent, kind, spec, None);

    for change in plan.changes.iter().rev() {
        let module = &change.module;
        let old = baseline.and_then(|snapshot| snapshot.spec.module(module));
        let exposed = old.or(spec.module(module)).is_some_and(|module| module.expose.is_some());
        let weights = change.from.clone().map(Weights::all_to).unwrap_or_default();
        if exposed && !matches!(change.change, Change::Scale | Change::Keep) {
            let kind = StepKind::SetWeight { module: module.clone(), weights, verify: false };
            back(&mut steps, Agent::Deployer, kind);
        }
        if let (Some(from), Some(old)) = (&change.from, old) {
            let kind =
                StepKind::Scale { module: module.clone(), revision: from.clone(), count: old.replicas };
            back(&mut steps, Agent::Deployer, kind);
        }
    }
    steps.next_wave();

    for change in plan.changes.iter().rev() {
        if let Some(to) = change.to.as_ref().filter(|to| change.from.as_ref() != Some(to)) {
            let kind = StepKind::Scale { module: change.module.clone(), revision: to.clone(), count: 0 };
            back(&mut steps, Agent::Deployer, kind);
        }
    }
    steps.next_wave();

    back(&mut steps, Agent::Validator, StepKind::Validate);
    steps.done
}
