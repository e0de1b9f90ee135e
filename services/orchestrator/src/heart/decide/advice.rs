//! What experts say about a plan, and what the gate makes of it.
//!
//! Experts are asked after every check has passed, so that their votes never stand against a gate that measured. The
//! wait for them has an end of its own: `advise` goes on without them then, `require` does not.

use model::{
    Event, Phase,
    deployment::{CauseKind, Mode},
    expert::AdviceReport,
    spec::GateMode,
};

use super::{is_past, refusal, reject};
use crate::heart::{Context, state::Deployment};

/// Asks, waits, or goes on without an answer.
pub(super) fn seek(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    match state.clearance.asked {
        None if gate(state, context) == GateMode::Off => {
            vec![unasked("off", "no experts were asked")]
        }
        None => vec![Event::AdviceAsked {
            gate: gate(state, context),
            until: context.now.plus(context.policy.advice),
        }],
        Some(inquiry) if is_past(Some(inquiry.until), context.now) => {
            let text = format!("no opinion came within {}", model::Span(context.policy.advice));
            vec![unasked("none", &text)]
        }
        Some(_) => Vec::new(),
    }
}

/// The stricter of what the spec and the policy say. A way back asks nobody.
fn gate(state: &Deployment, context: Context<'_>) -> GateMode {
    match state.mode {
        Mode::Rollback => GateMode::Off,
        Mode::Apply => state.spec.gates.experts.max(context.policy.experts),
    }
}

fn unasked(source: &str, summary: &str) -> Event {
    Event::Advised { source: source.to_owned(), summary: summary.to_owned(), advice: None }
}

/// Why the gate stays closed, if it does: it requires an approval, and what came is none.
pub(super) fn holds_back(state: &Deployment, context: Context<'_>) -> Option<Vec<Event>> {
    let gate = state.clearance.asked?.gate;
    let otherwise = state.clearance.said.as_ref().map(|said| said.summary.as_str()).unwrap_or_default();
    let text = refusal::not_approved(gate, state.clearance.counsel.as_ref(), otherwise)?;
    Some(reject(CauseKind::Advice, text, context))
}

/// Experts answered. An answer that comes late, twice, or about another plan gives nothing.
pub fn on_advice(state: &Deployment, report: &AdviceReport) -> Vec<Event> {
    let waits =
        state.phase == Phase::Planned && state.clearance.asked.is_some() && state.ending.verdict.is_none();
    if !waits || state.change.digest.as_ref() != Some(&report.plan) {
        return Vec::new();
    }
    let advice = report.advice.clone();
    vec![Event::Advised {
        source: advice.source.clone(),
        summary: advice.summary(),
        advice: Some(Box::new(advice)),
    }]
}
