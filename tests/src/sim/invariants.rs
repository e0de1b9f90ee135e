//! The promises that hold whatever happens, one per file. Some are checked at every record or write, some at the end.

mod duplicate;
mod fence;
mod fold;
mod gates;
mod intent;
mod lawful;
mod lock;
mod outcome;
mod progress;
mod rolling;
mod verdict;
mod weight;

use std::collections::BTreeSet;

use model::{DeploymentId, Event, Fence, Record, StepId, target::TargetEvent};

use super::{Simulation, world::InstanceKey};

/// What the checks remember.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Every step that was ever scheduled durably, by attempt and fence.
    scheduled: BTreeSet<(DeploymentId, StepId, u32, Fence)>,
    /// Every start that took effect, by the step that made it.
    started: BTreeSet<(DeploymentId, StepId, InstanceKey)>,
    /// The highest fence of a write that took effect.
    highest: Fence,
}

/// A record is durable.
pub(super) fn on_record(sim: &mut Simulation, record: &Record<Event>, seq: u64) {
    let before = record.id.parse().ok().and_then(|id: DeploymentId| sim.truth.deployments.get(&id).cloned());
    lawful::check(sim, record, before.as_ref());
    gates::check(sim, record, before.as_ref());
    intent::remember(sim, record);
    fold::take_in(sim, record, seq);
}

/// A record of the target is durable.
pub(super) fn on_target_record(sim: &mut Simulation, record: &Record<TargetEvent>) {
    lock::check(sim, record);
}

/// The last line of the ledger was just written. `before`: instances of the module, in all and healthy.
pub(super) fn on_write(sim: &mut Simulation, before: (u32, u32)) {
    let Some(line) = sim.world.ledger.last().cloned() else { return };
    intent::check(sim, &line);
    fence::check(sim, &line);
    lock::check_write(sim, &line);
    duplicate::check(sim, &line);
    weight::check(sim, &line);
    rolling::check(sim, &line, before);
}

/// Nothing is left to happen, or time is over.
pub(super) fn at_end(sim: &mut Simulation) {
    progress::check(sim);
    if sim.is_over() {
        verdict::check(sim);
        fold::check(sim);
        lock::check_end(sim);
        outcome::check(sim);
    }
}
