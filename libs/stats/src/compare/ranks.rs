//! Rank statistics of two weighted samples.

use serde::{Deserialize, Serialize};

use crate::normal;

/// The shift from the baseline to the canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// Hodges-Lehmann estimate: the median of all differences canary − baseline.
    pub estimate: f64,
    /// Lower end of the confidence interval.
    pub low: f64,
    /// Upper end of the confidence interval.
    pub high: f64,
}

/// One value and how often each side saw it.
struct Group {
    value: f64,
    canary: u64,
    baseline: u64,
}

/// Both samples, sorted, equal values together.
pub(super) struct Pooled {
    groups: Vec<Group>,
    pub canary: u64,
    pub baseline: u64,
}

/// Largest samples for which the exact distribution of U is counted.
const EXACT: u64 = 20;

impl Pooled {
    /// Values must be finite.
    pub fn of(
        canary: impl Iterator<Item = (f64, u64)>,
        baseline: impl Iterator<Item = (f64, u64)>,
    ) -> Pooled {
        let canary = canary.map(|(value, canary)| Group { value, canary, baseline: 0 });
        let baseline = baseline.map(|(value, baseline)| Group { value, canary: 0, baseline });
        let mut all: Vec<Group> = canary.chain(baseline).collect();
        all.sort_by(|one, other| one.value.total_cmp(&other.value));
        let mut groups: Vec<Group> = Vec::with_capacity(all.len());
        for group in all {
            match groups.last_mut() {
                Some(last) if last.value == group.value => {
                    last.canary = last.canary.saturating_add(group.canary);
                    last.baseline = last.baseline.saturating_add(group.baseline);
                }
                _ => groups.push(group),
            }
        }
        let canary = groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.canary));
        let baseline = groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.baseline));
        Pooled { groups, canary, baseline }
    }

    /// Nothing tells the two apart: the same values equally often, or one and the same value throughout.
    pub fn identical(&self) -> bool {
        self.groups.len() == 1 || self.groups.iter().all(|group| group.canary == group.baseline)
    }

    fn pairs(&self) -> f64 {
        self.canary as f64 * self.baseline as f64
    }

    /// Mann-Whitney U of the canary: pairs in which its value is the larger, ties half.
    pub fn u(&self) -> f64 {
        let (mut below, mut u) = (0.0, 0.0);
        for group in &self.groups {
            u += group.canary as f64 * (below + group.baseline as f64 / 2.0);
            below += group.baseline as f64;
        }
        u
    }

    /// Share of pairs in which the canary's value is the larger, ties half: the common language effect size.
    pub fn larger(&self) -> f64 {
        self.u() / self.pairs()
    }

    /// Mean of the canary over mean of the baseline; none where the baseline's is not above zero.
    pub fn mean_ratio(&self) -> Option<f64> {
        let mean = |count: fn(&Group) -> u64, all: u64| -> f64 {
            self.groups.iter().map(|group| group.value * (count(group) as f64 / all as f64)).sum()
        };
        let baseline = mean(|group| group.baseline, self.baseline);
        let ratio = mean(|group| group.canary, self.canary) / baseline;
        Some(ratio).filter(|ratio| baseline > 0.0 && ratio.is_finite())
    }

    /// Median of the baseline: the middle value, or the mean of the two middle ones.
    pub fn baseline_median(&self) -> f64 {
        let at = |rank: u128| {
            let mut seen = 0_u128;
            let found = self.groups.iter().find(|group| {
                seen += u128::from(group.baseline);
                seen >= rank
            });
            found.map_or(f64::NAN, |group| group.value)
        };
        let (lower, upper) = middle_ranks(u128::from(self.baseline));
        f64::midpoint(at(lower), at(upper))
    }

    /// Whether p-value and interval come from the exact distribution: small samples without ties.
    fn is_exact(&self) -> bool {
        let ties = self.groups.iter().any(|group| group.canary.saturating_add(group.baseline) > 1);
        !ties && self.canary <= EXACT && self.baseline <= EXACT
    }

    /// Two-sided p-value of the Mann-Whitney test, as SciPy's `mannwhitneyu`: exact, or by the normal approximation
    /// with tie and continuity correction.
    pub fn p_value(&self) -> f64 {
        let larger = self.u().max(self.pairs() - self.u());
        if self.is_exact() {
            let ways = ways(self.canary as usize, self.baseline as usize);
            let beyond: f64 = ways.iter().skip(larger as usize).sum();
            return (2.0 * beyond / ways.iter().sum::<f64>()).min(1.0);
        }
        let all = self.canary as f64 + self.baseline as f64;
        let ties: f64 = self
            .groups
            .iter()
            .map(|group| group.canary as f64 + group.baseline as f64)
            .map(|tied| tied * tied * tied - tied)
            .sum();
        let sigma = (self.pairs() / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)))).max(0.0).sqrt();
        if sigma == 0.0 {
            return 1.0;
        }
        (2.0 * normal::upper_tail((larger - self.pairs() / 2.0 - 0.5) / sigma)).min(1.0)
    }

    /// Hodges-Lehmann shift. The interval holds the differences of ranks k to pairs + 1 − k, where k is the largest
    /// rank that keeps the confidence (Hollander and Wolfe, "Nonparametric Statistical Methods", section 4.3): exact
    /// for small samples without ties, else by the normal approximation. For samples so small that no rank does, it
    /// is the full range and holds less than the confidence; the p-value is then not significant either.
    pub fn shift(&self, confidence: f64) -> Shift {
        let pairs = u128::from(self.canary) * u128::from(self.baseline);
        let rank = if self.is_exact() {
            let ways = ways(self.canary as usize, self.baseline as usize);
            let allowed = (1.0 - confidence) / 2.0 * ways.iter().sum::<f64>();
            let mut below = 0.0;
            let within = |way: &&f64| {
                below += **way;
                below <= allowed
            };
            ways.iter().take_while(within).count() as u128
        } else {
            let all = self.canary as f64 + self.baseline as f64;
            let half_width =
                normal::quantile(0.5 + confidence / 2.0) * (self.pairs() * (all + 1.0) / 12.0).sqrt();
            (self.pairs() / 2.0 - half_width).max(0.0) as u128
        };
        let rank = rank.clamp(1, pairs.max(1));
        let differences = Differences::of(self);
        let (lower, upper) = middle_ranks(pairs);
        Shift {
            estimate: f64::midpoint(differences.at(lower), differences.at(upper)),
            low: differences.at(rank),
            high: differences.at(pairs + 1 - rank),
        }
    }
}

