//! What to do when an expert is slow or down: somebody of another family is asked as well, or instead.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{Stream, stream::FuturesUnordered};
use model::{
    Span,
    expert::{ExpertId, Usage},
};
use serde::{Deserialize, Serialize};

use crate::{
    account::Estimate,
    ask::{Ask, Expert, Reply},
    failure::{Class, Failure},
};

/// When somebody else is asked as well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hedging {
    /// Late is who takes longer than this many times the time in which 95 of 100 past answers came. Default 1.5.
    pub times_p95: f64,
    /// With fewer past answers nothing is known about an expert. Default 10.
    pub least_answers: usize,
    /// When an unknown expert is late. None: it is waited for. Default none.
    pub unknown_after: Option<Span>,
    /// Nobody is late earlier than this. Default 1 s.
    pub at_least: Span,
}

impl Default for Hedging {
    fn default() -> Hedging {
        Hedging { times_p95: 1.5, least_answers: 10, unknown_after: None, at_least: Span::seconds(1) }
    }
}

impl Hedging {
    /// How long this expert may take before it is late. None: it is waited for.
    pub fn patience(&self, expert: &dyn Expert) -> Option<Duration> {
        let known = expert.latencies().filter(|past| past.count() >= self.least_answers.max(1));
        let patience = match known.and_then(|past| past.quantile(0.95)) {
            Some(p95) => Duration::try_from_secs_f64(p95.as_secs_f64() * self.times_p95.max(0.0)).ok()?,
            None => self.unknown_after?.0,
        };
        Some(patience.max(self.at_least.0))
    }
}

/// Whoever asks: is told what goes on at a seat, and has a say in asking once more.
#[async_trait]
pub trait Steward: Send + Sync {
    /// `by` is asked in place of, or beside, the seat's own expert.
    async fn stands_in(&self, seat: &ExpertId, by: &ExpertId);

    /// What is wrong with this answer; none when it can be used.
    fn objection(&self, seat: &ExpertId, reply: &Reply) -> Option<String>;

    /// Whether `by` may be asked once more, at this cost.
    async fn may_ask_again(
        &self,
        seat: &ExpertId,
        by: &ExpertId,
        objection: &str,
        estimate: Estimate,
    ) -> bool;
}

/// One seat of a panel: who is asked, what, and who stands in.
#[derive(Clone)]
pub struct Seat {
    /// Who is asked.
    pub expert: Arc<dyn Expert>,
    /// Who is asked when that one is late or fails: of another family.
    pub fallback: Option<Arc<dyn Expert>>,
    /// What is asked.
    pub ask: Ask,
    /// Who is told; with nobody the first answer is taken, whatever it holds.
    pub steward: Option<Arc<dyn Steward>>,
}

/// What became of one seat.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whose seat it is.
    pub seat: ExpertId,
    /// Who answered, or failed last.
    pub by: ExpertId,
    /// The answer.
    pub result: Result<Reply, Failure>,
    /// The failure of the seat's own expert, when its fallback was asked because of it.
    pub instead: Option<Failure>,
    /// Who was still writing when the other one's answer was there. The vendor may charge for it all the same.
    pub abandoned: Option<ExpertId>,
    /// What the failed tries used, beside what the result says.
    pub wasted: Usage,
}

/// Asks every seat at once. Outcomes come as they happen; dropping the stream cancels what is under way.
pub fn fan_out(seats: Vec<Seat>, hedging: Hedging) -> impl Stream<Item = Outcome> + Send {
    seats
        .into_iter()
        .map(|seat| async move { ask_seat(&seat, &hedging).await })
        .collect::<FuturesUnordered<_>>()
}

