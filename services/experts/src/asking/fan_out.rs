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
    Ask, Expert, OverBudget,
    account::Reservation,
    hedge::{self, Outcome, Seat},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    One, millis,
    reading::{Put, ballot, without},
};
use crate::{
    error::Error,
    heart::{prompt::prompt, rules::Rule},
    panel::Panel,
};

type Outcomes = Pin<Box<dyn Stream<Item = Outcome> + Send>>;

/// What is still under way when the opinion is formed.
pub struct Late {
    outcomes: Outcomes,
    puts: BTreeMap<ExpertId, Put>,
    reserved: BTreeMap<ExpertId, Reservation>,
    evidence: Vec<String>,
}

/// What is known of a panel while it answers.
struct Round {
    ballots: Vec<Ballot>,
    missing: Vec<ExpertId>,
    puts: BTreeMap<ExpertId, Put>,
    reserved: BTreeMap<ExpertId, Reservation>,
    settled: Vec<(Reservation, model::expert::Usage)>,
}

impl One<'_> {
    /// Asks the panel. What is still under way at the deadline goes on, to be taken down as late.
    pub(super) async fn ask_all(
        &self,
        panel: Panel,
        facts: &Facts,
        records: &Records,
    ) -> Result<(Vec<Ballot>, Option<Late>), Error> {
        let mut round = Round {
            ballots: Vec::new(),
            missing: Vec::new(),
            puts: BTreeMap::new(),
            reserved: BTreeMap::new(),
            settled: Vec::new(),
        };
        for rule in &panel.rules {
            self.ask_rule(*rule, &mut round).await;
        }
        let cancel = CancellationToken::new();
        let seats = self.seats(&panel.experts, &cancel, &mut round).await?;
        let hedging = self.asking.everyone.circle.catalogue().hedging;
        let mut outcomes: Outcomes = Box::pin(hedge::fan_out(seats, hedging));
        let deadline = self.begun + Duration::from_millis(self.asked.question.deadline_ms);
        let stopping = self.asking.tasks.stopping();
        let mut stopped = false;
        while !round.missing.is_empty() {
            if self.is_settled(facts, &round, records) {
                stopped = true;
                break;
            }
            tokio::select! {
                outcome = outcomes.next() => match outcome {
                    Some(outcome) => self.hear(outcome, &mut round, &facts.evidence).await,
                    None => break,
                },
                () = tokio::time::sleep_until(deadline) => break,
                () = stopping.cancelled() => return Err(Error::Stopping),
            }
        }
        let late = !stopped && !round.missing.is_empty() && !self.asking.config.late.0.is_zero();
        self.close(&mut round, stopped).await;
        self.settle(std::mem::take(&mut round.settled)).await?;
        if !late {
            cancel.cancel();
            return Ok((round.ballots, None));
        }
        let evidence = facts.evidence.clone();
        let (puts, reserved) = (round.puts, round.reserved);
        Ok((round.ballots, Some(Late { outcomes, puts, reserved, evidence })))
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
        round: &mut Round,
    ) -> Result<Vec<Seat>, Error> {
        let families: Vec<model::Token> = experts.iter().map(|expert| expert.who().family.clone()).collect();
        let circle = &self.asking.everyone.circle;
        let mut seats = Vec::new();
        for expert in experts {
            let fallback = circle.fallback(&expert.who().name, &families).cloned();
            seats.push(Seat {
                expert: Arc::clone(expert),
                fallback,
                ask: self.put(expert.who(), cancel, round),
            });
        }
        let estimates: Vec<u64> =
            seats.iter().map(|seat| seat.expert.estimate_micro_usd(&seat.ask)).collect();
        let reserved = self.reserve(&estimates).await?;
        let mut paid = Vec::new();
        for (seat, reservation) in seats.into_iter().zip(reserved) {
            let who = seat.expert.who().clone();
            match reservation {
                Ok(reservation) => {
                    round.reserved.extend(reservation.map(|reservation| (who.clone(), reservation)));
                    self.say(&who, AskingStep::Asked {}).await;
                    round.missing.push(who);
                    paid.push(seat);
                }
                Err(over) => {
                    let ballot = without(who, AnswerStatus::Quota, over.to_string(), 0);
                    self.answered(&ballot).await;
                    round.ballots.push(ballot);
                }
            }
        }
        Ok(paid)
    }

    fn put(&self, who: &ExpertId, cancel: &CancellationToken, round: &mut Round) -> Ask {
        let (nonce, mark) = (self.secret("nonce", who.name.as_str()), self.secret("mark", who.name.as_str()));
        let words = prompt(&self.asked.question, &nonce, &format!("=={mark}=="));
        let deadline = Duration::from_millis(self.asked.question.deadline_ms) + self.asking.config.late.0;
        let mut ask =
            Ask::new(words.system, words.user, deadline).in_schema("answer", opinion::schema::answer());
        ask.deadline = self.begun + deadline;
        ask.cancel = cancel.child_token();
        // The nonce follows from what is asked, so the same question is the same prompt.
        ask.cache_key = (!self.asked.question.fresh).then(|| ask.digest());
        round.puts.insert(who.clone(), Put { nonce, prompt: ask.digest() });
        ask
    }

    /// Sixteen hex digits that nobody can know who does not hold our secret; another one for every text, every expert,
    /// and with `fresh` every time.
    fn secret(&self, what: &str, expert: &str) -> String {
        let salt = if self.asked.question.fresh { self.asked.id.as_str() } else { "" };
        let key = hex(&self.asking.secret);
        Digest::of(&(key, what, expert, salt, &self.asked.digest)).short()
    }

    async fn hear(&self, outcome: Outcome, round: &mut Round, evidence: &[String]) {
        let seat = outcome.seat.clone();
        round.missing.retain(|missing| *missing != seat);
        if outcome.by != seat {
            let stand_in = outcome.by.name.to_string();
            self.say(&seat, AskingStep::Hedged { stand_in }).await;
        }
        let Some(put) = round.puts.get(&seat) else { return };
        let ballot = ballot(outcome, put, evidence, millis(self.begun.elapsed()), false);
        if let Some(reservation) = round.reserved.remove(&seat) {
            round.settled.push((reservation, ballot.usage));
        }
        self.answered(&ballot).await;
        round.ballots.push(ballot);
    }

    /// Those who are not waited for any more have no vote; it is never taken for a "no".
    async fn close(&self, round: &mut Round, stopped: bool) {
        let took = millis(self.begun.elapsed());
        for expert in std::mem::take(&mut round.missing) {
            let reason = if stopped {
                "not waited for: no answer of it could have changed the action".to_owned()
            } else {
                format!("no answer within {} ms", self.asked.question.deadline_ms)
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
                () = stopping.cancelled() => return,
            };
            let Some(outcome) = outcome else { return };
            let seat = outcome.seat.clone();
            let Some(put) = late.puts.get(&seat) else { continue };
            let ballot = ballot(outcome, put, &late.evidence, millis(self.begun.elapsed()), true);
            self.asking.counts.ballot(&ballot);
            let settled = late.reserved.remove(&seat).map(|reservation| (reservation, ballot.usage));
            let (expert, event) =
                (ballot.expert.clone(), ConsultationEvent::Late { ballot: Box::new(ballot) });
            let (store, now) = (&self.asking.store, self.asking.clock.now());
            let noted = store.note(&self.asked.id, event, now, |story| story.has_late(&expert)).await;
            let settled = self.settle(settled.into_iter().collect()).await;
            if let Err(error) = noted.and(settled) {
                warn!(question = %self.asked.id, cause = chassis::chain(&error), "a late answer was not taken down");
            }
        }
    }

    /// Sets money aside for each seat, in one write; none for those that cost nothing.
    async fn reserve(
        &self,
        estimates: &[u64],
    ) -> Result<Vec<Result<Option<Reservation>, OverBudget>>, Error> {
        if estimates.iter().all(|estimate| *estimate == 0) {
            return Ok(estimates.iter().map(|_| Ok(None)).collect());
        }
        let question = &self.asked.question;
        let budgets = self.asking.everyone.circle.catalogue().budgets;
        let day = self.asking.clock.now().0.div_euclid(24 * 3600 * 1000);
        let reserve = |accounts: &mut providers::Accounts| {
            let seats = estimates.iter().map(|estimate| match *estimate {
                0 => Ok(None),
                micro_usd => accounts
                    .reserve(
                        &budgets,
                        day,
                        &question.caller,
                        &question.id,
                        question.budget_micro_usd,
                        micro_usd,
                    )
                    .map(Some),
            });
            seats.collect()
        };
        self.asking.store.account(reserve).await
    }

    /// Replaces what was set aside by what it cost, in one write.
    async fn settle(&self, settled: Vec<(Reservation, model::expert::Usage)>) -> Result<(), Error> {
        if settled.is_empty() {
            return Ok(());
        }
        let settle = |accounts: &mut providers::Accounts| {
            for (reservation, usage) in settled.clone() {
                accounts.settle(reservation, &usage);
            }
            accounts.close(&self.asked.question.id);
        };
        self.asking.store.account(settle).await
    }

    async fn answered(&self, ballot: &Ballot) {
        let stance = ballot.answer.as_ref().map(|answer| answer.verdict);
        self.say(&ballot.expert, AskingStep::Answered { status: ballot.status, stance }).await;
    }

    async fn say(&self, expert: &ExpertId, step: AskingStep) {
        self.asking.progress(&self.asked.id, Some(expert.clone()), step, self.begun).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
