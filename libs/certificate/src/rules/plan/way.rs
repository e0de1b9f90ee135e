//! How a module comes to its revision: what its strategy asks for stands in the plan, in its order, and its traffic moves in
//! no other way.

use model::{
    DeploymentSpec, Plan, Span, Step, StepKind,
    deployment::Mode,
    plan::Revision,
    route::Weights,
    spec::{Analysis, BlueGreen, Canary, CanaryStep, Module, Strategy},
    step::Stage,
};

/// One module and the plan.
pub(super) struct Way<'a> {
    pub(super) spec: &'a DeploymentSpec,
    pub(super) module: &'a Module,
    pub(super) old: Option<Revision>,
    pub(super) new: Revision,
    pub(super) mode: Mode,
    pub(super) plan: &'a Plan,
}

/// Something that a strategy asks for, in its order.
enum Asked<'a> {
    /// Traffic, and whether it is counted.
    Share(Weights, bool),
    Wait(Option<Span>),
    Judge(&'a Analysis),
}

impl<'a> Way<'a> {
    pub(super) fn lacks(&self, lacks: &mut Vec<String>) {
        let name = &self.module.name;
        if self.mode == Mode::Apply && self.old.as_ref() != Some(&self.new) {
            self.tests(lacks);
            self.watches(lacks);
        }
        let asked = self.asked();
        let mut rest = self.executed();
        for one in &asked {
            if !rest.any(|step| self.is_asked(step, one)) {
                lacks.push(match one {
                    Asked::Share(weights, _) if weights.0.is_empty() => {
                        format!("the plan has no end of the traffic of {name} in its place")
                    }
                    Asked::Share(weights, _) => {
                        format!("the plan has no traffic of {name} to {weights} in its place")
                    }
                    Asked::Wait(Some(span)) => {
                        format!("the plan has no pause of {span} of {name} in its place")
                    }
                    Asked::Wait(None) => format!("the plan has no wait for promote of {name} in its place"),
                    Asked::Judge(_) => format!("the plan has no analysis of {name} in its place"),
                });
                break;
            }
        }
        let shares = asked.iter().filter(|one| matches!(one, Asked::Share(..))).count();
        let moves = |step: &&Step| matches!(&step.kind, StepKind::SetWeight { module, .. } if module == name);
        if self.executed().filter(moves).count() > shares {
            lacks.push(format!("the plan moves the traffic of {name} more often than its strategy asks for"));
        }
        let rolls = |step: &Step| matches!(&step.kind, StepKind::RollBatch { module, .. } if module == name);
        if !matches!(self.strategy(), Some(Strategy::Rolling(_))) && self.executed().any(rolls) {
            lacks.push(format!("the plan rolls {name}, and its strategy does not"));
        }
    }

