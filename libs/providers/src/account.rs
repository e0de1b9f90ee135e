//! What asking costs: tokens, money, and budgets per question, per day and per caller.
//!
//! Pure: days and instants are arguments, and an [`Accounts`] is a plain value that its owner stores. Money is counted
//! in millionths of a US dollar, rounded up, so that many small questions are never free.

use std::collections::BTreeMap;

use model::{Timestamp, expert::Usage};
use serde::{Deserialize, Serialize};

/// Callers with a row of their own per day; further ones share the last row, so that made-up names cannot fill memory.
const MOST_CALLERS: usize = 10_000;
/// The row that they share.
const OTHERS: &str = "(others)";

/// Prices in US dollars per million tokens, which is millionths of a dollar per token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens read.
    #[serde(default)]
    pub input: f64,
    /// Tokens written, thinking included.
    #[serde(default)]
    pub output: f64,
    /// Tokens read from the vendor's prompt cache. None: as `input`.
    #[serde(default)]
    pub cached: Option<f64>,
    /// Tokens written to the vendor's prompt cache. None: as `input`.
    #[serde(default)]
    pub cache_write: Option<f64>,
}

/// Tokens as a vendor counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, all of them.
    pub input: u64,
    /// Of these, read from the prompt cache.
    pub cached: u64,
    /// Of these, written to the prompt cache.
    pub cache_write: u64,
    /// Written, thinking included.
    pub output: u64,
}

/// The most that may be spent, in millionths of a US dollar. None: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budgets {
    /// On one question, over all its experts.
    pub question_micro_usd: Option<u64>,
    /// On one day (UTC), over all questions.
    pub day_micro_usd: Option<u64>,
    /// On one day (UTC) by one caller.
    pub caller_day_micro_usd: Option<u64>,
}

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The question's.
    Question,
    /// The day's.
    Day,
    /// The caller's.
    Caller,
}

/// It would cost more than is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it may cost {asked} millionths of a US dollar, {left} are left of {}", scope.of(*limit))]
pub struct OverBudget {
    /// Of which budget.
    pub scope: Scope,
    /// What it may cost.
    pub asked: u64,
    /// What is left.
    pub left: u64,
    /// The limit.
    pub limit: u64,
}

impl Scope {
    fn of(self, limit: u64) -> String {
        match self {
            Scope::Question => format!("the question's {limit}"),
            Scope::Day => format!("the day's {limit}"),
            Scope::Caller => format!("the caller's {limit} of the day"),
        }
    }
}

/// The most and the least that a question to one expert can cost once it was sent, in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// The longest answer there can be.
    pub most: u64,
    /// The prompt alone.
    pub prompt: u64,
}

/// Who wants money for what.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Who pays.
    pub caller: &'a str,
    /// For which question.
    pub question: &'a str,
    /// Who is asked.
    pub expert: &'a str,
    /// The question's own limit, which can only lower the configured one.
    pub limit: Option<u64>,
    /// How much.
    pub estimate: Estimate,
    /// When it is over at the latest, whoever is left to say so.
    pub until: Timestamp,
}

/// Money that was set aside for one expert's answer. Give it to [`Accounts::settle`] when the answer is there, to
/// [`Accounts::release`] when it is not waited for; what a crash leaves open is released when its time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "what is neither settled nor released stays set aside until its time is over"]
pub struct Reservation {
    /// 0 where nothing had to be set aside.
    id: u64,
    day: i64,
    caller: String,
    question: String,
    expert: String,
    estimate: Estimate,
    until: Timestamp,
}

/// What was spent and set aside on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// The day (UTC), counted from 1970-01-01.
    pub day: i64,
    /// Spent and set aside by all.
    pub total_micro_usd: u64,
    /// The same per caller.
    pub callers: BTreeMap<String, Spent>,
    /// The same per expert.
    pub experts: BTreeMap<String, Spent>,
    /// The same per question that has something set aside.
    pub questions: BTreeMap<String, u64>,
    /// What is set aside.
    open: Vec<Reservation>,
    /// Reservations that were ever made.
    made: u64,
}

/// What one caller, or one expert, used on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Spent and set aside.
    pub micro_usd: u64,
    /// Questions to an expert that came to an end, with an answer or without.
    pub answers: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

