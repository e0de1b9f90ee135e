//! Whether the plan does what the spec asks for: every check, hook, test, share and wait of it stands there in its place,
//! no traffic moves otherwise, and what is left when all of it is done is the release and nothing else. How many instances
//! run in between is the planner's affair.

mod end;
mod form;
mod way;

use model::{
    DeploymentSpec, Plan, Step, StepKind,
    deployment::Mode,
    spec::{HookPoint, Module, Strategy},
    step::{Agent, Stage},
};

use super::{Gap, gap};
use way::Way;

/// What the plan lacks that the spec asks for, held against what ran before. Empty for every plan that the orchestrator
/// makes.
pub fn lacks(spec: &DeploymentSpec, before: Option<&DeploymentSpec>, mode: Mode, plan: &Plan) -> Vec<Gap> {
    let mut lacks = Vec::new();
    form::check(spec, before, plan, &mut lacks);
    every_check(mode, plan, &mut lacks);
    every_hook(spec, plan, &mut lacks);
    for module in &spec.modules {
        let old = before.and_then(|before| before.module(&module.name)).map(Module::revision);
        Way { spec, module, old, new: module.revision(), mode, plan }.lacks(&mut lacks);
    }
    if mode == Mode::Apply {
        hold(spec, before, plan, &mut lacks);
    }
    end::check(spec, before, plan, &mut lacks);
    lacks.into_iter().map(|text| gap("plan", text)).collect()
}

fn every_check(mode: Mode, plan: &Plan, lacks: &mut Vec<String>) {
    let reviews = [Agent::Architect, Agent::Integrator, Agent::Security].map(|agent| (agent, Stage::Check));
    let others = [Agent::Validator, Agent::Performance, Agent::Guardian].map(|agent| (agent, Stage::Verify));
    for (agent, stage) in reviews.into_iter().chain(others) {
        let kind = if stage == Stage::Check { StepKind::Review } else { StepKind::Validate };
        let is_asked = mode == Mode::Apply || agent == Agent::Validator;
        let is_there = |step: &Step| (step.agent, step.stage) == (agent, stage) && step.kind == kind;
        if is_asked && !plan.steps.iter().any(is_there) {
            let what = if stage == Stage::Check { "review" } else { "validation" };
            lacks.push(format!("the plan has no {what} by {agent}"));
        }
    }
}

fn every_hook(spec: &DeploymentSpec, plan: &Plan, lacks: &mut Vec<String>) {
    for (at, hook) in spec.hooks.iter().enumerate() {
        let stage = match hook.when {
            HookPoint::BeforeDeploy => Stage::Execute,
            HookPoint::BeforePromotion => Stage::Verify,
            HookPoint::AfterPromotion => Stage::Finish,
        };
        let kind = StepKind::Hook { index: at as u32 };
        // The id has the name, as far as there is room.
        let is_named = |step: &Step| {
            let what = step.describe();
            let shown = what.strip_prefix("hook ").unwrap_or_default();
            shown == hook.name.as_str()
                || (step.id.as_str().len() == 63 && hook.name.as_str().starts_with(shown))
        };
        if !plan.steps.iter().any(|step| step.stage == stage && step.kind == kind && is_named(step)) {
            lacks.push(format!("the plan has no hook {} in its place", hook.name));
        }
    }
}

/// The longest hold of a blue-green update, before the promotion.
fn hold(spec: &DeploymentSpec, before: Option<&DeploymentSpec>, plan: &Plan, lacks: &mut Vec<String>) {
    let updated = spec.modules.iter().filter(|module| {
        let old = before.and_then(|before| before.module(&module.name));
        old.is_some_and(|old| old.revision() != module.revision())
    });
    let holds = updated.filter_map(|module| match spec.strategy_of(module) {
        Strategy::BlueGreen(blue_green) => Some(blue_green.hold),
        Strategy::Canary(_) | Strategy::Rolling(_) | Strategy::Recreate {} => None,
    });
    let Some(longest) = holds.max().filter(|hold| !hold.0.is_zero()) else { return };
    let kind = StepKind::Pause { duration: Some(longest) };
    if !plan.steps.iter().any(|step| step.stage == Stage::Verify && step.kind == kind) {
        lacks.push(format!("the plan does not hold the old set for {longest}"));
    }
}
