//! What follows from a decision is written together with it.

use model::{Event, Timestamp, deployment::StepReport};

use super::{Context, advance_while, needs_target, on_report};
use crate::heart::state::Deployment;

/// What was decided, and all that follows from it by itself: one record. Nothing follows where another replica drives, or
/// none, and nothing beyond where the target has to be looked at.
pub fn follow(deployment: &Deployment, mut events: Vec<Event>, context: Context<'_>) -> Vec<Event> {
    let mut state = deployment.clone();
    events.iter().for_each(|event| state.evolve(event, context.now));
    if !events.is_empty() && state.owner.as_ref() == Some(context.me) {
        events.extend(advance_while(state, context, |state| !needs_target(state)));
    }
    events
}

/// Several reports, each on top of those before it. What no longer matters adds nothing.
pub fn on_reports<'a>(
    deployment: &Deployment,
    reports: impl IntoIterator<Item = &'a StepReport>,
    now: Timestamp,
) -> Vec<Event> {
    let mut state = deployment.clone();
    let mut events = Vec::new();
    for report in reports {
        for event in on_report(&state, report) {
            state.evolve(&event, now);
            events.push(event);
        }
    }
    events
}
