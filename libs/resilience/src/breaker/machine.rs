//! The breaker's heart: no clock, no lock, no task.

use std::time::Duration;

use ground::Backoff;
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::Open;

/// When the breaker opens and how it closes again.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Opens after this many failures in a row. 0 switches this rule off. Default 5 (Envoy's outlier detection).
    pub consecutive_failures: u32,
    /// Opens when fewer of the recent requests succeeded than this. Default off.
    pub success_rate: Option<Rate>,
    /// How long it stays open: longer each time a probe fails. Default 100 ms to 30 s, half of it by
    /// chance.
    pub backoff: Backoff,
    /// How many probes may be under way at once while half-open, and must succeed before it closes. Default 1.
    pub probes: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { consecutive_failures: 5, success_rate: None, backoff: Backoff::default(), probes: 1 }
    }
}

/// The least share of successes in a sliding window.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// 0.0 to 1.0. Linkerd's tests use 0.8.
    pub threshold: f64,
    /// How far back requests count, to a tenth of it. Linkerd's tests use 10 s.
    pub window: Duration,
    /// With fewer requests in the window the rate says nothing.
    pub least_requests: u32,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { threshold: 0.8, window: Duration::from_secs(10), least_requests: 20 }
    }
}

/// How a request went, as the breaker counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered. A refusal that is the caller's fault is an answer too.
    Success,
    /// It did not answer, or failed on its own account.
    Failure,
    /// It answered that it has too much to do, perhaps with a hint when to return. Counts against the rate, not
    /// towards failures in a row; as a probe's outcome it keeps the breaker open.
    Throttled(Option<Duration>),
}

/// What the breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Lets everything pass.
    Closed,
    /// Lets nothing pass.
    Open {
        /// From then on a probe may go.
        until: Instant,
    },
    /// Lets a few probes pass.
    HalfOpen,
}

/// Leave to ask once, to be settled once. Made by one stretch of one state; settling it later changes nothing.
#[derive(Debug)]
pub struct Ticket {
    stretch: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    stretch: u64,
    phase: Phase,
    random: StdRng,
}

#[derive(Debug)]
enum Phase {
    Closed { in_a_row: u32, window: Window },
    Open { until: Instant, openings: u32 },
    HalfOpen { under_way: u32, succeeded: u32, openings: u32 },
}

impl Machine {
    /// A closed breaker. The same seed, calls and instants give the same answers.
    pub fn new(settings: Settings, now: Instant, seed: u64) -> Machine {
        let settings = Settings { probes: settings.probes.max(1), ..settings };
        let phase = Phase::Closed { in_a_row: 0, window: Window::new(&settings, now) };
        Machine { settings, stretch: 0, phase, random: StdRng::seed_from_u64(seed) }
    }

    /// Leave to ask, or when to come back.
    pub fn ask(&mut self, now: Instant) -> Result<Ticket, Open> {
        if let Phase::Open { until, openings } = self.phase {
            if now < until {
                return Err(Open { retry_after: until - now });
            }
            self.enter(Phase::HalfOpen { under_way: 0, succeeded: 0, openings });
        }
        if let Phase::HalfOpen { under_way, succeeded, .. } = &mut self.phase {
            if *under_way + *succeeded >= self.settings.probes {
                return Err(Open { retry_after: Duration::ZERO });
            }
            *under_way += 1;
        }
        Ok(Ticket { stretch: self.stretch })
    }

    /// Counts an outcome; `None` when nothing was learnt. Outcomes from before the last change of state are
    /// ignored: a slow failure from long ago must not open a breaker that has just closed.
    pub fn settle(&mut self, ticket: Ticket, outcome: Option<Outcome>, now: Instant) {
        if ticket.stretch != self.stretch {
            return;
        }
        match &mut self.phase {
            Phase::Open { .. } => {}
            Phase::Closed { in_a_row, window } => {
                let Some(outcome) = outcome else { return };
                match outcome {
                    Outcome::Success => *in_a_row = 0,
                    Outcome::Failure => *in_a_row = in_a_row.saturating_add(1),
                    Outcome::Throttled(_) => {}
                }
                window.count(outcome == Outcome::Success, now);
                let row = self.settings.consecutive_failures;
                let failed = (row > 0 && *in_a_row >= row) || window.is_below();
                if failed {
                    self.open(1, hint(outcome), now);
                }
            }
            Phase::HalfOpen { under_way, succeeded, openings } => {
                *under_way = under_way.saturating_sub(1);
                match outcome {
                    None => {}
                    Some(Outcome::Success) => {
                        *succeeded += 1;
                        if *succeeded >= self.settings.probes {
                            let window = Window::new(&self.settings, now);
                            self.enter(Phase::Closed { in_a_row: 0, window });
                        }
                    }
                    Some(bad @ (Outcome::Failure | Outcome::Throttled(_))) => {
                        let openings = openings.saturating_add(1);
                        self.open(openings, hint(bad), now);
                    }
                }
            }
        }
    }

    /// What it does at `now`. An open breaker whose wait is over is half-open.
    pub fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { until, .. } if now < until => State::Open { until },
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn open(&mut self, openings: u32, hint: Option<Duration>, now: Instant) {
        let backoff = self.settings.backoff;
        let wait = match hint {
            Some(hint) => backoff.clamp(hint),
            None => backoff.wait_by(openings, &mut self.random),
        };
        self.enter(Phase::Open { until: now + wait, openings });
    }

    fn enter(&mut self, phase: Phase) {
        self.stretch += 1;
        self.phase = phase;
    }
}

fn hint(outcome: Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Throttled(hint) => hint,
        Outcome::Success | Outcome::Failure => None,
    }
}

const BUCKETS: u32 = 10;

/// Successes and requests of the recent past in a ring of buckets, each a tenth of the window.
#[derive(Debug)]
struct Window {
    rate: Option<Rate>,
    span: Duration,
    buckets: [(u32, u32); BUCKETS as usize],
    newest: usize,
    newest_began: Instant,
}

impl Window {
    fn new(settings: &Settings, now: Instant) -> Window {
        let rate = settings.success_rate;
        let span = rate.map_or(Duration::ZERO, |rate| rate.window / BUCKETS).max(Duration::from_millis(1));
        Window { rate, span, buckets: Default::default(), newest: 0, newest_began: now }
    }

    fn count(&mut self, success: bool, now: Instant) {
        self.turn(now);
        let (successes, requests) = &mut self.buckets[self.newest];
        *successes = successes.saturating_add(u32::from(success));
        *requests = requests.saturating_add(1);
    }

    fn is_below(&self) -> bool {
        let Some(rate) = self.rate else { return false };
        let sum = |of: fn(&(u32, u32)) -> u32| self.buckets.iter().map(|b| u64::from(of(b))).sum::<u64>();
        let (successes, requests) = (sum(|b| b.0), sum(|b| b.1));
        requests >= u64::from(rate.least_requests.max(1))
            && (successes as f64) < rate.threshold * requests as f64
    }

    /// Empties the buckets that time has passed over.
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.newest_began).as_nanos() / self.span.as_nanos();
        if passed >= u128::from(BUCKETS) {
            self.buckets = Default::default();
            self.newest_began = now;
            return;
        }
        for _ in 0..passed {
            self.newest = (self.newest + 1) % self.buckets.len();
            self.buckets[self.newest] = (0, 0);
            self.newest_began += self.span;
        }
    }
}

#[cfg(test)]
mod tests;
