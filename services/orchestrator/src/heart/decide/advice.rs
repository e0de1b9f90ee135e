//! What experts say about a plan, and what the gate makes of it.
//!
//! Experts are asked after every check has passed, so that their votes never stand against a gate that measured. The
//! wait for them has an end of its own: `advise` goes on without them then, `require` does not.

use model::{
    Event, Phase, Token,
    deployment::{CauseKind, Mode},
    expert::{AdviceReport, PlanAdvice, passes},
    spec::GateMode,
};

use super::{is_past, reject};
use crate::heart::{Context, state::Deployment};

/// Asks, waits, or goes on without an answer.
pub(super) fn seek(state: &Deployment, context: Context<'_>) -> Vec<Event> {
    match state.advice_asked {
        None if gate(state, context) == GateMode::Off => {
            vec![unasked("off", "no experts were asked")]
        }
        None => vec![Event::AdviceAsked {
            gate: gate(state, context),
            until: context.now.plus(context.policy.advice),
        }],
        Some((_, until)) if is_past(Some(until), context.now) => {
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
    let (gate, _) = state.advice_asked?;
    if passes(gate, state.counsel.as_ref()) {
        return None;
    }
    let said = match &state.counsel {
        Some(advice) => words(advice),
        None => state.advice.as_ref().map(|(_, summary)| summary.clone()).unwrap_or_default(),
    };
    Some(reject(CauseKind::Advice, format!("experts must approve and do not: {said}"), context))
}

fn words(advice: &PlanAdvice) -> String {
    // The rule behind the action stands with the advice; here is what is to be cured.
    let why = match advice.findings.first() {
        Some(finding) => {
            let who: Vec<&str> = finding.experts.iter().map(Token::as_str).collect();
            format!("{} ({})", finding.statement, who.join(", "))
        }
        None => advice.reason.clone(),
    };
    format!("they say {}: {why}", advice.action.as_str().replace('_', " "))
}

/// Experts answered. An answer that comes late, twice, or about another plan gives nothing.
pub fn on_advice(state: &Deployment, report: &AdviceReport) -> Vec<Event> {
    let waits = state.phase == Phase::Planned && state.advice_asked.is_some() && state.verdict.is_none();
    if !waits || state.plan_digest.as_ref() != Some(&report.plan) {
        return Vec::new();
    }
    let advice = report.advice.clone();
    vec![Event::Advised {
        source: advice.source.clone(),
        summary: advice.summary(),
        advice: Some(Box::new(advice)),
    }]
}
