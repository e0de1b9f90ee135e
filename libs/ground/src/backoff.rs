//! How long to wait before trying again.

use std::time::Duration;

use rand::Rng;

/// How the wait is spread, so that many who failed together do not return together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Exactly the exponential wait: for who waits alone, and for waits that are decided on and must come out the same
    /// twice.
    None,
    /// Anything between the shortest wait and the exponential wait: for transient errors
    /// (AWS Architecture Blog, "Exponential Backoff And Jitter").
    Full,
    /// Half of the exponential wait for sure, the other half by chance: for throttling, where full jitter
    /// spends all its tries before the quota's window ends (aws-sdk-net #4341).
    Equal,
}

/// Exponential waits between a shortest and a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    jitter: Jitter,
}

impl Backoff {
    /// Waits that begin at `shortest` and double with every failure up to `longest`. A shortest wait of zero would try
    /// again in a tight loop and is taken as 1 ms; a longest wait below the shortest is taken as the shortest.
    pub const fn new(shortest: Duration, longest: Duration, jitter: Jitter) -> Backoff {
        let shortest = if shortest.is_zero() { Duration::from_millis(1) } else { shortest };
        let longest = if longest.as_nanos() < shortest.as_nanos() { shortest } else { longest };
        Backoff { shortest, longest, jitter }
    }

    /// The same in milliseconds, with [`Jitter::Equal`].
    pub const fn millis(shortest: u64, longest: u64) -> Backoff {
        Backoff::new(Duration::from_millis(shortest), Duration::from_millis(longest), Jitter::Equal)
    }

    /// The wait after failure number `failures`, counted from 1 (0 is taken as 1).
    pub fn wait(&self, failures: u32) -> Duration {
        self.wait_by(failures, &mut rand::rng())
    }

    /// The same with a chance that the caller holds, so that it can be repeated.
    pub fn wait_by(&self, failures: u32, random: &mut impl Rng) -> Duration {
        let most = self.most(failures);
        match self.jitter {
            Jitter::None => most,
            Jitter::Full => random.random_range(self.shortest..=most),
            Jitter::Equal => random.random_range((most / 2).max(self.shortest)..=most),
        }
    }

    /// Sleeps for the wait after failure number `failures`, on tokio's time.
    pub async fn pause(&self, failures: u32) {
        tokio::time::sleep(self.wait(failures)).await;
    }

    /// The exponential wait after failure number `failures` without chance, which no wait exceeds.
    pub fn most(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.shortest.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The bound of every wait.
    pub const fn longest(&self) -> Duration {
        self.longest
    }

    /// A hint such as `Retry-After`, held between the shortest and the longest wait: a neighbour may ask us to
    /// wait, but neither to hammer it nor to stay away for a day.
    pub fn clamp(&self, hint: Duration) -> Duration {
        hint.clamp(self.shortest, self.longest)
    }
}

impl Default for Backoff {
    /// 100 ms to 30 s, the half of it by chance.
    fn default() -> Backoff {
        Backoff::millis(100, 30_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn senseless_waits_are_mended() {
        let zero = Backoff::new(Duration::ZERO, Duration::ZERO, Jitter::None);
        let reversed = Backoff::new(Duration::from_secs(2), Duration::from_secs(1), Jitter::None);

        assert_eq!(zero.wait(9), Duration::from_millis(1));
        assert_eq!(reversed.wait(9), Duration::from_secs(2));
    }

    #[test]
    fn waits_double_until_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), Jitter::None);

        let waits: Vec<u128> = (0..=6).map(|failures| backoff.wait(failures).as_millis()).collect();

        assert_eq!(waits, [100, 100, 200, 400, 800, 1000, 1000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_takes_as_long_as_the_wait() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8), Jitter::None);
        let began = tokio::time::Instant::now();

        backoff.pause(3).await;

        assert_eq!(began.elapsed(), Duration::from_secs(4));
    }

    #[test]
    fn two_who_failed_together_do_not_return_together() {
        for jitter in [Jitter::Full, Jitter::Equal] {
            let backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1), jitter);
            let mut random = StdRng::seed_from_u64(1);

            let waits: std::collections::BTreeSet<Duration> =
                (0..100).map(|_| backoff.wait_by(30, &mut random)).collect();

            assert!(waits.len() > 90, "{jitter:?}: {} waits of 100 differ", waits.len());
        }
    }

    proptest! {
        #[test]
        fn every_wait_stays_between_its_bounds(
            shortest in 1u64..10_000, more in 0u64..100_000, failures in any::<u32>(), seed in any::<u64>(),
        ) {
            let (shortest, longest) = (Duration::from_millis(shortest), Duration::from_millis(shortest + more));
            let mut random = StdRng::seed_from_u64(seed);

            for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
                let backoff = Backoff::new(shortest, longest, jitter);
                let wait = backoff.wait_by(failures, &mut random);
                prop_assert!(wait >= shortest && wait <= longest, "{jitter:?} waits {wait:?}");
                if jitter == Jitter::Equal {
                    prop_assert!(wait >= backoff.most(failures) / 2);
                }
            }
        }
    }
}