/// Ranks, from 1, of the two middle ones of so many; the same one twice if odd.
fn middle_ranks(count: u128) -> (u128, u128) {
    (count.div_ceil(2), count / 2 + 1)
}

/// In how many orders of `m` and `n` distinct values U is 0, 1, 2 …: the coefficients of the Gaussian binomial
/// ∏ (1 − q^(n+i)) / (1 − q^i), exact in an f64 up to [`EXACT`].
fn ways(m: usize, n: usize) -> Vec<f64> {
    let mut ways = vec![0.0; m * n + 1];
    ways[0] = 1.0;
    for i in 1..=m {
        for u in (n + i..ways.len()).rev() {
            ways[u] -= ways[u - n - i];
        }
        for u in i..ways.len() {
            ways[u] += ways[u - i];
        }
    }
    ways
}

/// All differences canary − baseline, never written out: there may be 10^18.
struct Differences {
    canary: Vec<(f64, u64)>,
    /// Values of the baseline, and how many there are up to and including each.
    baseline: Vec<(f64, u64)>,
    all_baseline: u64,
}

impl Differences {
    fn of(pooled: &Pooled) -> Differences {
        let present = |count: fn(&Group) -> u64| {
            pooled.groups.iter().map(move |group| (group.value, count(group))).filter(|(_, count)| *count > 0)
        };
        let mut seen = 0_u64;
        let add = |(value, count): (f64, u64)| {
            seen = seen.saturating_add(count);
            (value, seen)
        };
        Differences {
            canary: present(|group| group.canary).collect(),
            baseline: present(|group| group.baseline).map(add).collect(),
            all_baseline: pooled.baseline,
        }
    }

