//! No promotion without all gates: every step of the plan before it ended well, with every gate it judged.

use model::{Event, Outcome, Record, step::Stage};
use orchestrator::heart::state::Deployment;

use crate::sim::{Harm, Simulation};

pub(super) fn check(sim: &mut Simulation, record: &Record<Event>, before: Option<&Deployment>) {
    let Some(mut state) = before.cloned() else { return };
    for event in &record.events {
        if matches!(event, Event::Promoted {})
            && let Some(text) = missing(&state)
        {
            sim.violate("gates", Harm::Wrong, text);
        }
        state.evolve(event, record.at);
    }
}

fn missing(state: &Deployment) -> Option<String> {
    if state.change.plan.is_none() {
        return Some(format!("{} was promoted without a plan", state.id));
    }
    let before = [Stage::Check, Stage::Execute, Stage::Verify];
    state.all_steps().filter(|step| before.contains(&step.stage)).find_map(|step| {
        let stand = state.state_of(&step.id);
        let gates = stand.result.iter().flat_map(|(result, _)| &result.gates);
        if !stand.is_done() {
            return Some(format!("{} was promoted and {} had not ended well", state.id, step.id));
        }
        let bad = gates.into_iter().find(|gate| gate.outcome != Outcome::Succeeded)?;
        Some(format!("{} was promoted and gate {} of {} was {}", state.id, bad.gate, step.id, bad.outcome))
    })
}
