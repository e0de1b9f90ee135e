//! What is outside of the engine: instances, routes and how good a release is; and a ledger of every write, which the
//! engine cannot see.

use std::collections::BTreeMap;

use model::{DeploymentId, Fence, StepId, Token, plan::Revision, route::Weights, step::Stage};

/// Names one instance: module, revision, slot.
pub type InstanceKey = (Token, Revision, u32);

/// A running instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Well enough for traffic.
    pub healthy: bool,
    /// It ended, and stays so.
    pub dead: bool,
    /// Tells this life of the slot from earlier ones.
    pub life: u64,
}

/// One module's routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// Share per revision.
    pub weights: Weights,
    /// Grows with every change; a write names the one it saw.
    pub version: u64,
}

/// Who writes, and for which step.
#[derive(Clone, Debug, PartialEq)]
pub struct Author {
    /// For which deployment.
    pub deployment: DeploymentId,
    /// For which step.
    pub step: StepId,
    /// In which part of the deployment's life.
    pub stage: Stage,
    /// Which attempt.
    pub attempt: u32,
    /// Under which fence.
    pub fence: Fence,
    /// The bounds of a rolling batch: most in all, fewest healthy.
    pub rolling: Option<(u32, u32)>,
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// An instance starts.
    Start(InstanceKey),
    /// An instance ends.
    Stop(InstanceKey),
    /// Routes change, if they are still at this version.
    Route(Token, Weights, u64),
    /// A hook of the spec runs.
    Hook(u32),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changed something.
    Took,
    /// All was so already, or the routes had moved on.
    Nothing,
    /// A higher fence was seen.
    Refused,
}

/// One line of the ledger.
#[derive(Clone, Debug)]
pub struct Line {
    /// Virtual time in milliseconds.
    pub at: i64,
    /// Who wrote.
    pub author: Author,
    /// What.
    pub write: Write,
    /// What became of it.
    pub effect: Effect,
}

/// Where a release is bad, and how it shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Flaw {
    /// An analysis finds it once the revision has at least this share of the traffic.
    Analysis(u8),
    /// The background analysis finds it once the revision has at least this share.
    Background(u8),
    /// The smoke test finds it.
    Smoke,
    /// The measurements never say anything.
    Inconclusive,
    /// Starting an instance of it errs, so many times.
    Error(u32),
    /// No instance of the OLD revision starts again before this time: the way back is blocked.
    NoWayBack(i64),
}

/// Everything outside.
#[derive(Debug, Default)]
pub struct World {
    /// What runs.
    pub instances: BTreeMap<InstanceKey, Instance>,
    /// Where traffic goes.
    pub routes: BTreeMap<Token, Route>,
    /// The highest fence seen on the target; kept with the platform, shared by all runners.
    pub highest: Fence,
    /// Every write.
    pub ledger: Vec<Line>,
    /// How many instances carry all traffic of a module's revision.
    pub full: BTreeMap<(Token, Revision), u32>,
    /// What is wrong with which revision.
    pub flaws: Vec<(Token, Revision, Flaw)>,
    /// How often a flaw of a counted kind has shown.
    pub shown: BTreeMap<(Token, Revision), u32>,
    /// Lives of instances so far.
    pub lives: u64,
}

impl World {
    /// Instances of a revision.
    pub fn live(&self, module: &Token, revision: &Revision) -> u32 {
        self.slots(module, revision).count() as u32
    }

    /// Instances of a revision that can take traffic.
    pub fn healthy(&self, module: &Token, revision: &Revision) -> u32 {
        self.slots(module, revision).filter(|(_, instance)| instance.healthy).count() as u32
    }

    /// Instances of all revisions: in all, and healthy ones.
    pub fn of_module(&self, module: &Token) -> (u32, u32) {
        let of = || self.instances.iter().filter(|((name, ..), _)| name == module);
        (of().count() as u32, of().filter(|(_, instance)| instance.healthy).count() as u32)
    }

    /// Slot and instance, lowest slot first.
    pub fn slots(
        &self,
        module: &Token,
        revision: &Revision,
    ) -> impl DoubleEndedIterator<Item = (u32, &Instance)> {
        let (low, high) =
            ((module.clone(), revision.clone(), 0), (module.clone(), revision.clone(), u32::MAX));
        self.instances.range(low..=high).map(|((.., slot), instance)| (*slot, instance))
    }

    /// Everything of a revision that is well dies.
    pub fn strike(&mut self, module: &Token, revision: &Revision) {
        let of = |(name, known, _): &InstanceKey| name == module && known == revision;
        for (_, instance) in self.instances.iter_mut().filter(|(key, instance)| of(key) && instance.healthy) {
            (instance.healthy, instance.dead) = (false, true);
        }
    }

    /// The lowest slot that is free.
    pub fn free_slot(&self, module: &Token, revision: &Revision) -> u32 {
        (0..)
            .find(|slot| !self.instances.contains_key(&(module.clone(), revision.clone(), *slot)))
            .unwrap_or(0)
    }

    /// The routes of a module; empty when there are none.
    pub fn route(&self, module: &Token) -> Route {
        self.routes.get(module).cloned().unwrap_or_default()
    }

    /// The flaws of a revision.
    pub fn flaws_of<'a>(
        &'a self,
        module: &'a Token,
        revision: &'a Revision,
    ) -> impl Iterator<Item = &'a Flaw> {
        self.flaws.iter().filter(move |(name, of, _)| name == module && of == revision).map(|(.., flaw)| flaw)
    }

    /// A step that writes begins: refuses a fence lower than the highest seen, else raises the highest to it.
    pub fn enter(&mut self, fence: Fence) -> bool {
        if fence < self.highest {
            return false;
        }
        self.highest = fence;
        true
    }

    /// Writes, and notes it. The platform is atomic per write: fence, check and effect are one.
    pub fn write(&mut self, at: i64, author: Author, write: Write) -> Effect {
        let effect = if author.fence < self.highest { Effect::Refused } else { self.apply(&write) };
        if effect == Effect::Took {
            self.highest = self.highest.max(author.fence);
        }
        self.ledger.push(Line { at, author, write, effect });
        effect
    }

    fn apply(&mut self, write: &Write) -> Effect {
        match write {
            Write::Start(key) if self.instances.contains_key(key) => Effect::Nothing,
            Write::Start(key) => {
                self.lives += 1;
                self.instances
                    .insert(key.clone(), Instance { healthy: false, dead: false, life: self.lives });
                Effect::Took
            }
            Write::Stop(key) if self.instances.remove(key).is_some() => Effect::Took,
            Write::Stop(_) => Effect::Nothing,
            Write::Route(module, weights, seen) => {
                let route = self.routes.entry(module.clone()).or_default();
                if route.version != *seen || route.weights == *weights {
                    return Effect::Nothing;
                }
                *route = Route { weights: weights.clone(), version: seen + 1 };
                Effect::Took
            }
            Write::Hook(_) => Effect::Took,
        }
    }

    /// Healthy instances that a share of a revision's traffic needs: W1.
    pub fn needed(&self, module: &Token, revision: &Revision, percent: u8) -> u32 {
        let full = self.full.get(&(module.clone(), revision.clone())).copied().unwrap_or(1);
        (full * u32::from(percent)).div_ceil(100)
    }
}