    /// By which it is updated; none when it is new, is kept, or goes straight back.
    fn strategy(&self) -> Option<&'a Strategy> {
        let updated = self.old.as_ref().is_some_and(|old| *old != self.new);
        let strategy = updated.then(|| self.spec.strategy_of(self.module))?;
        (self.mode == Mode::Apply || matches!(strategy, Strategy::Recreate {})).then_some(strategy)
    }

    fn executed(&self) -> impl Iterator<Item = &'a Step> + use<'a> {
        self.plan.steps.iter().filter(|step| step.stage == Stage::Execute)
    }

    /// Gives the new revision traffic.
    fn serves(&self, step: &Step) -> bool {
        match &step.kind {
            StepKind::SetWeight { module, weights, .. } => {
                *module == self.module.name && weights.of(&self.new) > 0
            }
            StepKind::RollBatch { module, .. } => *module == self.module.name,
            _ => false,
        }
    }

    fn tests(&self, lacks: &mut Vec<String>) {
        if self.module.smoke.is_empty() {
            return;
        }
        let (module, revision) = (self.module.name.clone(), self.new.clone());
        let smoke = StepKind::Smoke { module, revision };
        // Without room beside the old set the first batch of a rolling update is tested when it stands.
        let without_room =
            matches!(self.strategy(), Some(Strategy::Rolling(rolling)) if rolling.max_surge == 0);
        let late = if without_room { 1 } else { 0 };
        let mut served = 0;
        let before = self.executed().take_while(|step| {
            served += usize::from(self.serves(step));
            served <= late
        });
        if !before.into_iter().any(|step| step.kind == smoke) {
            lacks.push(format!("the plan has no smoke test of {} before the traffic", self.module.name));
        }
    }

    fn watches(&self, lacks: &mut Vec<String>) {
        let name = &self.module.name;
        let first = self.executed().find(|step| self.serves(step)).map(|step| step.wave);
        let in_time = |step: &&Step| first.is_none_or(|first| step.wave <= first);
        let watched = match self.strategy() {
            None | Some(Strategy::Recreate {}) => None,
            Some(Strategy::Canary(canary)) if !canary.steps.iter().any(is_share) => None,
            Some(_) => self.module.analysis.as_ref(),
        };
        if let Some(analysis) = watched
            && !self.executed().filter(in_time).any(|step| self.is_judged(step, analysis, true))
        {
            lacks.push(format!("the plan has no analysis of {name} in the background"));
        }
        let guard = StepKind::Guard { module: name.clone(), revision: self.new.clone() };
        let guarded = matches!(self.strategy(), Some(Strategy::Canary(_) | Strategy::BlueGreen(_)));
        if guarded && !self.executed().filter(in_time).any(|step| step.kind == guard) {
            lacks.push(format!("the plan has no guard of {name}"));
        }
    }

    fn asked(&self) -> Vec<Asked<'a>> {
        let all = || self.share(Weights::all_to(self.new.clone()), false);
        match self.strategy() {
            Some(Strategy::Canary(canary)) => self.canary(canary),
            Some(Strategy::BlueGreen(blue_green)) => self.blue_green(blue_green),
            Some(Strategy::Rolling(_)) => Vec::new(),
            Some(Strategy::Recreate {}) => {
                self.share(Weights::default(), false).into_iter().chain(all()).collect()
            }
            None => all().into_iter().collect(),
        }
    }

    fn share(&self, weights: Weights, counted: bool) -> Option<Asked<'a>> {
        // What no client asks cannot be counted.
        let counted = counted && self.module.expose.is_some();
        self.spec.is_routed(self.module).then_some(Asked::Share(weights, counted))
    }

    fn canary(&self, canary: &'a Canary) -> Vec<Asked<'a>> {
        let old = self.old.as_ref().unwrap_or(&self.new);
        let step = |step: &'a CanaryStep| match step {
            CanaryStep::SetWeight(share) => {
                self.share(Weights::split(self.new.clone(), *share, old.clone()), true)
            }
            CanaryStep::Pause { duration } => Some(Asked::Wait(*duration)),
            CanaryStep::Analysis(analysis) => Some(Asked::Judge(analysis)),
        };
        let last = self.share(Weights::all_to(self.new.clone()), true);
        canary.steps.iter().filter_map(step).chain(last).collect()
    }

    fn blue_green(&self, blue_green: &'a BlueGreen) -> Vec<Asked<'a>> {
        let first = blue_green.pre_promotion.iter().map(Asked::Judge);
        let wait = (!blue_green.auto_promote).then_some(Asked::Wait(None));
        let switch = self.share(Weights::all_to(self.new.clone()), true);
        first.chain(wait).chain(switch).chain(blue_green.post_promotion.iter().map(Asked::Judge)).collect()
    }

    fn is_asked(&self, step: &Step, asked: &Asked<'_>) -> bool {
        match (asked, &step.kind) {
            (Asked::Share(asked, counted), StepKind::SetWeight { module, weights, verify }) => {
                *module == self.module.name && weights == asked && verify == counted
            }
            (Asked::Wait(asked), StepKind::Pause { duration }) => duration == asked,
            (Asked::Judge(analysis), StepKind::Analyse { .. }) => self.is_judged(step, analysis, false),
            _ => false,
        }
    }

    fn is_judged(&self, step: &Step, asked: &Analysis, behind: bool) -> bool {
        matches!(&step.kind, StepKind::Analyse { module, revision, baseline, analysis, background }
            if *module == self.module.name && *revision == self.new && *baseline == self.old && analysis == asked && *background == behind)
    }
}

fn is_share(step: &CanaryStep) -> bool {
    matches!(step, CanaryStep::SetWeight(share) if *share > 0)
}