impl Price {
    /// What these tokens cost, in millionths of a US dollar, rounded up.
    pub fn of(&self, tokens: Tokens) -> u64 {
        let cached = tokens.cached.min(tokens.input);
        let written = tokens.cache_write.min(tokens.input - cached);
        let plain = tokens.input - cached - written;
        let cost = plain as f64 * self.input
            + cached as f64 * self.cached.unwrap_or(self.input)
            + written as f64 * self.cache_write.unwrap_or(self.input)
            + tokens.output as f64 * self.output;
        // Prices such as 0.1 are not exact in binary: a cost of 3.0000000001 is 3.
        (cost - 1e-6).ceil().max(0.0) as u64
    }

    /// Tokens and their cost as they stand in ballots.
    pub fn usage(&self, tokens: Tokens) -> Usage {
        Usage {
            input_tokens: tokens.input,
            cached_tokens: tokens.cached.min(tokens.input),
            output_tokens: tokens.output,
            cost_micro_usd: self.of(tokens),
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        [Some(self.input), Some(self.output), self.cached, self.cache_write]
            .into_iter()
            .flatten()
            .all(|price| price.is_finite() && price >= 0.0)
    }
}

impl Reservation {
    /// For an expert that costs nothing.
    pub fn free(now: Timestamp, wanted: &Wanted<'_>) -> Reservation {
        Reservation {
            id: 0,
            day: day(now),
            caller: wanted.caller.to_owned(),
            question: wanted.question.to_owned(),
            expert: wanted.expert.to_owned(),
            estimate: Estimate::default(),
            until: wanted.until,
        }
    }

    /// What the prompt costs, and with it what the vendor may charge for a question that was cut off.
    pub const fn prompt_micro_usd(&self) -> u64 {
        self.estimate.prompt
    }
}

impl Accounts {
    /// Sets the most that is wanted aside, if every budget has it.
    pub fn reserve(
        &mut self,
        budgets: &Budgets,
        now: Timestamp,
        wanted: &Wanted<'_>,
    ) -> Result<Reservation, OverBudget> {
        self.turn_to(day(now));
        self.expire(now);
        let asked = wanted.estimate.most;
        let mut reservation = Reservation {
            caller: self.row(wanted.caller),
            day: self.day,
            estimate: wanted.estimate,
            ..Reservation::free(now, wanted)
        };
        if asked == 0 {
            return Ok(reservation);
        }
        let of_question = self.questions.get(wanted.question).copied().unwrap_or_default();
        let of_caller = self.callers.get(&reservation.caller).map_or(0, |row| row.micro_usd);
        let question_limit = match (budgets.question_micro_usd, wanted.limit) {
            (Some(configured), Some(own)) => Some(configured.min(own)),
            (configured, own) => configured.or(own),
        };
        check(Scope::Question, question_limit, of_question, asked)?;
        check(Scope::Caller, budgets.caller_day_micro_usd, of_caller, asked)?;
        check(Scope::Day, budgets.day_micro_usd, self.total_micro_usd, asked)?;

        self.made += 1;
        reservation.id = self.made;
        self.book(&reservation, asked, 0);
        self.open.push(reservation.clone());
        Ok(reservation)
    }

    /// Replaces what was set aside by what it really cost, which may be more.
    pub fn settle(&mut self, reservation: Reservation, usage: &Usage) {
        self.turn_to(reservation.day);
        let aside = self.take(&reservation);
        self.book(&reservation, usage.cost_micro_usd, aside);
        if reservation.day == self.day {
            for row in [
                self.callers.entry(reservation.caller).or_default(),
                self.experts.entry(reservation.expert).or_default(),
            ] {
                row.answers += 1;
                row.input_tokens += usage.input_tokens;
                row.output_tokens += usage.output_tokens;
            }
        }
        self.close(&reservation.question);
    }

    /// Gives back what was set aside. Of a question that was `sent` the price of its prompt stays spent, because the
    /// vendor may charge it.
    pub fn release(&mut self, reservation: Reservation, sent: bool) {
        let aside = self.take(&reservation);
        self.book(&reservation, if sent { reservation.estimate.prompt } else { 0 }, aside);
        self.close(&reservation.question);
    }

    /// Releases what is set aside longer than it was wanted: who set it aside is gone.
    pub fn expire(&mut self, now: Timestamp) {
        let (over, open) = std::mem::take(&mut self.open).into_iter().partition(|one| one.until <= now);
        self.open = open;
        for reservation in over {
            self.book(&reservation, reservation.estimate.prompt, reservation.estimate.most);
            self.close(&reservation.question);
        }
    }

    /// What a caller used on the current day.
    pub fn of(&self, caller: &str) -> Spent {
        self.callers.get(caller).copied().unwrap_or_default()
    }

