//! No effect without an intent: a write is made only for a step, attempt and fence that are durable in the journal.

use model::{Event, Record};

use crate::sim::{Harm, Simulation, world::Line};

pub(super) fn remember(sim: &mut Simulation, record: &Record<Event>) {
    let Ok(id) = record.id.parse::<model::DeploymentId>() else { return };
    for event in &record.events {
        if let Event::StepScheduled { step, attempt, fence, .. } = event {
            sim.watch.scheduled.insert((id.clone(), step.clone(), *attempt, *fence));
        }
    }
}

pub(super) fn check(sim: &mut Simulation, line: &Line) {
    let author = &line.author;
    let intent = (author.deployment.clone(), author.step.clone(), author.attempt, author.fence);
    if !sim.watch.scheduled.contains(&intent) {
        let text =
            format!("{} attempt {} under {} was never journalled", author.step, author.attempt, author.fence);
        sim.violate("intent", Harm::Wrong, text);
    }
}
