//! How many requests a fixed limit needs, so that a plan can say it.

use crate::{Decision, Sequential};

use super::alpha_of;

/// The chance with which [`Required::likely`] requests bring a verdict.
pub const POWER: f64 = 0.95;

/// Requests that a fixed limit needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Required {
    /// The fewest that can pass: so many without a single one beyond the limit.
    pub at_least: u64,
    /// With so many, half the limit passes and twice the limit fails with a chance of [`POWER`] each.
    pub likely: u64,
}

/// Requests that are needed to hold a share against a limit, in the first round. Pure, and exact for a single look;
/// whoever looks more often needs no more. None for a limit that is not between 0 and 1, both excluded, and for one
/// that more than 10^12 requests would not show.
pub fn required_sample(limit: f64, confidence: f64) -> Option<Required> {
    if !(limit > 0.0 && limit < 1.0) {
        return None;
    }
    let alpha = alpha_of(confidence, 1);
    let at_least = first(1, |n| decided(alpha, limit, n, 0) == Decision::Safe)?;
    let (half, twice) = (limit / 2.0, (limit * 2.0).min(1.0));
    let likely = first(at_least, |n| {
        // Both thresholds are monotone in the number of failures.
        let safe = partition(n, |failed| decided(alpha, limit, n, failed) == Decision::Safe);
        let harmless = partition(n, |failed| decided(alpha, limit, n, failed) != Decision::Harmful);
        at_most(n, half, safe) >= POWER && at_most(n, twice, harmless) <= 1.0 - POWER
    })?;
    Some(Required { at_least, likely })
}

/// Steps up by a hundredth until it holds; to within that, the smallest number that does.
fn first(from: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let mut number = from.max(1);
    while !holds(number) {
        number += (number / 100).max(1);
        if number > 1_000_000_000_000 {
            return None;
        }
    }
    Some(number)
}

fn decided(alpha: f64, limit: f64, requests: u64, failed: u64) -> Decision {
    Sequential::against_limit(alpha, limit).observe(requests - failed, failed, 0, 0)
}

/// How many of `0, 1, …, n` satisfy it, counted from zero up to the first that does not.
fn partition(n: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, n + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// P(X < count) for a binomial X of n draws at this rate.
fn at_most(n: u64, rate: f64, count: u64) -> f64 {
    if count > n {
        return 1.0;
    }
    if rate >= 1.0 {
        return 0.0;
    }
    let (n, odds) = (n as f64, (rate / (1.0 - rate)).ln());
    let mut logarithm = n * (-rate).ln_1p();
    let mut sum = 0.0;
    for x in 0..count {
        sum += logarithm.exp();
        logarithm += ((n - x as f64) / (x as f64 + 1.0)).ln() + odds;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binomial_adds_up() {
        assert!((at_most(10, 0.5, 6) - 0.623_046_875).abs() < 1e-12);
        assert!((at_most(100, 0.01, 1) - 0.99_f64.powi(100)).abs() < 1e-12);
        assert_eq!(at_most(10, 0.3, 11), 1.0);
    }

    #[test]
    fn a_tighter_limit_needs_more_requests_and_one_that_is_no_share_has_no_number() {
        let loose = required_sample(0.05, 0.95).unwrap();
        let tight = required_sample(0.01, 0.95).unwrap();

        assert!((60..=110).contains(&loose.at_least), "{loose:?}");
        assert!((300..=550).contains(&tight.at_least), "{tight:?}");
        assert!(loose.at_least < loose.likely && loose.likely < tight.likely, "{loose:?} {tight:?}");
        assert_eq!(required_sample(0.0, 0.95), None);
        assert_eq!(required_sample(1.0, 0.95), None);
        assert_eq!(required_sample(f64::NAN, 0.95), None);
    }

    #[test]
    fn the_fewest_that_pass_are_the_fewest() {
        let needed = required_sample(0.05, 0.95).unwrap().at_least;

        assert_eq!(decided(alpha_of(0.95, 1), 0.05, needed, 0), Decision::Safe);
        assert_ne!(decided(alpha_of(0.95, 1), 0.05, needed - 2, 0), Decision::Safe);
    }
}
