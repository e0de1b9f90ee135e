//! When a deployment has something to decide although nothing comes from outside.

use model::{Outcome, Phase, Step, StepKind, Timestamp};

use super::{AGAIN, is_running_background, is_spent, waits_apart};
use crate::heart::state::Deployment;

/// The next time at which [`super::advance`] may have something to say although nothing came from outside.
pub fn wake_at(deployment: &Deployment) -> Option<Timestamp> {
    let mut times = Vec::new();
    match deployment.phase {
        Phase::AwaitingApproval | Phase::Queued => times.extend(deployment.clearance.until),
        Phase::Executing | Phase::Verifying if !waits_apart(deployment) => {
            times.extend(deployment.change.until)
        }
        Phase::RollingBack => times.extend(deployment.retreat.until),
        Phase::Planned => {
            times.extend(pause_ends(deployment));
            times.extend(deployment.clearance.asked.map(|inquiry| inquiry.until));
        }
        _ => {}
    }
    if let Some(stage) = deployment.open_stage() {
        let begun = |step: &&Step| deployment.steps.get(&step.id).is_some_and(|state| state.attempt > 0);
        let last_wave = deployment.stage(stage).filter(begun).map(|step| step.wave).max();
        // What an earlier wave left is over or given up, and its times would be due for ever.
        let counts = |step: &&Step| Some(step.wave) == last_wave || is_running_background(deployment, step);
        for step in deployment.stage(stage).filter(counts) {
            let Some(state) = deployment.steps.get(&step.id).filter(|state| !is_spent(step, state)) else {
                continue;
            };
            match (&state.result, &step.kind, state.scheduled) {
                (None, StepKind::Pause { duration: Some(duration) }, Some(at)) => {
                    times.push(at.plus(duration.0))
                }
                (None, _, Some(_)) => times.extend(state.until),
                (Some((result, at)), _, _) if result.outcome != Outcome::Succeeded => {
                    times.push(at.plus(AGAIN.most(state.attempt)));
                }
                _ => {}
            }
        }
    }
    times.into_iter().min()
}

/// During the change the total deadline bounds a pause that a person asked for; before it, the wait for people does.
pub(super) fn pause_ends(state: &Deployment) -> Option<Timestamp> {
    state.steering.paused.as_ref().map(|pause| pause.since.plus(state.spec.deadlines.human.0))
}