/// Asks one seat: its expert, and its fallback when that one is late or fails. The first answer wins, the other question
/// is cancelled.
pub async fn ask_seat(seat: &Seat, hedging: &Hedging) -> Outcome {
    let first = seat.expert.as_ref();
    let Some(second) = seat.fallback.as_deref().filter(|other| other.who().family != first.who().family)
    else {
        return Outcome::of(first, first, seat.ask_of(first).await);
    };
    let patience = hedging.patience(first).unwrap_or(Duration::MAX);
    let mut asked_first = Box::pin(seat.ask_of(first));
    let late = tokio::time::timeout(patience.min(seat.ask.left()), &mut asked_first).await;

    match late {
        Ok(result) if !wants_another(&result) => Outcome::of(first, first, result),
        Ok(result) => {
            let failure = result.err();
            seat.stands_in(second).await;
            let mut outcome = Outcome::of(first, second, seat.ask_of(second).await);
            outcome.wasted = failure.as_ref().map(|failure| failure.usage).unwrap_or_default();
            outcome.instead = failure;
            outcome
        }
        // The deadline: the expert itself says how it ends.
        Err(_) if seat.ask.left().is_zero() => Outcome::of(first, first, asked_first.await),
        Err(_) => {
            seat.stands_in(second).await;
            let mut asked_second = Box::pin(seat.ask_of(second));
            tokio::select! {
                biased;
                result = &mut asked_first => {
                    if !wants_another(&result) {
                        return Outcome { abandoned: Some(second.who().clone()), ..Outcome::of(first, first, result) };
                    }
                    Outcome::of(first, first, result).or(Outcome::of(first, second, asked_second.await))
                }
                result = &mut asked_second => {
                    if result.is_ok() {
                        return Outcome { abandoned: Some(first.who().clone()), ..Outcome::of(first, second, result) };
                    }
                    Outcome::of(first, second, result).or(Outcome::of(first, first, asked_first.await))
                }
            }
        }
    }
}

impl Seat {
    /// Asks, and once more when the answer cannot be used, time and money are left: only the second answer counts then.
    async fn ask_of(&self, expert: &dyn Expert) -> Result<Reply, Failure> {
        let first = expert.ask(&self.ask).await?;
        let Some(steward) = &self.steward else { return Ok(first) };
        let seat = self.expert.who();
        let Some(objection) = steward.objection(seat, &first) else { return Ok(first) };
        let ask = self.ask.again(&objection);
        let time_left = !ask.left().is_zero() && !ask.cancel.is_cancelled();
        if !time_left || !steward.may_ask_again(seat, expert.who(), &objection, expert.estimate(&ask)).await {
            return Ok(first);
        }
        match expert.ask(&ask).await {
            Ok(second) => Ok(Reply {
                usage: first.usage + second.usage,
                tries: first.tries + second.tries,
                took: first.took + second.took,
                again: Some(objection),
                ..second
            }),
            Err(failure) => Err(Failure {
                usage: first.usage + failure.usage,
                tries: first.tries + failure.tries,
                detail: format!("asked again, because {objection}; {}", failure.detail),
                ..failure
            }),
        }
    }

    async fn stands_in(&self, by: &dyn Expert) {
        if let Some(steward) = &self.steward {
            steward.stands_in(self.expert.who(), by.who()).await;
        }
    }
}

impl Outcome {
    fn of(seat: &dyn Expert, by: &dyn Expert, result: Result<Reply, Failure>) -> Outcome {
        Outcome {
            seat: seat.who().clone(),
            by: by.who().clone(),
            result,
            instead: None,
            abandoned: None,
            wasted: Usage::default(),
        }
    }

    /// The second outcome of a seat whose first one is a failure.
    fn or(self, second: Outcome) -> Outcome {
        let failure = self.result.err();
        let wasted = failure.as_ref().map(|failure| failure.usage).unwrap_or_default();
        // Only what the seat's own expert said is the reason for its fallback.
        let instead = if self.by == self.seat { failure } else { None };
        Outcome { wasted, instead, ..second }
    }
}

/// Whether another expert might do better. A refusal is an answer; what the asker cancelled nobody wants.
fn wants_another(result: &Result<Reply, Failure>) -> bool {
    match result {
        Ok(_) => false,
        Err(failure) => {
            !matches!(failure.class, Class::Cancelled | Class::Blocked | Class::Timeout(crate::Phase::Total))
        }
    }
}
