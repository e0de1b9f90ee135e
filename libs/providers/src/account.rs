//! What asking costs: tokens, money, and budgets per question, per day and per caller.
//!
//! Pure: days and instants are arguments, and an [`Accounts`] is a plain value that its owner stores. Money is counted
//! in millionths of a US dollar, rounded up, so that many small questions are never free.

use std::collections::BTreeMap;

use model::expert::Usage;
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

/// Money that was set aside for one expert's answer. Give it to [`Accounts::settle`] when the answer is there, or never
/// came: what is not settled stays spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "what is not settled stays spent"]
pub struct Reservation {
    day: i64,
    caller: String,
    question: String,
    micro_usd: u64,
}

/// What was spent and set aside on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// The day (UTC), counted from 1970-01-01.
    pub day: i64,
    /// Spent and set aside by all.
    pub total_micro_usd: u64,
    /// The same per caller.
    pub callers: BTreeMap<String, Spent>,
    /// The same per open question; the owner ends it with [`Accounts::close`].
    pub questions: BTreeMap<String, u64>,
}

/// What one caller used on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Spent and set aside.
    pub micro_usd: u64,
    /// Answers that were settled.
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

impl Accounts {
    /// Sets `micro_usd` aside, if every budget has it. `limit` is the question's own limit, which can only lower the
    /// configured one.
    pub fn reserve(
        &mut self,
        budgets: &Budgets,
        day: i64,
        caller: &str,
        question: &str,
        limit: Option<u64>,
        micro_usd: u64,
    ) -> Result<Reservation, OverBudget> {
        self.turn_to(day);
        let caller = self.row(caller);
        let of_question = self.questions.get(question).copied().unwrap_or_default();
        let of_caller = self.callers.get(&caller).map_or(0, |row| row.micro_usd);
        let question_limit = match (budgets.question_micro_usd, limit) {
            (Some(configured), Some(own)) => Some(configured.min(own)),
            (configured, own) => configured.or(own),
        };
        check(Scope::Question, question_limit, of_question, micro_usd)?;
        check(Scope::Caller, budgets.caller_day_micro_usd, of_caller, micro_usd)?;
        check(Scope::Day, budgets.day_micro_usd, self.total_micro_usd, micro_usd)?;

        let reservation = Reservation { day: self.day, caller, question: question.to_owned(), micro_usd };
        self.book(&reservation, micro_usd, 0);
        Ok(reservation)
    }

    /// Replaces what was set aside by what it really cost, which may be more.
    pub fn settle(&mut self, reservation: Reservation, usage: &Usage) {
        self.book(&reservation, usage.cost_micro_usd, reservation.micro_usd);
        if reservation.day != self.day {
            return;
        }
        let row = self.callers.entry(reservation.caller).or_default();
        row.answers += 1;
        row.input_tokens += usage.input_tokens;
        row.output_tokens += usage.output_tokens;
    }

    /// Forgets an ended question and says what it cost.
    pub fn close(&mut self, question: &str) -> u64 {
        self.questions.remove(question).unwrap_or_default()
    }

    /// What a caller used on the current day.
    pub fn of(&self, caller: &str) -> Spent {
        self.callers.get(caller).copied().unwrap_or_default()
    }

    fn turn_to(&mut self, day: i64) {
        // A clock that was set back must not give yesterday's budget again.
        if day > self.day {
            self.day = day;
            self.total_micro_usd = 0;
            self.callers.clear();
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
            let row = self.callers.entry(reservation.caller.clone()).or_default();
            row.micro_usd = change(row.micro_usd);
        } else {
            self.total_micro_usd = self.total_micro_usd.saturating_add(add);
        }
    }
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

    #[test]
    fn what_is_set_aside_is_not_there_for_others_until_it_is_settled() {
        let budgets = Budgets { day_micro_usd: Some(100), ..Budgets::default() };
        let mut accounts = Accounts::default();
        let first = accounts.reserve(&budgets, 1, "ann", "q1", None, 80).unwrap();

        let refused = accounts.reserve(&budgets, 1, "bob", "q2", None, 30).unwrap_err();
        accounts.settle(first, &used(20));
        let allowed = accounts.reserve(&budgets, 1, "bob", "q2", None, 30);

        assert_eq!(refused, OverBudget { scope: Scope::Day, asked: 30, left: 20, limit: 100 });
        assert!(allowed.is_ok());
        assert_eq!(accounts.of("ann").micro_usd, 20);
    }

    #[test]
    fn a_question_can_lower_its_limit_but_not_raise_it() {
        let budgets = Budgets { question_micro_usd: Some(50), ..Budgets::default() };
        let mut accounts = Accounts::default();

        let lowered = accounts.reserve(&budgets, 1, "ann", "q1", Some(10), 20).unwrap_err();
        let raised = accounts.reserve(&budgets, 1, "ann", "q1", Some(500), 60).unwrap_err();

        assert_eq!((lowered.scope, lowered.limit), (Scope::Question, 10));
        assert_eq!((raised.scope, raised.limit), (Scope::Question, 50));
    }

    #[test]
    fn a_new_day_begins_with_a_full_budget_and_a_clock_set_back_does_not() {
        let budgets = Budgets { caller_day_micro_usd: Some(100), ..Budgets::default() };
        let mut accounts = Accounts::default();
        let late = accounts.reserve(&budgets, 1, "ann", "q1", None, 100).unwrap();
        accounts.settle(late, &used(100));

        assert!(accounts.reserve(&budgets, 0, "ann", "q2", None, 1).is_err(), "yesterday again");
        assert!(accounts.reserve(&budgets, 2, "ann", "q2", None, 100).is_ok());
    }

    proptest! {
        #[test]
        fn settled_accounts_add_up(costs in prop::collection::vec((0u64..1000, 0u64..1000, 0usize..3), 0..50)) {
            let mut accounts = Accounts::default();
            let callers = ["ann", "bob", "eve"];

            let mut open = Vec::new();
            for (aside, cost, caller) in &costs {
                let kept = accounts.reserve(&Budgets::default(), 1, callers[*caller], "q", None, *aside).unwrap();
                open.push((kept, *cost));
            }
            for (kept, cost) in open.into_iter().rev() {
                accounts.settle(kept, &used(cost));
            }

            let sum: u64 = costs.iter().map(|(_, cost, _)| cost).sum();
            prop_assert_eq!(accounts.total_micro_usd, sum);
            prop_assert_eq!(accounts.callers.values().map(|row| row.micro_usd).sum::<u64>(), sum);
            prop_assert_eq!(accounts.close("q"), sum);
        }
    }
}
