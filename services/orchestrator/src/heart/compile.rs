//! Turns a spec and what runs now into a plan: which modules change, in which order, in which steps.
//!
//! Deterministic: the same spec, snapshot and mode give the same plan and so the same digest, on every replica.
//!
//! Canary and blue-green keep the whole old set until the release is promoted, so the way back is one change of
//! routes. Steps of modules of the same rank are merged wave by wave; a rank begins when the ones it depends on have
//! all their traffic.

use std::{collections::BTreeMap, time::Duration};

use model::{
    DeploymentSpec, Digest, Plan, Span, Step, StepKind, Token,
    deployment::Mode,
    plan::{Change, ModuleChange, Revision, Snapshot},
    route::Weights,
    spec::{BlueGreen, Canary, CanaryStep, HookPoint, Module, Rolling, Strategy},
    step::{Agent, Stage},
};

use super::diff::differences;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Modules wait for each other.
    #[error("modules depend on each other in a circle: {0}")]
    Cycle(String),
}

/// Makes the plan.
pub fn compile(spec: &DeploymentSpec, baseline: Option<&Snapshot>, mode: Mode) -> Result<Plan, Error> {
    let ranks = spec::order(spec).map_err(|cycle| Error::Cycle(cycle.to_string()))?;
    let changes = changes(spec, baseline, &ranks);
    let mut steps = Steps::default();

    if mode == Mode::Apply {
        for agent in [Agent::Architect, Agent::Integrator, Agent::Security] {
            steps.push(Stage::Check, agent, StepKind::Review, spec, None);
        }
    }
    steps.next_wave();

    hooks(spec, HookPoint::BeforeDeploy, Stage::Execute, &mut steps);
    for rank in 0..ranks.len() as u32 {
        let columns: Vec<Vec<Vec<(Agent, StepKind)>>> = changes
            .iter()
            .filter(|change| change.rank == rank)
            .filter_map(|change| Some(waves(spec, spec.module(&change.module)?, change, mode)))
            .collect();
        for index in 0..columns.iter().map(Vec::len).max().unwrap_or(0) {
            for (agent, kind) in columns.iter().filter_map(|column| column.get(index)).flatten() {
                steps.push(Stage::Execute, *agent, kind.clone(), spec, None);
            }
            steps.next_wave();
        }
    }

    for agent in [Agent::Validator, Agent::Performance, Agent::Guardian] {
        if mode == Mode::Apply || agent == Agent::Validator {
            steps.push(Stage::Verify, agent, StepKind::Validate, spec, None);
        }
    }
    steps.next_wave();
    hold(spec, &changes, mode, &mut steps);
    hooks(spec, HookPoint::BeforePromotion, Stage::Verify, &mut steps);

    retire(spec, baseline.map(|snapshot| &snapshot.spec), &changes, &mut steps);
    hooks(spec, HookPoint::AfterPromotion, Stage::Finish, &mut steps);
    steps.push(Stage::Finish, Agent::Certifier, StepKind::Certify, spec, None);

    let mut steps = steps.done;
    give_watches_time(spec, &mut steps);
    Ok(Plan {
        target: spec.target_id(),
        spec: Digest::of(spec),
        baseline: baseline.map(Snapshot::digest),
        no_return_after: steps.iter().find(|step| step.irreversible).map(|step| step.id.clone()),
        at_least: Span(least(spec, &steps)),
        changes,
        steps,
    })
}

/// What happens to each module, by rank and then by name; removed modules come last.
fn changes(spec: &DeploymentSpec, baseline: Option<&Snapshot>, ranks: &[Vec<Token>]) -> Vec<ModuleChange> {
    let mut changes = Vec::new();
    for (rank, names) in ranks.iter().enumerate() {
        let mut names = names.clone();
        names.sort();
        for module in names.iter().filter_map(|name| spec.module(name)) {
            let old = baseline.and_then(|snapshot| snapshot.spec.module(&module.name));
            let (from, to) = (old.map(Module::revision), module.revision());
            let change = match (&from, old) {
                (Some(from), Some(old))
                    if *from == to && old.replicas == module.replicas && old.expose == module.expose =>
                {
                    Change::Keep
                }
                (Some(from), Some(_)) if *from == to => Change::Scale,
                (Some(_), _) => Change::Update,
                (None, _) => Change::Create,
            };
            changes.push(ModuleChange {
                module: module.name.clone(),
                change,
                from,
                to: Some(to),
                replicas_from: old.map_or(0, |old| old.replicas),
                replicas_to: module.replicas,
                strategy: spec.strategy_of(module).name().to_owned(),
                rank: rank as u32,
                differences: differences(old, Some(module)),
            });
        }
    }
    for old in baseline.map(|snapshot| snapshot.spec.modules.as_slice()).unwrap_or_default() {
        if spec.module(&old.name).is_none() {
            changes.push(ModuleChange {
                module: old.name.clone(),
                change: Change::Remove,
                from: Some(old.revision()),
                to: None,
                replicas_from: old.replicas,
                replicas_to: 0,
                strategy: "remove".to_owned(),
                rank: ranks.len() as u32,
                differences: differences(Some(old), None),
            });
        }
    }
    changes
}

