//! Whether and when to ask again.

use std::time::Duration;

use model::expert::Usage;
use tokio::time::Instant;

use super::{Shared, fits};
use crate::{
    ask::Ask,
    failure::{Class, Failure},
};

/// The tries of one question.
pub(super) struct Tries<'a> {
    shared: &'a Shared,
    ask: &'a Ask,
    pub begun: Instant,
    /// Tries that failed.
    pub done: u32,
    /// Of these, by a malformed answer.
    malformed: u32,
    /// What they used.
    pub spent: Usage,
}

impl<'a> Tries<'a> {
    pub(super) fn new(shared: &'a Shared, ask: &'a Ask) -> Result<Tries<'a>, Failure> {
        fits(&shared.model, ask)?;
        shared.budget.earn();
        Ok(Tries { shared, ask, begun: Instant::now(), done: 0, malformed: 0, spent: Usage::default() })
    }

    /// Returns when it is time to ask again, or the failure when that would not help or not be in time.
    pub(super) async fn again_after(&mut self, mut failure: Failure) -> Result<(), Failure> {
        // Who was not let in was not asked.
        let asked = !matches!(failure.class, Class::Busy | Class::CircuitOpen);
        self.done += u32::from(asked);
        self.spent = self.spent + failure.usage;
        failure.tries = self.done;
        failure.usage = self.spent;

        let worth = failure.worth_retrying(self.malformed);
        self.malformed += u32::from(failure.class == Class::Malformed);
        if !worth || self.done > self.shared.model.retries {
            return Err(failure);
        }
        let Some(wait) = self.wait(&failure) else { return Err(failure) };
        if wait >= self.ask.left() || !self.shared.budget.spend() {
            return Err(failure);
        }
        tracing::debug!(expert = %self.shared.who.name, failure = %failure.class, tries = self.done, ?wait, "asking again");
        let rest = async {
            tokio::time::sleep(wait).await;
            Ok(())
        };
        let rested = self.shared.until(self.ask, rest).await;
        rested.map_err(|ended| Failure { tries: self.done, usage: self.spent, ..ended })
    }

    /// None: the provider wants us away for longer than we are ready to wait.
    fn wait(&self, failure: &Failure) -> Option<Duration> {
        let waits = &self.shared.waits;
        match (failure.wait, failure.class) {
            (Some(asked), _) if asked > self.shared.model.longest_wait.0 => None,
            // At least what was asked for, and a little spread, so that not all come back at once.
            (Some(asked), _) => Some(asked + self.shared.model.backoff.0.mul_f64(rand::random())),
            (None, Class::RateLimited | Class::Overloaded) => Some(waits.throttled.wait(self.done)),
            (None, _) => Some(waits.otherwise.wait(self.done)),
        }
    }
}
