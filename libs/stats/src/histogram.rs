//! Latencies in log-linear buckets, as in HdrHistogram: 32 per doubling, each exact to within 1/64 (1.6 %) of the value;
//! below 64 us each microsecond has a bucket of its own. Range 1 us to 1 h; what lies outside counts at the border.
//!
//! Counters are cumulative in the data plane; a window is the later snapshot minus the earlier one.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

const PER_DOUBLING: u64 = 32;
/// Longest latency that is told apart: one hour. Longer ones count as one hour.
pub const LONGEST_MICROS: u64 = 3_600_000_000;
/// Buckets in all: indexes are below this.
pub const BUCKETS: usize = 896;

/// The bucket of a latency in microseconds. Zero counts as 1 us, more than an hour as an hour.
pub const fn bucket_of(micros: u64) -> u32 {
    let micros = match micros {
        0 => 1,
        1..=LONGEST_MICROS => micros,
        _ => LONGEST_MICROS,
    };
    if micros < PER_DOUBLING {
        return micros as u32;
    }
    let shift = (63 - micros.leading_zeros() as u64) - 5;
    (PER_DOUBLING * shift + (micros >> shift)) as u32
}

/// The middle of a bucket in microseconds.
pub fn middle_of(bucket: u32) -> f64 {
    let bucket = u64::from(bucket);
    if bucket < 2 * PER_DOUBLING {
        return bucket as f64;
    }
    let shift = (bucket / PER_DOUBLING - 1).min(40);
    let low = (bucket % PER_DOUBLING + PER_DOUBLING) << shift;
    low as f64 + ((1_u64 << shift) as f64 - 1.0) / 2.0
}

/// How often each latency was seen. Only buckets with a count take room, in memory and as text: `[[bucket, count], …]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, u64)>", into = "Vec<(u32, u64)>")]
pub struct Histogram {
    counts: BTreeMap<u32, u64>,
    total: u64,
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.add(bucket_of(latency.as_micros().min(u128::from(u64::MAX)) as u64), 1);
    }

    /// Counts one latency given in microseconds.
    pub fn record_micros(&mut self, micros: u64) {
        self.add(bucket_of(micros), 1);
    }

    /// Adds to a bucket; indexes beyond the last count into the last.
    pub fn add(&mut self, bucket: u32, count: u64) {
        if count > 0 {
            let entry = self.counts.entry(bucket.min(BUCKETS as u32 - 1)).or_default();
            *entry = entry.saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Histogram) {
        other.counts.iter().for_each(|(bucket, count)| self.add(*bucket, *count));
    }

    /// What came after `earlier`. If any bucket went down, the counter was restarted in between: then the window is
    /// all that was counted since the restart. A restart after which every bucket is fuller cannot be told.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let now = |bucket: &u32| self.counts.get(bucket).copied().unwrap_or(0);
        if earlier.counts.iter().any(|(bucket, before)| now(bucket) < *before) {
            return self.clone();
        }
        let mut window = Histogram::default();
        for (bucket, count) in &self.counts {
            window.add(*bucket, count - earlier.counts.get(bucket).copied().unwrap_or(0));
        }
        window
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The smallest value in microseconds that the share `q` (0 to 1) does not exceed; none when nothing was counted or
    /// `q` is out of range.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.total == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut seen = 0_u64;
        for (bucket, count) in &self.counts {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(middle_of(*bucket));
            }
        }
        None
    }

    /// The mean in microseconds; none when nothing was counted.
    pub fn mean(&self) -> Option<f64> {
        let (sum, all) = self.values().fold((0.0, 0.0), |(sum, all), (middle, count)| {
            (sum + middle * count as f64, all + count as f64)
        });
        (all > 0.0).then(|| sum / all)
    }

    /// Middles in microseconds and counts, in order.
    pub fn values(&self) -> impl Iterator<Item = (f64, u64)> {
        self.counts.iter().map(|(bucket, count)| (middle_of(*bucket), *count))
    }

    /// Buckets and counts, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (u32, u64)> {
        self.counts.iter().map(|(bucket, count)| (*bucket, *count))
    }
}