type Waves = Vec<Vec<(Agent, StepKind)>>;

/// What a module goes through while executing, wave by wave.
fn waves(spec: &DeploymentSpec, module: &Module, change: &ModuleChange, mode: Mode) -> Waves {
    let Some(new) = &change.to else { return Vec::new() };
    let name = &module.name;
    let count =
        |count| (Agent::Deployer, StepKind::Scale { module: name.clone(), revision: new.clone(), count });
    let weight =
        |weights, verify| (Agent::Deployer, StepKind::SetWeight { module: name.clone(), weights, verify });
    let smoke = || {
        let kind = StepKind::Smoke { module: name.clone(), revision: new.clone() };
        // A way back asks nothing: what it goes to was promoted before.
        (mode == Mode::Apply && !module.smoke.is_empty()).then(|| vec![(Agent::Tester, kind)])
    };
    match (change.change, &change.from) {
        (Change::Remove, _) => Vec::new(),
        // What stays is looked at too: an instance that died is replaced, so applying the same spec repairs drift.
        (Change::Scale | Change::Keep, _) => {
            let mut waves = vec![vec![count(module.replicas)]];
            // How it is reached may have changed too.
            if spec.is_routed(module) {
                waves.push(vec![weight(Weights::all_to(new.clone()), false)]);
            }
            waves
        }
        (Change::Create, _) | (Change::Update, None) => {
            let mut waves = vec![vec![count(module.replicas)]];
            waves.extend(smoke());
            if spec.is_routed(module) {
                waves.push(vec![weight(Weights::all_to(new.clone()), false)]);
            }
            waves
        }
        (Change::Update, Some(old)) => {
            let (is_routed, old_replicas) = (spec.is_routed(module), change.replicas_from);
            let moves = Moves { module, mode, is_routed, old, new, old_replicas };
            match (spec.strategy_of(module), mode) {
                // Two revisions never run at once, whichever way it goes.
                (Strategy::Recreate {}, _) => moves.recreate(),
                (_, Mode::Rollback) => moves.straight(),
                (Strategy::Canary(canary), _) => moves.guarded(moves.canary(canary)),
                (Strategy::BlueGreen(blue_green), _) => moves.guarded(moves.blue_green(blue_green)),
                (Strategy::Rolling(rolling), _) => moves.rolling(rolling),
            }
        }
    }
}

/// The move of one module from one revision to another.
struct Moves<'a> {
    module: &'a Module,
    mode: Mode,
    is_routed: bool,
    old: &'a Revision,
    new: &'a Revision,
    old_replicas: u32,
}

