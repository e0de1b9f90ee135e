//! The journal itself is lawful: owners follow each other with rising epochs, only the owner moves a deployment on,
//! attempts count up by one, a rollback is never rolled back, and nothing follows the end.

use model::{Event, Phase, Record, step::Stage};
use orchestrator::heart::state::Deployment;

use crate::sim::{Harm, Simulation};

pub(super) fn check(sim: &mut Simulation, record: &Record<Event>, before: Option<&Deployment>) {
    let Some(mut state) = before.cloned() else { return };
    let mut rollbacks = 0;
    for event in &record.events {
        rollbacks += u32::from(matches!(event, Event::RollbackBegan { .. }));
        if let Some(text) = complaint(&state, event, record, rollbacks) {
            sim.violate("lawful", Harm::Wrong, format!("{} v{}: {text}", record.id, record.version));
        }
        state.evolve(event, record.at);
    }
}

fn complaint(state: &Deployment, event: &Event, record: &Record<Event>, rollbacks: u32) -> Option<String> {
    let name = event.name();
    if state.is_closed() {
        return Some(format!("{name} after the end"));
    }
    let writer_owns = state.owner.as_ref().is_some_and(|owner| owner.as_str() == record.writer);
    let by_owner_only = matches!(
        event,
        Event::StepScheduled { .. }
            | Event::Planned { .. }
            | Event::Locked { .. }
            | Event::ExecutionBegan { .. }
            | Event::VerificationBegan {}
            | Event::Promoted {}
            | Event::RolledBack {}
            | Event::Closed { .. }
    );
    if by_owner_only && !writer_owns {
        return Some(format!("{name} by {}, which does not own it", record.writer));
    }
    match event {
        Event::OwnerClaimed { epoch, .. } if *epoch <= state.epoch => {
            Some(format!("epoch {epoch} was claimed after epoch {}", state.epoch))
        }
        Event::StepScheduled { step, attempt, fence, .. } => {
            let Some(stage) = state.step(step).map(|step| step.stage) else {
                return Some(format!("{step} is no step"));
            };
            let phases: &[Phase] = match stage {
                Stage::Check => &[Phase::Planned],
                Stage::Execute => &[Phase::Executing],
                Stage::Verify => &[Phase::Verifying],
                Stage::Finish => &[Phase::Promoted, Phase::RolledBack],
                Stage::Rollback => &[Phase::RollingBack],
            };
            let stand = state.state_of(step);
            if !phases.contains(&state.phase) {
                Some(format!("{step} was scheduled while {}", state.phase))
            } else if *attempt != stand.attempt + 1 || stand.is_open() || stand.is_done() {
                Some(format!("attempt {attempt} of {step} was scheduled over attempt {}", stand.attempt))
            } else if fence.lock != state.change.lock.unwrap_or(0) {
                Some(format!("{step} was scheduled under {fence}, the lock is {:?}", state.change.lock))
            } else {
                None
            }
        }
        Event::RollbackBegan { .. } if rollbacks > 1 || !state.retreat.steps.is_empty() => {
            Some("a rollback was rolled back".to_owned())
        }
        Event::RollbackBegan { .. } if !matches!(state.phase, Phase::Executing | Phase::Verifying) => {
            Some(format!("it turned back while {}", state.phase))
        }
        Event::Promoted {} if state.phase != Phase::Verifying => {
            Some(format!("promoted while {}", state.phase))
        }
        Event::RolledBack {} if state.phase != Phase::RollingBack => {
            Some(format!("rolled back while {}", state.phase))
        }
        Event::Locked { .. } if state.phase != Phase::Queued => Some(format!("locked while {}", state.phase)),
        Event::ExecutionBegan { .. } if state.phase != Phase::Locked => {
            Some(format!("began while {}", state.phase))
        }
        _ => None,
    }
}
