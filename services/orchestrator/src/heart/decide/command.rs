//! What people may do with a deployment, and why not.

use model::{
    Code, DeploymentId, Event, Fault, Phase, Principal, StepKind, Verdict,
    approval::Decision,
    command::{Action, Command},
    deployment::{Cause, CauseKind},
};

use super::{
    approval::{Said, on_decision},
    refusal, turn_back,
};
use crate::heart::{Context, state::Deployment};

/// A person wants something.
///
/// # Errors
/// A [`Fault`] that says why not: the journal moved on, nothing waits, it is too late, not allowed.
pub fn on_command(
    state: &Deployment,
    command: &Command,
    by: &Principal,
    context: Context<'_>,
) -> Result<Vec<Event>, Fault> {
    let refuse = |text: String| Err(Fault::new(Code::Conflict, text));
    if let Some(expected) = command.expect.filter(|expected| *expected != state.version) {
        return refuse(format!(
            "{} is at revision {} and not at {expected}: it moved on, look again",
            state.id, state.version
        ));
    }
    still_open(state)?;
    let by = by.clone();
    match &command.action {
        Action::Promote { full: true } if matches!(state.phase, Phase::Executing | Phase::Verifying) => {
            Ok(vec![Event::PromoteRequested { by, full: true }])
        }
        Action::Promote { full: false } if matches!(state.phase, Phase::Executing | Phase::Verifying) => {
            let pause = state.all_steps().find(|step| {
                matches!(step.kind, StepKind::Pause { .. }) && state.state_of(&step.id).is_open()
            });
            match (pause, &state.steering.paused) {
                (None, None) => refuse(format!("{} waits for nobody: there is nothing to promote", state.id)),
                _ => Ok(vec![Event::PromoteRequested { by, full: false }]),
            }
        }
        Action::Promote { .. } => refuse(format!("{}: there is nothing to promote", refusal::stands(state))),
        Action::Pause {} if state.phase < Phase::Promoted => Ok(vec![Event::Paused { by }]),
        Action::Pause {} => refuse(format!("{}: it cannot be paused", refusal::stands(state))),
        Action::Resume {} if state.steering.paused.is_some() => Ok(vec![Event::Resumed { by }]),
        Action::Resume {} => refuse(format!("{} is not paused", state.id)),
        Action::Abort { reason } => {
            turn_around(state, CauseKind::Operator, format!("aborted by {by}: {reason}"), context)
        }
        Action::Retry {} if state.phase == Phase::NeedsHuman && !state.retreat.steps.is_empty() => {
            let until = context.now.plus(state.spec.deadlines.rollback.0);
            Ok(vec![Event::RollbackRetried { by, epoch: state.epoch + 1, until }])
        }
        Action::Retry {} => refuse(format!("{}: there is no way back to retry", refusal::stands(state))),
        Action::Close { reason } if state.phase == Phase::NeedsHuman => {
            let text = format!("set right by hand by {by}: {reason}");
            let cause = Cause { kind: CauseKind::Operator, step: None, gate: None, text, at: context.now };
            Ok(vec![Event::Decided { verdict: Verdict::NeedsHuman, cause: Some(cause) }])
        }
        Action::Close { .. } => refuse(format!("{} does not wait for a person", state.id)),
        Action::Approve { plan, signed } => {
            let said = Said { decision: Decision::Approve, reason: "", signed: signed.as_deref() };
            on_decision(state, &by, plan, said, context)
        }
        Action::Deny { plan, reason, signed } => {
            let said = Said { decision: Decision::Deny, reason, signed: signed.as_deref() };
            on_decision(state, &by, plan, said, context)
        }
    }
}

/// The engine wants it out of the way of a newer deployment.
///
/// # Errors
/// A [`Fault`] that says why not: it is too late.
pub fn make_way(state: &Deployment, newer: &DeploymentId, context: Context<'_>) -> Result<Vec<Event>, Fault> {
    still_open(state)?;
    turn_around(state, CauseKind::Superseded, format!("{newer} takes its place"), context)
}

fn still_open(state: &Deployment) -> Result<(), Fault> {
    if state.phase < Phase::Decided {
        return Ok(());
    }
    Err(refusal::over(state))
}

/// Before the change it is withdrawn, during the change it goes back.
fn turn_around(
    state: &Deployment,
    kind: CauseKind,
    text: String,
    context: Context<'_>,
) -> Result<Vec<Event>, Fault> {
    let cause = Cause { kind, step: None, gate: None, text, at: context.now };
    match state.phase {
        Phase::Executing | Phase::Verifying if state.has_touched() => Ok(turn_back(state, cause, context)),
        Phase::Promoted | Phase::RollingBack | Phase::RolledBack | Phase::NeedsHuman => {
            Err(Fault::new(Code::Conflict, format!("{}: it cannot be aborted", refusal::stands(state))))
        }
        _ => {
            let verdict =
                if kind == CauseKind::Superseded { Verdict::Superseded } else { Verdict::Cancelled };
            Ok(vec![Event::Decided { verdict, cause: Some(cause) }])
        }
    }
}