impl Moves<'_> {
    fn scale(&self, revision: &Revision, count: u32) -> (Agent, StepKind) {
        let module = self.module.name.clone();
        (Agent::Deployer, StepKind::Scale { module, revision: revision.clone(), count })
    }

    /// Nothing when the module gets no routed traffic.
    fn weight(&self, weights: Weights, verify: bool) -> Vec<(Agent, StepKind)> {
        let module = self.module.name.clone();
        // What arrives at a module that no client asks is not requests, and cannot be counted as such.
        let verify = verify && self.module.expose.is_some();
        let kind = StepKind::SetWeight { module, weights, verify };
        if self.is_routed { vec![(Agent::Deployer, kind)] } else { Vec::new() }
    }

    fn smoke(&self) -> Option<Vec<(Agent, StepKind)>> {
        let kind = StepKind::Smoke { module: self.module.name.clone(), revision: self.new.clone() };
        let is_tested = self.mode == Mode::Apply && !self.module.smoke.is_empty();
        is_tested.then(|| vec![(Agent::Tester, kind)])
    }

    fn analyse(&self, analysis: &model::spec::Analysis, background: bool) -> (Agent, StepKind) {
        let kind = StepKind::Analyse {
            module: self.module.name.clone(),
            revision: self.new.clone(),
            baseline: Some(self.old.clone()),
            analysis: analysis.clone(),
            background,
        };
        (if background { Agent::Guardian } else { Agent::Performance }, kind)
    }

    /// The analysis that watches from the first step with traffic on (W6).
    fn watch(&self) -> Vec<(Agent, StepKind)> {
        self.module.analysis.iter().map(|analysis| self.analyse(analysis, true)).collect()
    }

    /// From when the first instances stand, they are looked after: also while time or a person is waited for.
    fn guarded(&self, mut waves: Waves) -> Waves {
        let is_first = |kind: &StepKind| matches!(kind, StepKind::Scale { count, .. } if *count > 0);
        let first = waves.iter().position(|wave| wave.iter().any(|(_, kind)| is_first(kind)));
        if let Some(next) = first.and_then(|first| waves.get_mut(first + 1)) {
            let (module, revision) = (self.module.name.clone(), self.new.clone());
            next.push((Agent::Guardian, StepKind::Guard { module, revision }));
        }
        waves
    }

    /// W1: instances first, then weight. W3: the old set keeps its size until the release is promoted.
    fn canary(&self, canary: &Canary) -> Waves {
        let replicas = self.module.replicas;
        let (mut waves, mut running, mut watched) = (Waves::new(), 0, false);
        for step in &canary.steps {
            match step {
                CanaryStep::SetWeight(percent) => {
                    let needed = (replicas * u32::from(*percent)).div_ceil(100).clamp(1, replicas);
                    if needed > running {
                        waves.push(vec![self.scale(self.new, needed)]);
                        if running == 0 {
                            waves.extend(self.smoke());
                        }
                        running = needed;
                    }
                    let mut wave =
                        self.weight(Weights::split(self.new.clone(), *percent, self.old.clone()), true);
                    if !watched && *percent > 0 {
                        wave.extend(self.watch());
                        watched = true;
                    }
                    waves.push(wave);
                }
                CanaryStep::Pause { duration } => {
                    waves.push(vec![(Agent::Deployer, StepKind::Pause { duration: *duration })]);
                }
                CanaryStep::Analysis(analysis) => waves.push(vec![self.analyse(analysis, false)]),
            }
        }
        if running < replicas {
            waves.push(vec![self.scale(self.new, replicas)]);
            if running == 0 {
                waves.extend(self.smoke());
            }
        }
        waves.push(self.weight(Weights::all_to(self.new.clone()), true));
        waves
    }

    fn blue_green(&self, blue_green: &BlueGreen) -> Waves {
        let mut waves = vec![vec![self.scale(self.new, self.module.replicas)]];
        waves.extend(self.smoke());
        if let Some(analysis) = &blue_green.pre_promotion {
            waves.push(vec![self.analyse(analysis, false)]);
        }
        if !blue_green.auto_promote {
            waves.push(vec![(Agent::Deployer, StepKind::Pause { duration: None })]);
        }
        let mut cut_over = self.weight(Weights::all_to(self.new.clone()), true);
        cut_over.extend(self.watch());
        waves.push(cut_over);
        if let Some(analysis) = &blue_green.post_promotion {
            waves.push(vec![self.analyse(analysis, false)]);
        }
        waves
    }

    /// Batches of `maxSurge + maxUnavailable`; the total stays within `replicas + maxSurge`, the healthy ones at
    /// `replicas - maxUnavailable` or more.
    fn rolling(&self, rolling: &Rolling) -> Waves {
        let replicas = self.module.replicas;
        let batch = (rolling.max_surge + rolling.max_unavailable).max(1);
        let mut waves = Waves::new();
        // With room above the old set the first new instances are tested before they get traffic. Without, an old one
        // has to make room, and the first batch is tested as soon as it stands.
        let ahead = rolling.max_surge.min(replicas);
        let mut smoke = self.smoke();
        if ahead > 0
            && let Some(smoke) = smoke.take()
        {
            waves.push(vec![self.scale(self.new, ahead)]);
            waves.push(smoke);
        }
        let mut new_count = 0;
        while new_count < replicas {
            let first = new_count == 0;
            new_count = (new_count + batch).min(replicas);
            let mut wave = vec![(
                Agent::Deployer,
                StepKind::RollBatch {
                    module: self.module.name.clone(),
                    from: self.old.clone(),
                    to: self.new.clone(),
                    new_count,
                    old_count: if new_count == replicas {
                        0
                    } else {
                        self.old_replicas.min(replicas - new_count)
                    },
                    max_total: replicas.max(self.old_replicas) + rolling.max_surge,
                    min_healthy: replicas.saturating_sub(rolling.max_unavailable),
                },
            )];
            if first {
                wave.extend(self.watch());
            }
            waves.push(wave);
            waves.extend(smoke.take());
        }
        waves
    }

    fn recreate(&self) -> Waves {
        let mut waves = vec![
            self.weight(Weights::default(), false),
            vec![self.scale(self.old, 0)],
            vec![self.scale(self.new, self.module.replicas)],
        ];
        waves.extend(self.smoke());
        waves.push(self.weight(Weights::all_to(self.new.clone()), false));
        waves
    }

    /// Without gates: the way of a rollback to an older release.
    fn straight(&self) -> Waves {
        vec![
            vec![self.scale(self.new, self.module.replicas)],
            self.weight(Weights::all_to(self.new.clone()), false),
        ]
    }
}

