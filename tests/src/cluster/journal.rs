//! What journals tell.

use std::time::Duration;

use model::{Event, Outcome, Record, StepId};

/// From the first step that said no to the beginning of the way back.
pub fn verdict_to_way_back(records: &[Record]) -> Option<Duration> {
    let mut verdict = None;
    for record in records {
        for event in &record.events {
            match event {
                Event::StepFinished { result, .. } if result.outcome == Outcome::Failed => {
                    verdict.get_or_insert(record.at);
                }
                Event::RollbackBegan { .. } => return Some(record.at.since(verdict?)),
                _ => {}
            }
        }
    }
    None
}

/// Everyone who drove it, in order.
pub fn owners(records: &[Record]) -> Vec<String> {
    let events = records.iter().flat_map(|record| &record.events);
    let claims = events.filter_map(|event| match event {
        Event::OwnerClaimed { owner, .. } => Some(owner.to_string()),
        _ => None,
    });
    claims.collect()
}

/// Every step that was scheduled, in order, without repeats.
pub fn steps_begun(records: &[Record]) -> Vec<StepId> {
    let mut steps = Vec::new();
    for event in records.iter().flat_map(|record| &record.events) {
        if let Event::StepScheduled { step, .. } = event
            && !steps.contains(step)
        {
            steps.push(step.clone());
        }
    }
    steps
}
