//! Whether the plan does what the spec asks for: every check, hook, test, share and wait of it stands there, and what is
//! left when all of it is done is the release and nothing else. How many instances run in between is the planner's affair.

use std::collections::BTreeMap;

use model::{
    DeploymentSpec, Plan, Span, Step, StepKind, Token,
    deployment::Mode,
    plan::Revision,
    route::Weights,
    spec::{Analysis, BlueGreen, Canary, CanaryStep, HookPoint, Module, Strategy},
    step::{Agent, Stage},
};

use super::{Gap, gap};

/// What the plan lacks that the spec asks for, held against what ran before. Empty for every plan that the orchestrator
/// makes.
pub fn lacks(spec: &DeploymentSpec, before: Option<&DeploymentSpec>, mode: Mode, plan: &Plan) -> Vec<Gap> {
    let mut lacks = Vec::new();
    every_check(mode, plan, &mut lacks);
    every_hook(spec, plan, &mut lacks);
    if mode == Mode::Apply {
        for module in &spec.modules {
            let old = before.and_then(|before| before.module(&module.name)).map(Module::revision);
            Way { spec, module, old, plan }.lacks(&mut lacks);
        }
        hold(spec, before, plan, &mut lacks);
    }
    end(spec, before, plan, &mut lacks);
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
        if !plan.steps.iter().any(|step| step.stage == stage && step.kind == kind) {
            lacks.push(format!("the plan has no hook {} in its place", hook.name));
        }
    }
}

/// How a module comes to its revision.
struct Way<'a> {
    spec: &'a DeploymentSpec,
    module: &'a Module,
    old: Option<Revision>,
    plan: &'a Plan,
}

/// Something that a strategy asks for, in its order.
enum Asked<'a> {
    Share(Weights),
    Wait(Option<Span>),
    Judge(&'a Analysis),
}

impl Way<'_> {
    fn lacks(&self, lacks: &mut Vec<String>) {
        let (name, new) = (&self.module.name, self.module.revision());
        if self.old.as_ref() == Some(&new) {
            return;
        }
        let strategy = self.old.is_some().then(|| self.spec.strategy_of(self.module));
        let steps = self.plan.steps.iter().filter(|step| step.stage == Stage::Execute);
        let mut missing =
            |what: &str, more: &str| lacks.push(format!("the plan has no {what} of {name}{more}"));
        if !self.module.smoke.is_empty() {
            let gets_traffic = |step: &&Step| matches!(&step.kind, StepKind::SetWeight { module, weights, .. } if module == name && weights.of(&new) > 0);
            let mut before = steps.clone().take_while(|step| !gets_traffic(step));
            if !before.any(|step| {
                matches!(&step.kind, StepKind::Smoke { module, revision } if module == name && *revision == new)
            }) {
                missing("smoke test", " before the traffic");
            }
        }
        let watched = match strategy {
            None | Some(Strategy::Recreate {}) => None,
            Some(Strategy::Canary(canary)) if !canary.steps.iter().any(is_share) => None,
            Some(_) => self.module.analysis.as_ref(),
        };
        if let Some(analysis) = watched
            && !steps.clone().any(|step| self.is_judged(step, &new, analysis, true))
        {
            missing("analysis", " in the background");
        }
        let guarded = matches!(strategy, Some(Strategy::Canary(_) | Strategy::BlueGreen(_)));
        let guard = StepKind::Guard { module: name.clone(), revision: new.clone() };
        if guarded && !steps.clone().any(|step| step.kind == guard) {
            missing("guard", "");
        }
        let asked = match strategy {
            Some(Strategy::Canary(canary)) => self.canary(canary, &new),
            Some(Strategy::BlueGreen(blue_green)) => self.blue_green(blue_green, &new),
            Some(Strategy::Rolling(_) | Strategy::Recreate {}) | None => Vec::new(),
        };
        let mut rest = steps;
        for one in &asked {
            if !rest.any(|step| self.is_asked(step, one, &new)) {
                return match one {
                    Asked::Share(weights) => missing("traffic", &format!(" to {weights} in its place")),
                    Asked::Wait(Some(span)) => missing(&format!("pause of {span}"), " in its place"),
                    Asked::Wait(None) => missing("wait for promote", " in its place"),
                    Asked::Judge(_) => missing("analysis", " in its place"),
                };
            }
        }
    }

    fn share(&self, weights: Weights) -> Option<Asked<'static>> {
        self.spec.is_routed(self.module).then_some(Asked::Share(weights))
    }

    fn canary<'a>(&self, canary: &'a Canary, new: &Revision) -> Vec<Asked<'a>> {
        let old = self.old.as_ref().unwrap_or(new);
        let step = |step: &'a CanaryStep| match step {
            CanaryStep::SetWeight(share) => self.share(Weights::split(new.clone(), *share, old.clone())),
            CanaryStep::Pause { duration } => Some(Asked::Wait(*duration)),
            CanaryStep::Analysis(analysis) => Some(Asked::Judge(analysis)),
        };
        canary.steps.iter().filter_map(step).chain(self.share(Weights::all_to(new.clone()))).collect()
    }

    fn blue_green<'a>(&self, blue_green: &'a BlueGreen, new: &Revision) -> Vec<Asked<'a>> {
        let first = blue_green.pre_promotion.iter().map(Asked::Judge);
        let wait = (!blue_green.auto_promote).then_some(Asked::Wait(None));
        let switch = self.share(Weights::all_to(new.clone()));
        first.chain(wait).chain(switch).chain(blue_green.post_promotion.iter().map(Asked::Judge)).collect()
    }

    fn is_asked(&self, step: &Step, asked: &Asked<'_>, new: &Revision) -> bool {
        match (asked, &step.kind) {
            (Asked::Share(asked), StepKind::SetWeight { module, weights, verify }) => {
                // What no client asks cannot be counted.
                *module == self.module.name && weights == asked && *verify == self.module.expose.is_some()
            }
            (Asked::Wait(asked), StepKind::Pause { duration }) => duration == asked,
            (Asked::Judge(analysis), StepKind::Analyse { .. }) => self.is_judged(step, new, analysis, false),
            _ => false,
        }
    }

    fn is_judged(&self, step: &Step, new: &Revision, asked: &Analysis, behind: bool) -> bool {
        matches!(&step.kind, StepKind::Analyse { module, revision, baseline, analysis, background }
            if *module == self.module.name && revision == new && *baseline == self.old && analysis == asked && *background == behind)
    }
}

fn is_share(step: &CanaryStep) -> bool {
    matches!(step, CanaryStep::SetWeight(share) if *share > 0)
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

/// What there is when the plan is done.
#[derive(Default)]
struct End<'a> {
    counts: BTreeMap<(&'a Token, Revision), u32>,
    traffic: BTreeMap<&'a Token, Weights>,
}

fn end(spec: &DeploymentSpec, before: Option<&DeploymentSpec>, plan: &Plan, lacks: &mut Vec<String>) {
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
