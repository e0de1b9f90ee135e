//! Everyone at once: the panel takes as long as its slowest member, at most its deadline, and less when nobody who is
//! still silent could change the action.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use model::{
    Digest,
    expert::{Action, AnswerStatus, AskingStep, Ballot, ConsultationEvent, ExpertId},
};
use opinion::{Facts, Records, can_missing_change};
use providers::{
    Ask, Expert,
    hedge::{self, Outcome, Seat},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    One, millis,
    reading::{Put, ballot, without},
    steward::{Ended, Steward},
};
use crate::{
    error::Error,
    heart::{prompt::prompt, rules::Rule},
    panel::Panel,
};

/// Why somebody is not waited for.
const SETTLED: &str = "no answer of it could have changed the action";
const UNWANTED: &str = "nobody wants the answer any more";

type Outcomes = Pin<Box<dyn Stream<Item = Outcome> + Send>>;

/// What is still under way when the opinion is formed.
pub struct Late {
    outcomes: Outcomes,
    steward: Arc<Steward>,
}

/// What is known of a panel while it answers.
#[derive(Default)]
struct Round {
    ballots: Vec<Ballot>,
    missing: Vec<ExpertId>,
    /// What is to be settled.
    ended: Vec<Ended>,
}

impl One {
    /// Asks the panel. What is still under way at the deadline goes on, to be taken down as late.
    pub(super) async fn ask_all(
        &self,
        panel: Panel,
        facts: &Facts,
        records: &Records,
    ) -> Result<(Vec<Ballot>, Option<Late>), Error> {
        let mut round = Round::default();
        for rule in &panel.rules {
            self.ask_rule(*rule, &mut round).await;
        }
        let cancel = CancellationToken::new();
        let (seats, steward) = self.seats(&panel.experts, &cancel, facts, &mut round).await?;
        let hedging = self.asking.everyone.circle.catalogue().hedging;
        let mut outcomes: Outcomes = Box::pin(hedge::fan_out(seats, hedging));
        let deadline = self.begun + Duration::from_millis(self.asked.question.deadline_ms);
        let stopping = self.asking.tasks.stopping();
        let mut stopped = None;
        while !round.missing.is_empty() {
            if self.is_settled(facts, &round, records) {
                stopped = Some(SETTLED);
                break;
            }
            tokio::select! {
                outcome = outcomes.next() => match outcome {
                    Some(outcome) => self.hear(outcome, &mut round, &steward).await,
                    None => break,
                },
                () = tokio::time::sleep_until(deadline) => break,
                () = self.how.unwanted.cancelled() => {
                    stopped = Some(UNWANTED);
                    break;
                }
                () = stopping.cancelled() => {
                    cancel.cancel();
                    drop(outcomes);
                    steward.settle(&round.ended).await?;
                    steward.release().await;
                    return Err(Error::Stopping);
                }
            }
        }
        let late = stopped.is_none() && !round.missing.is_empty() && !self.asking.config.late.0.is_zero();
        self.close(&mut round, stopped).await;
        steward.settle(&round.ended).await?;
        if !late {
            cancel.cancel();
            // Nobody may be asked again from here on.
            drop(outcomes);
            steward.release().await;
            return Ok((round.ballots, None));
        }
        Ok((round.ballots, Some(Late { outcomes, steward })))
    }

    /// Nobody who is still silent could change the action. Without a quorum everyone is waited for: there is no action
    /// then, and what experts find is worth knowing all the same.
    fn is_settled(&self, facts: &Facts, round: &Round, records: &Records) -> bool {
        let may_stop = self.asking.config.early_stop && !self.how.for_all;
        let policy = &self.asking.config.policy;
        may_stop
            && !can_missing_change(facts, &round.ballots, &round.missing, records, policy)
            && opinion::weigh(facts, &round.ballots, records, policy).action != Action::NoQuorum
    }

    async fn ask_rule(&self, rule: Rule, round: &mut Round) {
        let nonce = self.secret("nonce", rule.name());
        self.say(&rule.id(), AskingStep::Asked {}).await;
        let answer = rule.answer(&self.asked.question, &nonce);
        let mut ballot = without(rule.id(), AnswerStatus::Ok, "", millis(self.begun.elapsed()));
        if answer.verdict == model::expert::Stance::Abstain {
            ballot.status = AnswerStatus::Abstained;
        }
        ballot.answer = Some(answer);
        self.answered(&ballot).await;
        round.ballots.push(ballot);
    }