    /// What of it still stands in the sums: all, or only the prompt once its time was over.
    fn take(&mut self, reservation: &Reservation) -> u64 {
        if reservation.id == 0 {
            return 0;
        }
        match self.open.iter().position(|one| one.id == reservation.id) {
            Some(place) => self.open.swap_remove(place).estimate.most,
            None => reservation.estimate.prompt,
        }
    }

    /// Forgets a question that has nothing set aside any more.
    fn close(&mut self, question: &str) {
        if self.open.iter().all(|one| one.question != question) {
            self.questions.remove(question);
        }
    }

    fn turn_to(&mut self, day: i64) {
        // A clock that was set back must not give yesterday's budget again.
        if day > self.day {
            self.day = day;
            self.total_micro_usd = 0;
            self.callers.clear();
            self.experts.clear();
        }
    }

    fn row(&self, caller: &str) -> String {
        let known = self.callers.contains_key(caller) || self.callers.len() < MOST_CALLERS;
        if known { caller.to_owned() } else { OTHERS.to_owned() }
    }

    fn book(&mut self, reservation: &Reservation, add: u64, remove: u64) {
        let change = |sum: u64| sum.saturating_add(add).saturating_sub(remove);
        let question = self.questions.entry(reservation.question.clone()).or_default();
        *question = change(*question);
        // What was set aside before midnight was forgotten with the day; only what comes now belongs to it.
        if reservation.day == self.day {
            self.total_micro_usd = change(self.total_micro_usd);
            for row in [
                self.callers.entry(reservation.caller.clone()).or_default(),
                self.experts.entry(reservation.expert.clone()).or_default(),
            ] {
                row.micro_usd = change(row.micro_usd);
            }
        } else {
            self.total_micro_usd = self.total_micro_usd.saturating_add(add);
        }
    }
}

/// Days since 1970-01-01, UTC.
const fn day(now: Timestamp) -> i64 {
    now.0.div_euclid(24 * 3600 * 1000)
}

fn check(scope: Scope, limit: Option<u64>, spent: u64, asked: u64) -> Result<(), OverBudget> {
    match limit {
        Some(limit) if spent.saturating_add(asked) > limit => {
            Err(OverBudget { scope, asked, left: limit.saturating_sub(spent), limit })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn used(cost: u64) -> Usage {
        Usage { cost_micro_usd: cost, input_tokens: 10, output_tokens: 5, ..Usage::default() }
    }

    #[test]
    fn tokens_from_the_vendors_cache_have_their_own_price() {
        let price = Price { input: 3.0, output: 15.0, cached: Some(0.3), cache_write: Some(3.75) };

        let cost = price.of(Tokens { input: 1000, cached: 600, cache_write: 200, output: 100 });

        assert_eq!(cost, 600 + 180 + 750 + 1500);
    }

    #[test]
    fn a_small_question_is_not_free() {
        let price = Price { input: 0.1, ..Price::default() };

        assert_eq!(price.of(Tokens { input: 1, ..Tokens::default() }), 1);
        assert_eq!(price.of(Tokens { input: 30, ..Tokens::default() }), 3);
    }

    const DAY: i64 = 24 * 3600 * 1000;

    fn wanted<'a>(caller: &'a str, question: &'a str, most: u64) -> Wanted<'a> {
        Wanted {
            caller,
            question,
            expert: "claude",
            limit: None,
            estimate: Estimate { most, prompt: most / 10 },
            until: Timestamp(DAY + 60_000),
        }
    }

    fn at(day: i64) -> Timestamp {
        Timestamp(day * DAY)
    }

    #[test]
    fn what_is_set_aside_is_not_there_for_others_until_it_is_settled() {
        let budgets = Budgets { day_micro_usd: Some(100), ..Budgets::default() };
        let mut accounts = Accounts::default();
        let first = accounts.reserve(&budgets, at(1), &wanted("ann", "q1", 80)).unwrap();

        let refused = accounts.reserve(&budgets, at(1), &wanted("bob", "q2", 30)).unwrap_err();
        accounts.settle(first, &used(20));
        let allowed = accounts.reserve(&budgets, at(1), &wanted("bob", "q2", 30));

        assert_eq!(refused, OverBudget { scope: Scope::Day, asked: 30, left: 20, limit: 100 });
        assert!(allowed.is_ok());
        assert_eq!((accounts.of("ann").micro_usd, accounts.experts["claude"].answers), (20, 1));
    }

    #[test]
    fn a_question_can_lower_its_limit_but_not_raise_it() {
        let budgets = Budgets { question_micro_usd: Some(50), ..Budgets::default() };
        let mut accounts = Accounts::default();
        let limited = |limit, most| Wanted { limit: Some(limit), ..wanted("ann", "q1", most) };

        let lowered = accounts.reserve(&budgets, at(1), &limited(10, 20)).unwrap_err();
        let raised = accounts.reserve(&budgets, at(1), &limited(500, 60)).unwrap_err();

        assert_eq!((lowered.scope, lowered.limit), (Scope::Question, 10));
        assert_eq!((raised.scope, raised.limit), (Scope::Question, 50));
    }

    #[test]
    fn a_new_day_begins_with_a_full_budget_and_a_clock_set_back_does_not() {
        let budgets = Budgets { caller_day_micro_usd: Some(100), ..Budgets::default() };
        let mut accounts = Accounts::default();
        let late = accounts.reserve(&budgets, at(1), &wanted("ann", "q1", 100)).unwrap();
        accounts.settle(late, &used(100));

        assert!(accounts.reserve(&budgets, at(0), &wanted("ann", "q2", 1)).is_err(), "yesterday again");
        assert!(accounts.reserve(&budgets, at(2), &wanted("ann", "q2", 100)).is_ok());
    }

    #[test]
    fn what_is_not_waited_for_leaves_the_price_of_its_prompt_if_it_was_sent() {
        let mut accounts = Accounts::default();
        let sent = accounts.reserve(&Budgets::default(), at(1), &wanted("ann", "q1", 100)).unwrap();
        let unsent = accounts.reserve(&Budgets::default(), at(1), &wanted("ann", "q1", 100)).unwrap();

        accounts.release(unsent, false);
        assert_eq!(accounts.total_micro_usd, 100);
        accounts.release(sent, true);

        assert_eq!((accounts.total_micro_usd, accounts.of("ann").micro_usd), (10, 10));
        assert!(accounts.questions.is_empty());
    }

    #[test]
    fn what_a_crash_left_open_is_released_when_its_time_is_over() {
        let budgets = Budgets { day_micro_usd: Some(100), ..Budgets::default() };
        let mut accounts = Accounts::default();
        let lost = accounts.reserve(&budgets, at(1), &wanted("ann", "q1", 90)).unwrap();

        let (before, after) = (Timestamp(DAY + 59_999), Timestamp(DAY + 60_000));
        assert!(accounts.reserve(&budgets, before, &wanted("bob", "q2", 50)).is_err());
        let next = Wanted { until: at(2), ..wanted("bob", "q2", 50) };
        assert!(accounts.reserve(&budgets, after, &next).is_ok());
        assert_eq!(accounts.total_micro_usd, 59);
        // It was not lost after all.
        accounts.settle(lost, &used(30));
        assert_eq!(accounts.total_micro_usd, 80);
        assert_eq!(accounts.questions.keys().collect::<Vec<_>>(), ["q2"]);
    }

    proptest! {
        #[test]
        fn settled_and_released_accounts_add_up(
            costs in prop::collection::vec((0u64..1000, 0u64..1000, 0usize..3, 0u8..4), 0..50),
        ) {
            let mut accounts = Accounts::default();
            let callers = ["ann", "bob", "eve"];

            let mut open = Vec::new();
            for (aside, cost, caller, end) in &costs {
                let wanted = wanted(callers[*caller], "q", *aside);
                open.push((accounts.reserve(&Budgets::default(), at(1), &wanted).unwrap(), *cost, *end));
            }
            let mut sum = 0;
            for (kept, cost, end) in open.into_iter().rev() {
                match end {
                    0 => accounts.release(kept, false),
                    1 => {
                        sum += kept.prompt_micro_usd();
                        accounts.release(kept, true);
                    }
                    // Left open, as by a crash.
                    2 => sum += kept.prompt_micro_usd(),
                    _ => {
                        sum += cost;
                        accounts.settle(kept, &used(cost));
                    }
                }
            }
            accounts.expire(at(2));

            prop_assert_eq!(accounts.total_micro_usd, sum);
            prop_assert_eq!(accounts.callers.values().map(|row| row.micro_usd).sum::<u64>(), sum);
            prop_assert_eq!(accounts.experts.values().map(|row| row.micro_usd).sum::<u64>(), sum);
            prop_assert!(accounts.questions.is_empty() && accounts.open.is_empty());
        }
    }
}
