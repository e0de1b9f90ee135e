//! What becomes of one expert's raw answer: a ballot.

use model::{
    Digest,
    expert::{AnswerStatus, Ballot, ExpertId, Stance, Usage},
};
use providers::{Failure, Reply, Stop, hedge::Outcome};

use crate::heart::question::beginning;

/// Longest reason in a ballot, in characters.
const REASON: usize = 400;

/// What was asked of one seat.
#[derive(Clone, Debug)]
pub struct Put {
    /// What the answer has to echo.
    pub nonce: String,
    /// The digest of the prompt.
    pub prompt: Digest,
}

/// The ballot of an outcome. `took_ms` counts from asking the panel.
pub fn ballot(outcome: &Outcome, put: &Put, evidence: &[String], took_ms: u64, late: bool) -> Ballot {
    let instead =
        outcome.instead.as_ref().map(|failure| format!("in place of {}: {failure}", outcome.seat.name));
    let beside = (outcome.by != outcome.seat && instead.is_none())
        .then(|| format!("beside {}, which was late", outcome.seat.name));
    let wasted = outcome.wasted;
    let by = outcome.by.clone();
    let mut ballot = match &outcome.result {
        Ok(reply) => answered(by, reply, put, evidence),
        Err(failure) => failed(by, failure),
    };
    let remarks = [instead, beside, Some(std::mem::take(&mut ballot.reason))];
    let remarks: Vec<String> = remarks.into_iter().flatten().filter(|remark| !remark.is_empty()).collect();
    ballot.reason = scrub::scrub(&beginning(&scrub::visible(&remarks.join("; ")), REASON)).text;
    ballot.usage = add(ballot.usage, wasted);
    ballot.prompt = Some(put.prompt.clone());
    (ballot.took_ms, ballot.late) = (took_ms, late);
    ballot
}

/// A ballot without an answer.
pub fn without(expert: ExpertId, status: AnswerStatus, reason: impl Into<String>, took_ms: u64) -> Ballot {
    Ballot {
        expert,
        status,
        answer: None,
        reason: reason.into(),
        took_ms,
        usage: Usage::default(),
        prompt: None,
        cached: false,
        late: false,
    }
}

fn failed(by: ExpertId, failure: &Failure) -> Ballot {
    let mut ballot = without(by, failure.class.status(), failure.to_string(), 0);
    ballot.usage = failure.usage;
    ballot
}

fn answered(mut by: ExpertId, reply: &Reply, put: &Put, evidence: &[String]) -> Ballot {
    let again = reply.again.as_ref().map(|why| format!("asked again, because {why}"));
    let mut reason = again.unwrap_or_default();
    if reply.substituted {
        // Another model's record must not count for, or against, the one that was asked.
        let instead = format!("{} answered instead of {}", reply.model, by.version);
        reason = if reason.is_empty() { instead } else { format!("{reason}; {instead}") };
        by.version.clone_from(&reply.model);
    }
    let mut ballot = without(by, reply.stop.status(), reason, 0);
    (ballot.usage, ballot.cached) = (reply.usage, reply.cached);
    match reply.stop {
        Stop::Complete => {}
        Stop::Truncated => return Ballot { reason: "it ran into its token limit".to_owned(), ..ballot },
        Stop::Refused => return Ballot { reason: beginning(&reply.text, REASON), ..ballot },
    }
    match opinion::parse(reply.text.as_bytes(), &put.nonce, evidence) {
        Ok(reading) => {
            if reading.answer.verdict == Stance::Abstain {
                ballot.status = AnswerStatus::Abstained;
            }
            let remarks = std::iter::once(ballot.reason).chain(reading.repairs);
            ballot.reason = remarks.filter(|remark| !remark.is_empty()).collect::<Vec<_>>().join("; ");
            ballot.answer = Some(reading.answer);
        }
        Err(unreadable) => {
            ballot.status = unreadable.status();
            let remarks = [ballot.reason, unreadable.to_string()];
            ballot.reason =
                remarks.into_iter().filter(|remark| !remark.is_empty()).collect::<Vec<_>>().join("; ");
        }
    }
    ballot
}

fn add(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens + other.input_tokens,
        cached_tokens: one.cached_tokens + other.cached_tokens,
        output_tokens: one.output_tokens + other.output_tokens,
        cost_micro_usd: one.cost_micro_usd + other.cost_micro_usd,
    }
}
