//! The way back: the steps that return a target to its snapshot, from wherever the deployment stands.
//!
//! Traffic and the old instances come first and side by side, so that requests leave the bad revision as soon as any
//! old instance can take them; then the new instances go; then what runs is compared with the snapshot. A module that is
//! recreated goes the other way round, as it did on the way here: no two revisions of it may run at once, since the new
//! one may hold the only copy of its data.

use model::{
    DeploymentSpec, Plan, Step, StepKind,
    plan::{Change, ModuleChange, Snapshot},
    route::Weights,
    spec::{Module, Strategy},
    step::{Agent, Stage},
};

use super::compile::Steps;

/// Steps back for every module of the plan that changes. Modules that were not touched yet cost one look each.
pub fn way_back(spec: &DeploymentSpec, plan: &Plan, baseline: Option<&Snapshot>) -> Vec<Step> {
    let way = WayBack { spec, baseline };
    let mut steps = Steps::default();
    let (recreated, others): (Vec<_>, Vec<_>) =
        plan.changes.iter().rev().partition(|change| way.is_recreated(change));
    let mut wave = |kinds: Vec<Option<StepKind>>| {
        for kind in kinds.into_iter().flatten() {
            steps.push(Stage::Rollback, Agent::Deployer, kind, spec, None);
        }
        steps.next_wave();
    };

    let olds = |change: &&ModuleChange| [way.traffic_to_old(change), way.old_instances(change)];
    let stop = recreated.iter().map(|change| way.no_traffic(change));
    wave(others.iter().flat_map(olds).chain(stop).collect());
    wave(others.iter().chain(&recreated).map(|change| way.no_new_instances(change)).collect());
    if !recreated.is_empty() {
        wave(recreated.iter().flat_map(olds).collect());
    }

    steps.push(Stage::Rollback, Agent::Validator, StepKind::Validate, spec, None);
    steps.done
}

struct WayBack<'a> {
    spec: &'a DeploymentSpec,
    baseline: Option<&'a Snapshot>,
}

impl WayBack<'_> {
    fn is_recreated(&self, change: &ModuleChange) -> bool {
        let recreates = |module| matches!(self.spec.strategy_of(module), Strategy::Recreate {});
        change.change == Change::Update && self.spec.module(&change.module).is_some_and(recreates)
    }

    /// The module as it was, and as it was to become.
    fn modules(&self, change: &ModuleChange) -> (Option<&Module>, Option<&Module>) {
        let old = self.baseline.and_then(|snapshot| snapshot.spec.module(&change.module));
        (old, self.spec.module(&change.module))
    }

    fn is_routed(&self, module: Option<&Module>) -> bool {
        module.is_some_and(|module| self.spec.is_routed(module))
    }

    /// Also where the revision stayed and only the way to it changed, such as its port.
    fn traffic_to_old(&self, change: &ModuleChange) -> Option<StepKind> {
        let (old, new) = self.modules(change);
        let is_moved = match change.change {
            Change::Keep => false,
            Change::Scale => old.map(|old| &old.expose) != new.map(|new| &new.expose),
            Change::Create | Change::Update | Change::Remove => true,
        };
        let back_to = change.from.clone().filter(|_| self.is_routed(old));
        let weights = back_to.map(Weights::all_to).unwrap_or_default();
        let (module, is_routed) = (change.module.clone(), self.is_routed(old) || self.is_routed(new));
        (is_moved && is_routed).then_some(StepKind::SetWeight { module, weights, verify: false })
    }

    fn no_traffic(&self, change: &ModuleChange) -> Option<StepKind> {
        let (old, new) = self.modules(change);
        let (module, weights) = (change.module.clone(), Weights::default());
        self.is_routed(old.or(new)).then_some(StepKind::SetWeight { module, weights, verify: false })
    }

    fn old_instances(&self, change: &ModuleChange) -> Option<StepKind> {
        let old = self.baseline.and_then(|snapshot| snapshot.spec.module(&change.module))?;
        let revision = change.from.clone()?;
        Some(StepKind::Scale { module: change.module.clone(), revision, count: old.replicas })
    }

    fn no_new_instances(&self, change: &ModuleChange) -> Option<StepKind> {
        let new = change.to.clone().filter(|to| change.from.as_ref() != Some(to))?;
        Some(StepKind::Scale { module: change.module.clone(), revision: new, count: 0 })
    }
}