impl From<Vec<(u32, u64)>> for Histogram {
    fn from(buckets: Vec<(u32, u64)>) -> Histogram {
        let mut histogram = Histogram::default();
        buckets.into_iter().for_each(|(bucket, count)| histogram.add(bucket, count));
        histogram
    }
}

impl From<Histogram> for Vec<(u32, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.counts.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_is_at_most_one_in_64_away(micros in 1u64..=LONGEST_MICROS) {
            let middle = middle_of(bucket_of(micros));

            prop_assert!((middle - micros as f64).abs() <= micros as f64 / 64.0, "{micros} became {middle}");
            prop_assert!(bucket_of(micros) < BUCKETS as u32);
        }

        #[test]
        fn buckets_follow_the_order_of_latencies(one in any::<u64>(), other in any::<u64>()) {
            prop_assert_eq!(one.clamp(1, LONGEST_MICROS) <= other.clamp(1, LONGEST_MICROS) && bucket_of(one) > bucket_of(other), false);
        }

        #[test]
        fn merging_is_the_same_as_counting_together(first in prop::collection::vec(any::<u64>(), 0..50), second in prop::collection::vec(any::<u64>(), 0..50)) {
            let (mut one, mut other, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
            first.iter().for_each(|micros| one.record_micros(*micros));
            second.iter().for_each(|micros| other.record_micros(*micros));
            first.iter().chain(&second).for_each(|micros| both.record_micros(*micros));

            one.merge(&other);

            prop_assert_eq!(one, both);
        }

        #[test]
        fn it_survives_serialization(micros in prop::collection::vec(any::<u64>(), 0..50)) {
            let mut histogram = Histogram::default();
            micros.iter().for_each(|micros| histogram.record_micros(*micros));

            let text = serde_json::to_string(&histogram).unwrap();

            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), histogram);
        }

        #[test]
        fn a_window_is_the_later_minus_the_earlier(first in prop::collection::vec(0u64..1_000_000, 0..50), then in prop::collection::vec(0u64..1_000_000, 0..50)) {
            let mut earlier = Histogram::default();
            first.iter().for_each(|micros| earlier.record_micros(*micros));
            let mut later = earlier.clone();
            let mut window = Histogram::default();
            for micros in &then {
                later.record_micros(*micros);
                window.record_micros(*micros);
            }
            prop_assert_eq!(later.since(&earlier), window);
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|millis| histogram.record(Duration::from_millis(millis)));

        let p50 = histogram.quantile(0.5).unwrap();
        let p99 = histogram.quantile(0.99).unwrap();

        assert!((p50 - 50_000.0).abs() <= 50_000.0 / 64.0, "{p50}");
        assert!((p99 - 99_000.0).abs() <= 99_000.0 / 64.0, "{p99}");
        assert!((histogram.mean().unwrap() - 50_500.0).abs() <= 50_500.0 / 64.0);
        assert_eq!(histogram.quantile(f64::NAN), None);
    }

    #[test]
    fn nothing_counted_has_no_quantile_and_no_mean() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().mean(), None);
    }

    #[test]
    fn what_lies_outside_the_range_counts_at_the_border() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);

        assert_eq!(histogram.quantile(0.0), Some(1.0));
        assert_eq!(bucket_of(u64::MAX), bucket_of(LONGEST_MICROS));
        assert_eq!(histogram.count(), 2);
    }

    #[test]
    fn after_a_restart_the_window_is_all_since_the_restart() {
        let earlier = Histogram::from(vec![(40, 10), (50, 5)]);
        let restarted = Histogram::from(vec![(40, 12), (50, 1)]);

        assert_eq!(restarted.since(&earlier), restarted);
        assert_eq!(Histogram::default().since(&earlier).count(), 0);
    }

    #[test]
    fn counts_near_the_top_do_not_overflow() {
        let histogram = Histogram::from(vec![(1, u64::MAX), (2, u64::MAX)]);

        assert_eq!(histogram.quantile(1.0), Some(1.0), "saturated counts keep their order");
        assert_eq!(histogram.mean(), Some(1.5));
    }
}
