//! What people may do with a deployment, and why not.

use model::{
    Code, Digest, Event, Fault, Phase, StepKind, Verdict,
    command::{Action, Command},
    deployment::{Cause, CauseKind},
};

use super::turn_back;
use crate::heart::{Context, state::Deployment};

/// A person wants something.
///
/// # Errors
/// A [`Fault`] that says why not: the journal moved on, nothing waits, it is too late, not allowed.
pub fn on_command(state: &Deployment, command: &Command, context: Context<'_>) -> Result<Vec<Event>, Fault> {
    let refuse = |text: String| Err(Fault::new(Code::Conflict, text));
    if let Some(expected) = command.expect.filter(|expected| *expected != state.version) {
        return refuse(format!(
            "{} is at revision {} and not at {expected}: it moved on, look again",
            state.id, state.version
        ));
    }
    let by = command.by.clone();
    if state.phase >= Phase::Decided {
        let verdict = state.verdict.map_or("decided", Verdict::as_str);
        return refuse(format!("{} is {verdict}: nothing can be changed any more", state.id));
    }
    match &command.action {
        Action::Promote { full: true } if matches!(state.phase, Phase::Executing | Phase::Verifying) => {
            Ok(vec![Event::PromoteRequested { by, full: true }])
        }
        Action::Promote { full: false } if matches!(state.phase, Phase::Executing | Phase::Verifying) => {
            let pause = state.all_steps().find(|step| {
                matches!(step.kind, StepKind::Pause { .. }) && state.state_of(&step.id).is_open()
            });
            match (pause, &state.paused) {
                (None, None) => refuse(format!("{} waits for nobody: there is nothing to promote", state.id)),
                _ => Ok(vec![Event::PromoteRequested { by, full: false }]),
            }
        }
        Action::Promote { .. } => {
            refuse(format!("{} is {}: there is nothing to promote", state.id, state.phase))
        }
        Action::Pause {} if state.phase < Phase::Promoted => Ok(vec![Event::Paused { by }]),
        Action::Pause {} => refuse(format!("{} is {}: it cannot be paused", state.id, state.phase)),
        Action::Resume {} if state.paused.is_some() => Ok(vec![Event::Resumed { by }]),
        Action::Resume {} => refuse(format!("{} is not paused", state.id)),
        Action::Abort { reason } => on_abort(state, &by, reason, context),
        Action::Retry {} if state.phase == Phase::NeedsHuman && !state.way_back.is_empty() => {
            let until = context.now.plus(state.spec.deadlines.rollback.0);
            Ok(vec![Event::RollbackRetried { by, epoch: state.epoch + 1, until }])
        }
        Action::Retry {} => refuse(format!("{} is {}: there is no way back to retry", state.id, state.phase)),
        Action::Close { reason } if state.phase == Phase::NeedsHuman => {
            let text = format!("set right by hand by {by}: {reason}");
            let cause = Cause { kind: CauseKind::Operator, step: None, gate: None, text, at: context.now };
            Ok(vec![Event::Decided { verdict: Verdict::NeedsHuman, cause: Some(cause) }])
        }
        Action::Close { .. } => refuse(format!("{} does not wait for a person", state.id)),
        Action::Approve { plan } => on_approve(state, by, plan),
    }
}

/// Before the change it is withdrawn, during the change it goes back.
fn on_abort(state: &Deployment, by: &str, reason: &str, context: Context<'_>) -> Result<Vec<Event>, Fault> {
    let (kind, text) = match by.strip_prefix("superseded-by:") {
        Some(newer) => (CauseKind::Superseded, format!("{newer} takes its place")),
        None => (CauseKind::Operator, format!("aborted by {by}: {reason}")),
    };
    let cause = Cause { kind, step: None, gate: None, text, at: context.now };
    match state.phase {
        Phase::Executing | Phase::Verifying if state.has_touched() => Ok(turn_back(state, cause, context)),
        Phase::Promoted | Phase::RollingBack | Phase::RolledBack | Phase::NeedsHuman => {
            Err(Fault::new(Code::Conflict, format!("{} is {}: it cannot be aborted", state.id, state.phase)))
        }
        _ => {
            let verdict =
                if kind == CauseKind::Superseded { Verdict::Superseded } else { Verdict::Cancelled };
            Ok(vec![Event::Decided { verdict, cause: Some(cause) }])
        }
    }
}

fn on_approve(state: &Deployment, by: String, plan: &Digest) -> Result<Vec<Event>, Fault> {
    let refuse = |code, text: String| Err(Fault::new(code, text));
    let Some(rule) = state.spec.gates.approvals.as_ref().filter(|_| state.phase == Phase::AwaitingApproval)
    else {
        return refuse(Code::Conflict, format!("{} does not wait for an approval", state.id));
    };
    if state.plan_digest.as_ref() != Some(plan) {
        let now = state.plan_digest.as_ref().map(Digest::to_string).unwrap_or_default();
        return refuse(Code::Conflict, format!("the plan of {} is {now}, not {plan}", state.id));
    }
    if by == state.initiator {
        return refuse(Code::Denied, format!("{by} asked for {} and so cannot approve it", state.id));
    }
    if !rule.from.is_empty() && !rule.from.contains(&by) {
        return refuse(
            Code::Denied,
            format!("{by} is not among those who may approve: {}", rule.from.join(", ")),
        );
    }
    if state.approvals.contains(&by) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::Approved { by, plan: plan.clone() }])
}
