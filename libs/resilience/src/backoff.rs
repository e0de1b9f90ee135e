//! How long to wait before trying again.

use std::time::Duration;

use rand::Rng;

/// How the wait is spread, so that many who failed together do not return together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Exactly the exponential wait.
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

/// These waits make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBackoff {
    /// A shortest wait of zero would try again in a tight loop.
    #[error("the shortest wait is zero: tries would follow each other without a pause")]
    Zero,
    /// The bounds are the wrong way round.
    #[error("the shortest wait {shortest:?} is longer than the longest wait {longest:?}")]
    Reversed {
        /// The wait before the second try.
        shortest: Duration,
        /// The bound of every wait.
        longest: Duration,
    },
}

impl Backoff {
    /// Waits that begin at `shortest` and double with every failure up to `longest`.
    pub fn new(shortest: Duration, longest: Duration, jitter: Jitter) -> Result<Backoff, BadBackoff> {
        if shortest.is_zero() {
            return Err(BadBackoff::Zero);
        }
        if shortest > longest {
            return Err(BadBackoff::Reversed { shortest, longest });
        }
        Ok(Backoff { shortest, longest, jitter })
    }

    /// The wait after failure number `failures`, counted from 1 (0 is taken as 1).
    pub fn wait(&self, failures: u32, random: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling(failures);
        match self.jitter {
            Jitter::None => ceiling,
            Jitter::Full => random.random_range(self.shortest..=ceiling),
            Jitter::Equal => random.random_range((ceiling / 2).max(self.shortest)..=ceiling),
        }
    }

    /// A hint such as `Retry-After`, held between the shortest and the longest wait: a neighbour may ask us to
    /// wait, but neither to hammer it nor to stay away for a day.
    pub fn clamp(&self, hint: Duration) -> Duration {
        hint.clamp(self.shortest, self.longest)
    }

    fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.shortest.saturating_mul(1 << doublings).min(self.longest)
    }
}

impl Default for Backoff {
    /// 100 ms to 10 s, full jitter.
    fn default() -> Backoff {
        Backoff {
            shortest: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            jitter: Jitter::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn senseless_waits_are_refused_with_the_reason() {
        let zero = Backoff::new(Duration::ZERO, Duration::from_secs(1), Jitter::Full);
        let reversed = Backoff::new(Duration::from_secs(2), Duration::from_secs(1), Jitter::Full);

        assert_eq!(zero, Err(BadBackoff::Zero));
        assert_eq!(
            reversed.unwrap_err().to_string(),
            "the shortest wait 2s is longer than the longest wait 1s"
        );
    }

    #[test]
    fn waits_double_until_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), Jitter::None).unwrap();
        let mut random = StdRng::seed_from_u64(0);

        let waits: Vec<u128> = (1..=6).map(|n| backoff.wait(n, &mut random).as_millis()).collect();

        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn every_wait_stays_between_its_bounds(
            shortest in 1u64..10_000, more in 0u64..100_000, failures in any::<u32>(), seed in any::<u64>(),
        ) {
            let (shortest, longest) = (Duration::from_millis(shortest), Duration::from_millis(shortest + more));
            let mut random = StdRng::seed_from_u64(seed);

            for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
                let backoff = Backoff::new(shortest, longest, jitter).unwrap();
                let wait = backoff.wait(failures, &mut random);
                prop_assert!(wait >= shortest && wait <= longest, "{jitter:?} waits {wait:?}");
                if jitter == Jitter::Equal {
                    prop_assert!(wait >= backoff.ceiling(failures) / 2);
                }
            }
        }
    }
}