/// The hold of blue-green, before the promotion: until then the deployment holds the lock and can switch back to the old
/// set, which stands. What has the traffic is looked after meanwhile.
fn hold(spec: &DeploymentSpec, changes: &[ModuleChange], mode: Mode, steps: &mut Steps) {
    let updated = changes.iter().filter(|change| change.change == Change::Update && mode == Mode::Apply);
    let held: Vec<(&ModuleChange, Span)> = updated
        .filter_map(|change| match spec.strategy_of(spec.module(&change.module)?) {
            Strategy::BlueGreen(blue_green) => Some((change, blue_green.hold)),
            Strategy::Canary(_) | Strategy::Rolling(_) | Strategy::Recreate {} => None,
        })
        .filter(|(_, hold)| !hold.0.is_zero())
        .collect();
    let Some(longest) = held.iter().map(|(_, hold)| *hold).max() else { return };
    steps.push(Stage::Verify, Agent::Deployer, StepKind::Pause { duration: Some(longest) }, spec, None);
    for (change, _) in held {
        if let Some(revision) = change.to.clone() {
            let kind = StepKind::Guard { module: change.module.clone(), revision };
            steps.push(Stage::Verify, Agent::Guardian, kind, spec, None);
        }
    }
    steps.next_wave();
}

/// After the promotion: what is no longer needed goes.
fn retire(
    spec: &DeploymentSpec,
    baseline: Option<&DeploymentSpec>,
    changes: &[ModuleChange],
    steps: &mut Steps,
) {
    // Nobody may be sent to what goes (W2): modules that move have moved, those that are removed lose their routes here.
    for change in changes.iter().filter(|change| change.from.is_some()) {
        let is_routed =
            |spec: &DeploymentSpec| spec.module(&change.module).is_some_and(|module| spec.is_routed(module));
        if baseline.is_some_and(is_routed) && !is_routed(spec) {
            let kind = StepKind::SetWeight {
                module: change.module.clone(),
                weights: Weights::default(),
                verify: false,
            };
            steps.push(Stage::Finish, Agent::Deployer, kind, spec, None);
        }
    }
    steps.next_wave();
    for change in changes {
        let gone = match (&change.from, &change.to) {
            (Some(from), None) => from,
            (Some(from), Some(to)) if from != to => from,
            _ => continue,
        };
        let kind = StepKind::Scale { module: change.module.clone(), revision: gone.clone(), count: 0 };
        steps.push(Stage::Finish, Agent::Deployer, kind, spec, None);
    }
    steps.next_wave();
}

/// What runs in the background also runs while people are waited for, and that time has bounds of its own.
fn give_watches_time(spec: &DeploymentSpec, steps: &mut [Step]) {
    let waits: Duration = steps.iter().filter(|step| step.is_wait_apart()).map(|step| step.deadline.0).sum();
    for step in steps.iter_mut().filter(|step| step.kind.is_background()) {
        step.deadline = Span(spec.deadlines.total.0 + waits);
    }
}