    /// One seat per expert that can be paid; the others have their ballot already.
    async fn seats(
        &self,
        experts: &[Arc<dyn Expert>],
        cancel: &CancellationToken,
        facts: &Facts,
        round: &mut Round,
    ) -> Result<(Vec<Seat>, Arc<Steward>), Error> {
        let families: Vec<model::Token> = experts.iter().map(|expert| expert.who().family.clone()).collect();
        let circle = &self.asking.everyone.circle;
        let (mut seats, mut puts, mut estimates) = (Vec::new(), BTreeMap::new(), Vec::new());
        for expert in experts {
            let (who, fallback) = (expert.who(), circle.fallback(&expert.who().name, &families).cloned());
            let (ask, put) = self.put(who, cancel);
            estimates.push((who.clone(), expert.estimate(&ask)));
            puts.insert(who.clone(), put);
            seats.push(Seat { expert: Arc::clone(expert), fallback, ask, steward: None });
        }
        let steward = Arc::new(Steward::new(self.clone(), puts, facts.evidence.clone()));
        let reserved = steward.reserve(&estimates).await?;
        let mut paid = Vec::new();
        for (seat, reserved) in seats.into_iter().zip(reserved) {
            let who = seat.expert.who().clone();
            match reserved {
                Ok(()) => {
                    self.say(&who, AskingStep::Asked {}).await;
                    round.missing.push(who);
                    paid.push(Seat { steward: Some(steward.clone()), ..seat });
                }
                Err(over) => {
                    let ballot = without(who, AnswerStatus::Quota, over.to_string(), 0);
                    self.answered(&ballot).await;
                    round.ballots.push(ballot);
                }
            }
        }
        Ok((paid, steward))
    }

    fn put(&self, who: &ExpertId, cancel: &CancellationToken) -> (Ask, Put) {
        let (nonce, mark) = (self.secret("nonce", who.name.as_str()), self.secret("mark", who.name.as_str()));
        let words = prompt(&self.asked.question, &nonce, &format!("=={mark}=="));
        let deadline = Duration::from_millis(self.asked.question.deadline_ms) + self.asking.config.late.0;
        let mut ask =
            Ask::new(words.system, words.user, deadline).in_schema("answer", opinion::schema::answer());
        ask.deadline = self.begun + deadline;
        ask.cancel = cancel.child_token();
        // The nonce follows from what is asked, so the same question is the same prompt.
        ask.cache_key = (!self.asked.question.fresh).then(|| ask.digest());
        let put = Put { nonce, prompt: ask.digest() };
        (ask, put)
    }

    /// Sixteen hex digits that nobody can know who does not hold our secret; another one for every text, every expert,
    /// and with `fresh` every time.
    fn secret(&self, what: &str, expert: &str) -> String {
        let salt = if self.asked.question.fresh { self.asked.id.as_str() } else { "" };
        let key = hex(&self.asking.secret);
        Digest::of(&(key, what, expert, salt, &self.asked.digest)).short()
    }

    async fn hear(&self, outcome: Outcome, round: &mut Round, steward: &Steward) {
        let seat = outcome.seat.clone();
        round.missing.retain(|missing| *missing != seat);
        let Some(put) = steward.put(&seat) else { return };
        let ballot = ballot(&outcome, put, steward.evidence(), millis(self.begun.elapsed()), false);
        self.answered(&ballot).await;
        round.ended.push(Ended::of(&outcome, &ballot));
        round.ballots.push(ballot);
    }

    /// Those who are not waited for any more have no vote; it is never taken for a "no".
    async fn close(&self, round: &mut Round, stopped: Option<&str>) {
        let took = millis(self.begun.elapsed());
        for expert in std::mem::take(&mut round.missing) {
            let reason = match stopped {
                Some(why) => format!("not waited for: {why}"),
                None => format!("no answer within {} ms", self.asked.question.deadline_ms),
            };
            self.say(&expert, AskingStep::Stopped {}).await;
            round.ballots.push(without(expert, AnswerStatus::Timeout, reason, took));
        }
    }

    /// Answers that come after the opinion are taken down and change nothing.
    pub(super) async fn take_down(&self, mut late: Late) {
        let stopping = self.asking.tasks.stopping();
        loop {
            let outcome = tokio::select! {
                outcome = late.outcomes.next() => outcome,
                () = stopping.cancelled() => None,
            };
            let Some(outcome) = outcome else { break };
            let Some(put) = late.steward.put(&outcome.seat) else { continue };
            let ballot = ballot(&outcome, put, late.steward.evidence(), millis(self.begun.elapsed()), true);
            self.asking.counts.ballot(&ballot);
            let (expert, event) =
                (ballot.expert.clone(), ConsultationEvent::Late { ballot: Box::new(ballot.clone()) });
            let (store, now) = (&self.asking.store, self.asking.clock.now());
            let noted = store.note(&self.asked.id, event, now, |story| story.has_late(&expert)).await;
            let settled = late.steward.settle(&[Ended::of(&outcome, &ballot)]).await;
            if let Err(error) = noted.and(settled) {
                warn!(question = %self.asked.id, cause = chassis::chain(&error), "a late answer was not taken down");
            }
        }
        let Late { outcomes, steward } = late;
        drop(outcomes);
        steward.release().await;
    }

    async fn answered(&self, ballot: &Ballot) {
        let stance = ballot.answer.as_ref().map(|answer| answer.verdict);
        self.say(&ballot.expert, AskingStep::Answered { status: ballot.status, stance }).await;
    }

    pub(super) async fn say(&self, expert: &ExpertId, step: AskingStep) {
        self.asking.progress(&self.asked.id, Some(expert.clone()), step, self.begun).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
