//! Whose approvals are waited for, when enough people gave theirs, and why one is not taken.

use model::{
    Code, Digest, Event, Fault, Principal,
    approval::{Decision, Signed, Terms},
    deployment::{CauseKind, Mode},
};

use super::{await_lock, is_past, reject};
use crate::heart::{Context, state::Deployment};

/// What is waited for.
#[derive(PartialEq)]
enum Wanted {
    Nothing,
    /// So many people who say a name.
    Said,
    /// Signatures, under these terms.
    Signed(Box<Terms>),
}

/// As the operator and the spec ask for it now. A way back waits for nobody.
fn wanted(state: &Deployment, context: Context<'_>) -> Wanted {
    if state.mode == Mode::Rollback {
        return Wanted::Nothing;
    }
    match context.approvals {
        Some(rulebook) => match rulebook.terms(&state.spec) {
            Some(terms) => Wanted::Signed(Box::new(terms)),
            None => Wanted::Nothing,
        },
        None if state.spec.gates.approvals.is_some() => Wanted::Said,
        None => Wanted::Nothing,
    }
}

/// Begins to wait for people, or goes on.
pub(super) fn seek(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    let until = context.now.plus(state.spec.deadlines.human.0);
    match wanted(state, context) {
        Wanted::Nothing => vec![await_lock(state, context)],
        Wanted::Said => vec![Event::ApprovalAwaited { until, terms: None }],
        Wanted::Signed(terms) => {
            let missing = state.ballot(&terms).out_of_reach(&state.initiator);
            if missing.is_empty() {
                return vec![Event::ApprovalAwaited { until, terms: Some(terms) }];
            }
            let text = format!(
                "nobody can give the approvals that are asked for ({}), since {} asked for it: {}; the operator names more \
                 people in orchestrator.approvals, or somebody else asks",
                approval::in_words(&terms),
                state.initiator,
                missing.join(", ")
            );
            reject(CauseKind::Invalid, text, context)
        }
    }
}

/// Goes on when enough people approved, stops when one denied.
pub(super) fn wait(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    let clearance = &state.clearance;
    if let Some((by, reason)) = &clearance.denied {
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        return reject(CauseKind::Operator, format!("denied by {by}{why}"), context);
    }
    let waits_for = clearance.ballot.as_ref().map(|ballot| Box::new(ballot.terms().clone()));
    let waits_for = waits_for.map_or(Wanted::Said, Wanted::Signed);
    let wanted = wanted(state, context);
    // Who may approve, and by which keys, is what holds now, and not what held when it began to wait.
    match (wanted, clearance.until) {
        // First nobody's signature is waited for any more, then it goes on: whoever counts again finds none missing.
        (Wanted::Nothing, Some(until)) if clearance.ballot.is_some() => {
            return vec![Event::ApprovalAwaited { until, terms: None }];
        }
        (Wanted::Nothing, _) => return vec![await_lock(state, context)],
        (wanted, Some(until)) if wanted != waits_for => {
            let terms = match wanted {
                Wanted::Signed(terms) => Some(terms),
                Wanted::Said | Wanted::Nothing => None,
            };
            return vec![Event::ApprovalAwaited { until, terms }];
        }
        _ => {}
    }
    let required = state.spec.gates.approvals.as_ref().map_or(0, |approvals| usize::from(approvals.required));
    let missing = match &clearance.ballot {
        Some(ballot) => ballot.missing(context.now),
        None if clearance.approvals.len() < required => {
            vec![format!("{} of {required} approvals came", clearance.approvals.len())]
        }
        None => Vec::new(),
    };
    if missing.is_empty() {
        return vec![await_lock(state, context)];
    }
    if is_past(clearance.until, context.now) {
        let text = match &clearance.ballot {
            Some(_) => format!("signed approvals were missing at the deadline: {}", missing.join(", ")),
            None => format!("{} before the deadline", missing.join(", ")),
        };
        return reject(CauseKind::Deadline, text, context);
    }
    Vec::new()
}

/// Somebody says yes or no.
///
/// # Errors
/// A [`Fault`] that says why it is not taken.
pub(super) fn on_decision(
    state: &Deployment,
    by: &Principal,
    plan: &Digest,
    said: Said<'_>,
    context: Context<'_>,
) -> Result<Vec<Event>, Fault> {
    let refuse = |code, text: String| Err(Fault::new(code, text));
    if state.phase != model::Phase::AwaitingApproval {
        return refuse(Code::Conflict, format!("{} does not wait for an approval", state.id));
    }
    if is_past(state.clearance.until, context.now) {
        return refuse(Code::Conflict, format!("the time to approve {} is over", state.id));
    }
    if state.change.digest.as_ref() != Some(plan) {
        let now = state.change.digest.as_ref().map(Digest::to_string).unwrap_or_default();
        return refuse(Code::Conflict, format!("the plan of {} is {now}, not {plan}", state.id));
    }
    let Some(ballot) = &state.clearance.ballot else {
        if said.signed.is_some() {
            let text = format!(
                "the engine knows no signers, so nothing tells whose signature it is: the operator sets \
                 orchestrator.approvals.signers; until then approve {} without --key",
                state.id
            );
            return refuse(Code::Conflict, text);
        }
        may(state, by)?;
        if said.decision == Decision::Approve && state.clearance.approvals.contains(by) {
            return Ok(Vec::new());
        }
        return Ok(vec![said.event(by.clone(), plan.clone())]);
    };
    let Some(signed) = said.signed else {
        let text = format!(
            "an approval of {} has to be signed: codectl approve {} --plan {plan} signs it by the key in your ssh-agent, or \
             with --key FILE; asked for are {}",
            state.id,
            state.id,
            approval::in_words(ballot.terms())
        );
        return refuse(Code::Denied, text);
    };
    if ballot.has(signed) {
        return Ok(Vec::new());
    }
    match state.examine(signed, said.decision, context.now) {
        Some(Ok(vote)) => {
            let reason = scrub::one_line(&vote.statement.predicate.reason).into_owned();
            Ok(vec![Said { reason: &reason, ..said }.event(vote.by, plan.clone())])
        }
        Some(Err(refusal)) => refuse(Code::Denied, refusal.to_string()),
        None => refuse(Code::Conflict, format!("{} has no plan to approve", state.id)),
    }
}

/// What somebody says.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub decision: Decision,
    pub reason: &'a str,
    pub signed: Option<&'a Signed>,
}

impl Said<'_> {
    fn event(self, by: Principal, plan: Digest) -> Event {
        let signed = self.signed.cloned().map(Box::new);
        match self.decision {
            Decision::Approve => Event::Approved { by, plan, signed },
            Decision::Deny => Event::Denied { by, plan, reason: self.reason.to_owned(), signed },
        }
    }
}

/// Somebody of whom only the name is known may decide.
fn may(state: &Deployment, by: &Principal) -> Result<(), Fault> {
    let refuse = |text: String| Err(Fault::new(Code::Denied, text));
    if !by.is_person() {
        return refuse(format!("{by} is no person and so cannot approve {}", state.id));
    }
    if by.goes_by_the_name_of(&state.initiator) {
        return refuse(format!("{by} asked for {} and so cannot approve it", state.id));
    }
    let from = state.spec.gates.approvals.as_ref().map(|rule| rule.from.as_slice()).unwrap_or_default();
    if !from.is_empty() && !from.iter().any(|entry| by.is_meant_by(entry)) {
        return refuse(format!("{by} is not among those who may approve: {}", from.join(", ")));
    }
    Ok(())
}
