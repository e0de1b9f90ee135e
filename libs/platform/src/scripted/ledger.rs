//! Every write to the scripted platform, so that a test can find what happened twice.

use std::collections::BTreeMap;

use model::{Fence, TargetId, Timestamp};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A start.
    Start,
    /// A stop.
    Stop,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An instance came or went.
    Done,
    /// It was so already.
    AlreadyThere,
    /// The fence was too low.
    Refused,
    /// The script let it fail.
    Failed,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What.
    pub kind: WriteKind,
    /// Where.
    pub target: TargetId,
    /// Which instance.
    pub instance: String,
    /// With which fence.
    pub fence: Fence,
    /// What came of it.
    pub effect: Effect,
    /// When, by the world's clock.
    pub at: Timestamp,
}

/// All writes in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In the order they took effect.
    pub writes: Vec<Write>,
}

impl Ledger {
    pub(super) fn note(
        &mut self,
        kind: WriteKind,
        target: &TargetId,
        instance: &str,
        fence: Fence,
        effect: Effect,
        at: Timestamp,
    ) {
        let (target, instance) = (target.clone(), instance.to_owned());
        self.writes.push(Write { kind, target, instance, fence, effect, at });
    }

    /// Writes of a kind that changed what runs.
    pub fn done(&self, kind: WriteKind) -> usize {
        self.writes.iter().filter(|write| write.kind == kind && write.effect == Effect::Done).count()
    }

    /// Writes that a low fence kept out.
    pub fn refused(&self) -> usize {
        self.writes.iter().filter(|write| write.effect == Effect::Refused).count()
    }

    /// Instances that were started again without a stop in between; each is named once per repeat. A restart after a
    /// crash is named too: a test that crashes instances on purpose subtracts them.
    pub fn duplicates(&self) -> Vec<String> {
        let mut up: BTreeMap<(&TargetId, &str), bool> = BTreeMap::new();
        let mut twice = Vec::new();
        for write in self.writes.iter().filter(|write| write.effect == Effect::Done) {
            let before = up.insert((&write.target, &write.instance), write.kind == WriteKind::Start);
            if write.kind == WriteKind::Start && before == Some(true) {
                twice.push(write.instance.clone());
            }
        }
        twice
    }

    /// Writes whose fence is lower than one that took effect on the target before: must be empty for any driver.
    pub fn out_of_order(&self) -> Vec<&Write> {
        let mut highest: BTreeMap<&TargetId, Fence> = BTreeMap::new();
        let mut wrong = Vec::new();
        for write in self.writes.iter().filter(|write| write.effect != Effect::Refused) {
            let seen = highest.entry(&write.target).or_default();
            if write.fence < *seen {
                wrong.push(write);
            }
            *seen = write.fence.max(*seen);
        }
        wrong
    }
}