fn hooks(spec: &DeploymentSpec, when: HookPoint, stage: Stage, steps: &mut Steps) {
    for (index, hook) in spec.hooks.iter().enumerate().filter(|(_, hook)| hook.when == when) {
        let kind = StepKind::Hook { index: index as u32 };
        steps.push(stage, Agent::Deployer, kind, spec, Some(hook.irreversible));
        steps.next_wave();
    }
}

/// Collects steps, numbers them and counts waves.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) done: Vec<Step>,
    wave: u32,
}

impl Steps {
    pub(super) fn push(
        &mut self,
        stage: Stage,
        agent: Agent,
        kind: StepKind,
        spec: &DeploymentSpec,
        irreversible: Option<bool>,
    ) {
        let deadline = match &kind {
            StepKind::Pause { duration: Some(duration) } => Span(duration.0 + Duration::from_secs(60)),
            StepKind::Pause { duration: None } => spec.deadlines.human,
            kind if kind.is_background() => spec.deadlines.total,
            StepKind::Analyse { analysis, .. } => Span(analysis.duration.0 * 2 + spec.deadlines.step.0),
            StepKind::Hook { index } => spec
                .hooks
                .get(*index as usize)
                .map_or(spec.deadlines.step, |hook| Span(hook.timeout.0 + Duration::from_secs(10))),
            // Both wait for the soak.
            StepKind::Validate
                if matches!(agent, Agent::Guardian | Agent::Performance)
                    && spec.soak_time().0 > spec.deadlines.step.0 / 2 =>
            {
                Span(spec.deadlines.step.0 + spec.soak_time().0)
            }
            _ => spec.deadlines.step,
        };
        let prefix = if stage == Stage::Rollback { "r" } else { "s" };
        let text = format!("{prefix}{:02}-{}", self.done.len() + 1, slug(spec, stage, agent, &kind));
        #[allow(clippy::expect_used, reason = "built from tokens and digits, cut to the length of a token")]
        let id: Token = text[..text.len().min(63)].parse().expect("a token");
        let step = Step {
            id,
            wave: self.wave,
            stage,
            agent,
            kind,
            deadline,
            irreversible: irreversible.unwrap_or(false),
        };
        self.done.push(step);
    }

    /// What is pushed from here on begins when what was pushed before is done.
    pub(super) fn next_wave(&mut self) {
        if self.done.last().is_some_and(|step| step.wave == self.wave) {
            self.wave += 1;
        }
    }
}

fn slug(spec: &DeploymentSpec, stage: Stage, agent: Agent, kind: &StepKind) -> String {
    match kind {
        StepKind::Review => format!("{agent}-review"),
        StepKind::Scale { module, count, .. } => format!("scale-{count}-{module}"),
        StepKind::SetWeight { module, weights, .. } => {
            let shares: Vec<String> = weights.0.values().map(u8::to_string).collect();
            format!("weight-{}-{module}", shares.join("-"))
        }
        StepKind::RollBatch { module, new_count, .. } => format!("roll-{new_count}-{module}"),
        StepKind::Pause { .. } if stage == Stage::Verify => "hold".to_owned(),
        StepKind::Pause { .. } => "pause".to_owned(),
        StepKind::Analyse { module, background: true, .. } => format!("watch-{module}"),
        StepKind::Analyse { module, .. } => format!("analyse-{module}"),
        StepKind::Guard { module, .. } => format!("guard-{module}"),
        StepKind::Smoke { module, .. } => format!("smoke-{module}"),
        StepKind::Hook { index } => match spec.hooks.get(*index as usize) {
            Some(hook) => format!("hook-{}", hook.name),
            None => format!("hook-{index}"),
        },
        StepKind::Validate => format!("{agent}-validate"),
        StepKind::Certify => "certify".to_owned(),
    }
}

/// Pauses, analyses and the soak of one wave run side by side, waves one after the other.
fn least(spec: &DeploymentSpec, steps: &[Step]) -> Duration {
    let mut longest: BTreeMap<u32, Duration> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.stage != Stage::Finish) {
        let span = match &step.kind {
            StepKind::Pause { duration: Some(duration) } => duration.0,
            StepKind::Analyse { analysis, background: false, .. } => analysis.duration.0,
            StepKind::Validate if step.agent == Agent::Guardian => spec.soak_time().0,
            _ => Duration::ZERO,
        };
        let entry = longest.entry(step.wave).or_default();
        *entry = (*entry).max(span);
    }
    longest.values().sum()
}
