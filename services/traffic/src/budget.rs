//! How much load retries may add. Values in, values out.

use std::time::Duration;

use tokio::time::Instant;

/// Bounds the load that retries add: a share of the requests since the window began, and a floor besides.
///
/// The hot path only counts requests, which it does anyway; the budget itself is asked on retries alone, so that
/// requests that go well pay nothing for it. (`resilience::Budget` takes a lock for each request.)
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Retries per hundred requests.
    percent: u64,
    /// Retries per window however few requests there are.
    floor: u64,
    window: Duration,
    began: Instant,
    requests: u64,
    spent: u64,
}

impl Budget {
    /// `percent` is 0 to 100.
    pub fn new(percent: u8, floor: u64, now: Instant) -> Self {
        let window = Duration::from_secs(10);
        Budget { percent: u64::from(percent.min(100)), floor, window, began: now, requests: 0, spent: 0 }
    }

    /// Takes one retry, given the cumulative number of requests begun so far; `false` when the budget is spent.
    pub fn spend(&mut self, requests: u64, now: Instant) -> bool {
        if now.saturating_duration_since(self.began) >= self.window {
            (self.began, self.requests, self.spent) = (now, requests, 0);
        }
        let earned = requests.saturating_sub(self.requests).saturating_mul(self.percent) / 100;
        if self.spent >= self.floor.saturating_add(earned) {
            return false;
        }
        self.spent += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_bounded_to_a_share_and_a_floor_and_earned_again_in_the_next_window() {
        let now = Instant::now();
        let mut budget = Budget::new(20, 10, now);

        let granted = (0..1000).filter(|_| budget.spend(1000, now)).count();
        let later = (0..1000).filter(|_| budget.spend(1000, now + Duration::from_secs(10))).count();

        assert_eq!(granted, 200 + 10);
        assert_eq!(later, 10);
    }
}
