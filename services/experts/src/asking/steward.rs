//! What goes on beside the answers: money that is set aside, stand-ins, and answers that are asked for once more.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use model::expert::{AnswerStatus, AskingStep, Ballot, ExpertId, Usage};
use parking_lot::{Mutex, MutexGuard};
use providers::{
    Accounts, Estimate, OverBudget, Reply, Stop,
    account::{Reservation, Wanted},
    hedge::{self, Outcome},
};
use tracing::{debug, warn};

use super::{One, reading::Put};
use crate::error::Error;

/// How long after the last moment for answers money stays set aside by whoever did not come to settle it.
const SLACK: Duration = Duration::from_secs(60);

/// Keeps the purse of one consultation.
pub struct Steward {
    one: One,
    puts: BTreeMap<ExpertId, Put>,
    evidence: Vec<String>,
    /// What is set aside for each seat: once for its question, once more when it is asked again.
    aside: Mutex<BTreeMap<ExpertId, Vec<Reservation>>>,
}

/// How the question to a seat ended, as its purse sees it.
pub struct Ended {
    seat: ExpertId,
    usage: Usage,
    cut_off: bool,
}

impl Steward {
    /// Nothing is set aside yet.
    pub fn new(one: One, puts: BTreeMap<ExpertId, Put>, evidence: Vec<String>) -> Steward {
        Steward { one, puts, evidence, aside: Mutex::default() }
    }

    /// What was asked of a seat.
    pub fn put(&self, seat: &ExpertId) -> Option<&Put> {
        self.puts.get(seat)
    }

    /// The ids that a finding may rest on.
    pub fn evidence(&self) -> &[String] {
        &self.evidence
    }

    /// Sets money aside for each seat, in one write; none is written where nothing costs anything.
    pub async fn reserve(
        &self,
        seats: &[(ExpertId, Estimate)],
    ) -> Result<Vec<Result<(), OverBudget>>, Error> {
        let asking = &self.one.asking;
        let question = &self.one.asked.question;
        let caller = self.one.asked.caller.as_text();
        let (now, budgets) = (asking.clock.now(), asking.everyone.circle.catalogue().budgets);
        let longest = Duration::from_millis(question.deadline_ms) + asking.config.late.0 + SLACK;
        let wanted = |(expert, estimate): &(ExpertId, Estimate)| {
            (
                expert.name.to_string(),
                Wanted {
                    caller: &caller,
                    question: &question.id,
                    expert: "",
                    limit: question.budget_micro_usd,
                    estimate: *estimate,
                    until: now.plus(longest),
                },
            )
        };
        let free = seats.iter().all(|(_, estimate)| *estimate == Estimate::default());
        let made: Vec<Result<Reservation, OverBudget>> = if free {
            let free = |seat| {
                let (expert, wanted) = wanted(seat);
                Ok(Reservation::free(now, &Wanted { expert: &expert, ..wanted }))
            };
            seats.iter().map(free).collect()
        } else {
            let reserve = |accounts: &mut Accounts| {
                let each = seats.iter().map(|seat| {
                    let (expert, wanted) = wanted(seat);
                    accounts.reserve(&budgets, now, &Wanted { expert: &expert, ..wanted })
                });
                each.collect()
            };
            asking.store.account(reserve).await?
        };
        let mut aside = self.aside();
        let keep = |((expert, _), made): (&(ExpertId, Estimate), Result<Reservation, OverBudget>)| {
            made.map(|made| aside.entry(expert.clone()).or_default().push(made))
        };
        Ok(seats.iter().zip(made).map(keep).collect())
    }

    /// Replaces what was set aside for these seats by what they cost, in one write.
    pub async fn settle(&self, ended: &[Ended]) -> Result<(), Error> {
        let mut taken: Vec<(Vec<Reservation>, Usage)> = Vec::new();
        for one in ended {
            let made = self.aside().remove(&one.seat).unwrap_or_default();
            let usage = one.charged(&made);
            taken.push((made, usage));
        }
        taken.retain(|(made, _)| !made.is_empty());
        if taken.is_empty() {
            return Ok(());
        }
        let settle = |accounts: &mut Accounts| {
            for (made, usage) in taken.clone() {
                let mut made = made.into_iter();
                if let Some(first) = made.next() {
                    accounts.settle(first, &usage);
                }
                made.for_each(|further| accounts.release(further, false));
            }
        };
        self.one.asking.store.account(settle).await
    }

    /// Gives back what is set aside for those who are not waited for any more.
    pub async fn release(&self) {
        let open: Vec<Reservation> = std::mem::take(&mut *self.aside()).into_values().flatten().collect();
        if open.is_empty() {
            return;
        }
        let release = |accounts: &mut Accounts| {
            open.iter().cloned().for_each(|reservation| accounts.release(reservation, true));
        };
        if let Err(error) = self.one.asking.store.account(release).await {
            // It is released when its time is over.
            warn!(question = %self.one.asked.id, cause = chassis::chain(&error), "money stays set aside for a while");
        }
    }

    fn aside(&self) -> MutexGuard<'_, BTreeMap<ExpertId, Vec<Reservation>>> {
        self.aside.lock()
    }
}

impl Ended {
    /// How the question to a seat ended.
    pub fn of(outcome: &Outcome, ballot: &Ballot) -> Ended {
        let abandoned = outcome.abandoned.as_ref() == Some(&outcome.seat);
        Ended {
            seat: outcome.seat.clone(),
            usage: ballot.usage,
            cut_off: abandoned || ballot.status == AnswerStatus::Timeout,
        }
    }

    /// What it costs: of what was cut off nobody knows, and its prompt is what the vendor may charge.
    fn charged(&self, made: &[Reservation]) -> Usage {
        let prompt = made.first().filter(|_| self.cut_off).map_or(0, Reservation::prompt_micro_usd);
        Usage { cost_micro_usd: self.usage.cost_micro_usd + prompt, ..self.usage }
    }
}

#[async_trait]
impl hedge::Steward for Steward {
    async fn stands_in(&self, seat: &ExpertId, by: &ExpertId) {
        self.one.say(seat, AskingStep::Hedged { stand_in: by.name.to_string() }).await;
    }

    fn objection(&self, seat: &ExpertId, reply: &Reply) -> Option<String> {
        if reply.stop != Stop::Complete {
            return None;
        }
        let unreadable =
            opinion::parse(reply.text.as_bytes(), &self.put(seat)?.nonce, &self.evidence).err()?;
        // Who ran out of tokens would do so again.
        (unreadable.status() == AnswerStatus::SchemaInvalid).then(|| unreadable.to_string())
    }

    async fn may_ask_again(
        &self,
        seat: &ExpertId,
        by: &ExpertId,
        objection: &str,
        estimate: Estimate,
    ) -> bool {
        match self.reserve(&[(seat.clone(), estimate)]).await.map(|mut made| made.pop()) {
            Ok(Some(Ok(()))) => {}
            Ok(refused) => {
                debug!(expert = %by.name, objection, ?refused, "not asked again");
                return false;
            }
            Err(error) => {
                warn!(expert = %by.name, cause = chassis::chain(&error), "not asked again");
                return false;
            }
        }
        self.one
            .say(seat, AskingStep::AskedAgain { why: scrub::scrub(&scrub::visible(objection)).text })
            .await;
        true
    }
}
