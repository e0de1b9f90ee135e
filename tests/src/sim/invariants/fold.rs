//! Journals have versions 1, 2, 3 … without a gap, and every replica folds them to the same state.

use model::{Event, Record};
use orchestrator::heart::state::Deployment;

use crate::sim::{Harm, Simulation, kernel::Process};

/// Folds the record into what the harness knows.
pub(super) fn take_in(sim: &mut Simulation, record: &Record<Event>, seq: u64) {
    let Ok(id) = record.id.parse() else { return };
    let folded = match sim.truth.deployments.get_mut(&id) {
        Some(state) => state.fold(record, seq).map_err(|bad| bad.to_string()),
        None => match Deployment::begin(record, seq) {
            Ok(state) => {
                sim.truth.deployments.insert(id, state);
                Ok(())
            }
            Err(bad) => Err(bad.to_string()),
        },
    };
    if let Err(bad) = folded {
        sim.violate("fold", Harm::Wrong, bad);
    }
}

/// All replicas that are up hold the same.
pub(super) fn check(sim: &mut Simulation) {
    let up: Vec<usize> =
        (0..sim.replicas.len()).filter(|index| sim.life(Process::Replica(*index)).0).collect();
    for index in up {
        let replica = &sim.replicas[index];
        let held = |id: &model::DeploymentId| replica.deployments.get(id).map(|machine| machine.state());
        let other = sim.truth.deployments.iter().find(|(id, state)| held(id) != Some(*state));
        let text = match other {
            Some((id, state)) => {
                let found = held(id).map(|state| (state.version, state.phase));
                format!("replica {index} holds {id} at {found:?}, not at v{} {}", state.version, state.phase)
            }
            None if *replica.target != sim.truth.target => format!("replica {index} holds another target"),
            None => continue,
        };
        sim.violate("fold", Harm::Wrong, text);
    }
}