    /// How many differences are at most this. Both lists ascend, so one walk along both is enough.
    fn up_to(&self, limit: f64) -> u128 {
        let (mut next, mut too_large, mut count) = (0, 0_u64, 0_u128);
        for (value, times) in &self.canary {
            while let Some((_, seen)) = self.baseline.get(next).filter(|(old, _)| value - old > limit) {
                too_large = *seen;
                next += 1;
            }
            count += u128::from(*times) * u128::from(self.all_baseline - too_large);
        }
        count
    }

    /// The difference of this rank, from 1: the smallest number that so many differences do not exceed, found by
    /// bisection on its bits, hence exact.
    fn at(&self, rank: u128) -> f64 {
        let ends = |list: &[(f64, u64)]| Some((list.first()?.0, list.last()?.0));
        let (Some(canary), Some(baseline)) = (ends(&self.canary), ends(&self.baseline)) else {
            return f64::NAN;
        };
        let (mut low, mut high) = (key(canary.0 - baseline.1), key(canary.1 - baseline.0));
        while low < high {
            let middle = low.midpoint(high).clamp(low, high - 1);
            if self.up_to(number(middle)) >= rank {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        number(low) + 0.0 // no minus zero
    }
}

/// An integer in the order of the numbers.
fn key(number: f64) -> i64 {
    let bits = number.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn number(key: i64) -> f64 {
    f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pooled(canary: &[f64], baseline: &[f64]) -> Pooled {
        Pooled::of(canary.iter().map(|value| (*value, 1)), baseline.iter().map(|value| (*value, 1)))
    }

    #[test]
    fn the_ways_are_as_many_as_there_are_orders() {
        assert_eq!(ways(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(ways(20, 20).iter().sum::<f64>(), 137_846_528_820.0);
        assert_eq!(ways(3, 7), ways(7, 3));
    }

    #[test]
    fn billions_of_values_do_not_overflow() {
        let billions = |values: [f64; 2]| values.into_iter().map(|value| (value, 5_000_000_000));

        let pooled = Pooled::of(billions([1.0, 2.0]), billions([2.0, 3.0]));

        assert_eq!(pooled.shift(0.98).estimate, -1.0);
        assert!((pooled.larger() - 0.125).abs() < 1e-12);
        assert!(pooled.p_value() < 1e-300);
    }

    proptest! {
        #[test]
        fn every_rank_is_found_as_if_all_differences_were_sorted(
            canary in prop::collection::vec(-9..9_i32, 1..12), baseline in prop::collection::vec(-9..9_i32, 1..12), scale in 0.01..10.0_f64,
        ) {
            let scaled = |values: &[i32]| values.iter().map(|value| f64::from(*value) * scale).collect::<Vec<f64>>();
            let (canary, baseline) = (scaled(&canary), scaled(&baseline));
            let mut sorted: Vec<f64> = canary.iter().flat_map(|new| baseline.iter().map(move |old| new - old)).collect();
            sorted.sort_by(f64::total_cmp);

            let pooled = pooled(&canary, &baseline);
            let differences = Differences::of(&pooled);

            for (index, difference) in sorted.iter().enumerate() {
                prop_assert_eq!(differences.at(index as u128 + 1), *difference);
            }
        }

        #[test]
        fn swapping_the_sides_turns_the_shift_around(
            canary in prop::collection::vec(0.0..9.0_f64, 1..30), baseline in prop::collection::vec(0.0..9.0_f64, 1..30),
        ) {
            let (one, other) = (pooled(&canary, &baseline), pooled(&baseline, &canary));
            let (there, back) = (one.shift(0.95), other.shift(0.95));

            prop_assert_eq!((there.estimate, there.low, there.high), (-back.estimate, -back.high, -back.low));
            prop_assert!((one.p_value() - other.p_value()).abs() < 1e-12);
        }
    }
}
