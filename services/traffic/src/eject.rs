//! Takes instances that keep failing out of the choice for a while. Values in, values out.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// When an instance is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row (no connection, no answer in time, an answer 500 to 599) that eject. At least 1. Default 5.
    pub failures: u32,
    /// The first ejection lasts this long, the second twice as long and so on. Default 30 s.
    pub base: Duration,
    /// No ejection lasts longer. Default 300 s.
    pub longest: Duration,
}

impl Default for Rules {
    /// Envoy's numbers for consecutive 5xx.
    fn default() -> Self {
        Rules { failures: 5, base: Duration::from_secs(30), longest: Duration::from_secs(300) }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    in_a_row: u32,
    times: u32,
    until: Option<Instant>,
}

/// The failures of one revision's instances.
///
/// At most half of the instances are out at a time, rounded down: never the last one. An instance that stayed in for
/// `base` after its last ejection ended is forgiven one ejection when it is ejected again.
#[derive(Clone, Debug)]
pub struct Outliers<K> {
    rules: Rules,
    records: BTreeMap<K, Record>,
}

impl<K: Ord + Clone> Outliers<K> {
    /// Nobody has failed yet.
    pub fn new(rules: Rules) -> Self {
        Outliers { rules, records: BTreeMap::new() }
    }

    /// An instance failed. `instances` is how many the revision has. Gives the end of its ejection if that is what
    /// it comes to. An instance that fails on while as many are out as may be stays a candidate.
    pub fn failed(&mut self, key: &K, instances: usize, now: Instant) -> Option<Instant> {
        let out = self.out(now);
        let rules = self.rules;
        let record = self.records.entry(key.clone()).or_default();
        record.in_a_row = record.in_a_row.saturating_add(1);
        let is_out = record.until.is_some_and(|until| until > now);
        if is_out || record.in_a_row < rules.failures || out + 1 > instances / 2 {
            return None;
        }
        let forgiven = match record.until {
            Some(until) if rules.base > Duration::ZERO => (now.saturating_duration_since(until).as_millis()
                / rules.base.as_millis().max(1))
            .min(1 << 20) as u32,
            Some(_) | None => 0,
        };
        record.times = record.times.saturating_sub(forgiven) + 1;
        record.in_a_row = 0;
        let until = now + rules.base.saturating_mul(record.times).min(rules.longest);
        record.until = Some(until);
        Some(until)
    }

    /// An instance answered: its failures are no longer in a row.
    pub fn succeeded(&mut self, key: &K) {
        if let Some(record) = self.records.get_mut(key) {
            record.in_a_row = 0;
        }
    }

    /// How many are out.
    pub fn out(&self, now: Instant) -> usize {
        self.records.values().filter(|record| record.until.is_some_and(|until| until > now)).count()
    }

    /// Forgets whoever is gone.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.records.retain(|key, _| keep(key));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fail_times(
        outliers: &mut Outliers<u8>,
        key: u8,
        times: u32,
        instances: usize,
        now: Instant,
    ) -> Option<Instant> {
        (0..times).filter_map(|_| outliers.failed(&key, instances, now)).last()
    }

    #[test]
    fn the_fifth_failure_in_a_row_ejects_for_thirty_seconds() {
        let (now, mut outliers) = (Instant::now(), Outliers::new(Rules::default()));

        let early = fail_times(&mut outliers, 1, 4, 4, now);
        outliers.succeeded(&1);
        let interrupted = fail_times(&mut outliers, 1, 4, 4, now);
        let fifth = outliers.failed(&1, 4, now);

        assert_eq!((early, interrupted), (None, None));
        assert_eq!(fifth, Some(now + Duration::from_secs(30)));
    }

    #[test]
    fn a_second_ejection_lasts_longer_and_good_conduct_is_rewarded() {
        let (start, mut outliers) = (Instant::now(), Outliers::new(Rules::default()));
        let first = fail_times(&mut outliers, 1, 5, 4, start).unwrap();

        let second = fail_times(&mut outliers, 1, 5, 4, first).unwrap();
        let much_later = second + Duration::from_secs(600);
        let third = fail_times(&mut outliers, 1, 5, 4, much_later).unwrap();

        assert_eq!(second - first, Duration::from_secs(60));
        assert_eq!(third - much_later, Duration::from_secs(30));
    }

    #[test]
    fn the_only_instance_is_never_ejected() {
        let mut outliers = Outliers::new(Rules::default());
        assert_eq!(fail_times(&mut outliers, 1, 100, 1, Instant::now()), None);
    }

    proptest! {
        #[test]
        fn at_most_half_are_out_whatever_happens(
            instances in 1_usize..9,
            events in proptest::collection::vec((0_u8..9, any::<bool>(), 0_u64..20_000), 1..400),
        ) {
            let mut now = Instant::now();
            let mut outliers = Outliers::new(Rules::default());
            for (key, failed, passed) in events {
                let key = key % instances as u8;
                now += Duration::from_millis(passed);
                if failed {
                    let until = outliers.failed(&key, instances, now);
                    prop_assert!(until.is_none_or(|until| until - now <= Duration::from_secs(300)));
                } else {
                    outliers.succeeded(&key);
                }
                prop_assert!(outliers.out(now) <= instances / 2);
            }
            prop_assert_eq!(outliers.out(now + Duration::from_secs(301)), 0, "everyone returns by time alone");
        }
    }
}
