//! A circuit breaker in linkerd2-proxy's shape: consecutive failures *or* a windowed success rate open it; after
//! a jittered wait a bounded number of probes decide whether it closes.
//!
//! [`machine`] is the heart (values and `now` in, values out); [`Breaker`] shares one between callers;
//! [`BreakerLayer`] puts it before a tower service.

pub mod layer;
pub mod machine;

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};

pub use layer::{BreakerLayer, Refused};
pub use machine::{Machine, Outcome, Rate, Settings, State, Ticket};

/// The breaker is open: not asked, and not worth asking before `retry_after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not asked: it failed too often, next try in {retry_after:?}")]
pub struct Open {
    /// How long until the next probe may go; zero while probes are under way.
    pub retry_after: Duration,
}

/// A breaker that callers share. Cheap to clone. One per neighbour (provider, model, region; upstream; …).
#[derive(Clone, Debug)]
pub struct Breaker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    machine: Mutex<Machine>,
    state: watch::Sender<State>,
}

impl Breaker {
    /// A closed breaker; `name` stands in its log lines.
    pub fn new(name: impl Into<String>, settings: Settings) -> Breaker {
        Breaker::seeded(name, settings, rand::random())
    }

    /// The same, with its jitter decided by `seed`.
    pub fn seeded(name: impl Into<String>, settings: Settings, seed: u64) -> Breaker {
        let machine = Mutex::new(Machine::new(settings, Instant::now(), seed));
        Breaker {
            shared: Arc::new(Shared { name: name.into(), machine, state: watch::Sender::new(State::Closed) }),
        }
    }

    /// Leave to ask once. Say how it went with [`Permit::end`]; a permit that is dropped says nothing, and a
    /// probe's place is given back.
    pub fn permit(&self) -> Result<Permit, Open> {
        let mut machine = self.machine();
        let ticket = machine.ask(Instant::now());
        self.publish(&machine);
        let ticket = ticket?;
        Ok(Permit { breaker: self.clone(), ticket: Some(ticket) })
    }

    /// What the breaker does now.
    pub fn state(&self) -> State {
        self.machine().state(Instant::now())
    }

    /// Sees every change of state. An open breaker becomes half-open when the next caller asks.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    fn settle(&self, ticket: Ticket, outcome: Option<Outcome>) {
        let mut machine = self.machine();
        machine.settle(ticket, outcome, Instant::now());
        self.publish(&machine);
    }

    fn publish(&self, machine: &Machine) {
        let now = machine.state(Instant::now());
        self.shared.state.send_if_modified(|last| {
            let changed = *last != now;
            if changed {
                tracing::info!(neighbour = %self.shared.name, from = ?last, to = ?now, "breaker changed");
                *last = now;
            }
            changed
        });
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        // The machine is plain values that are whole between calls, so a panic elsewhere cannot spoil it.
        self.shared.machine.lock()
    }
}

/// Leave to ask once.
#[derive(Debug)]
#[must_use = "say how it went with `end`; dropping it counts as not asked"]
pub struct Permit {
    breaker: Breaker,
    ticket: Option<Ticket>,
}

impl Permit {
    /// Says how it went.
    pub fn end(mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.settle(ticket, Some(outcome));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.settle(ticket, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ground::{Backoff, Jitter};

    fn breaker() -> Breaker {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8), Jitter::None);
        Breaker::seeded("test", Settings { consecutive_failures: 3, backoff, ..Settings::default() }, 1)
    }

    fn fail(breaker: &Breaker, times: usize) {
        for _ in 0..times {
            breaker.permit().unwrap().end(Outcome::Failure);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_says_when_to_come_back() {
        let breaker = breaker();
        fail(&breaker, 3);

        tokio::time::advance(Duration::from_millis(400)).await;

        assert_eq!(breaker.permit().unwrap_err(), Open { retry_after: Duration::from_millis(600) });
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_succeeds_closes_it_and_watchers_see_each_change() {
        let breaker = breaker();
        let mut watch = breaker.watch();
        fail(&breaker, 3);
        watch.changed().await.unwrap();
        assert!(matches!(*watch.borrow_and_update(), State::Open { .. }));

        tokio::time::advance(Duration::from_secs(1)).await;
        let probe = breaker.permit().unwrap();
        assert_eq!(*watch.borrow_and_update(), State::HalfOpen);
        probe.end(Outcome::Success);

        assert_eq!(*watch.borrow_and_update(), State::Closed);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_probe_gives_its_place_back() {
        let breaker = breaker();
        fail(&breaker, 3);
        tokio::time::advance(Duration::from_secs(1)).await;
        let probe = breaker.permit().unwrap();
        assert!(breaker.permit().is_err(), "one probe at a time");

        drop(probe);

        assert!(breaker.permit().is_ok());
    }
}
