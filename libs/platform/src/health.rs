//! Whether an instance is well: the pure count of probes, and the probes themselves.

mod probe;

pub use probe::probe;

use std::{fmt, time::Duration};

use model::{Timestamp, spec};

/// Why an instance is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was never well within the time it had.
    NeverHealthy {
        /// The time it had.
        deadline: Duration,
    },
    /// It was well, then this many probes in a row failed.
    Failures {
        /// How many.
        in_a_row: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NeverHealthy { deadline } => write!(f, "not healthy within {}", model::Span(*deadline)),
            Reason::Failures { in_a_row } => write!(f, "{in_a_row} probes in a row failed"),
        }
    }
}

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not known to be well yet, and still within its time.
    Starting,
    /// Probes succeed.
    Healthy {
        /// Since when it counts as healthy.
        since: Timestamp,
    },
    /// It is not well. Never healthy is final; after failures it may recover.
    Unhealthy {
        /// Why.
        reason: Reason,
    },
}

/// Counts the probes of one instance after the rules of its [`spec::Health`]. Pure: time comes as an argument.
#[derive(Clone, Debug)]
pub struct Prober {
    rules: spec::Health,
    ends: Timestamp,
    good_since: Option<Timestamp>,
    bad_in_a_row: u32,
    health: Health,
}

impl Prober {
    /// Begins at `now`, from which the deadline counts.
    pub fn new(rules: &spec::Health, now: Timestamp) -> Prober {
        let ends = now.plus(rules.healthy_deadline.0);
        Prober { rules: rules.clone(), ends, good_since: None, bad_in_a_row: 0, health: Health::Starting }
    }

    /// Takes the outcome of one probe.
    pub fn observe(&mut self, ok: bool, now: Timestamp) -> Health {
        if ok {
            self.bad_in_a_row = 0;
            self.good_since.get_or_insert(now);
        } else {
            self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
            self.good_since = None;
        }
        self.judge(ok, now);
        self.health.clone()
    }

    /// How it is at `now` without a new probe: a deadline also passes when nothing is asked.
    pub fn at(&mut self, now: Timestamp) -> Health {
        self.judge(false, now);
        self.health.clone()
    }

    fn judge(&mut self, ok: bool, now: Timestamp) {
        let well_from = self.good_since.map(|since| since.plus(self.rules.healthy_after.0));
        let well = ok && well_from.is_some_and(|from| from <= now);
        match &self.health {
            Health::Starting if well && well_from <= Some(self.ends) => {
                self.health = Health::Healthy { since: now }
            }
            Health::Starting if now > self.ends => {
                let reason = Reason::NeverHealthy { deadline: self.rules.healthy_deadline.0 };
                self.health = Health::Unhealthy { reason };
            }
            Health::Healthy { .. } if self.bad_in_a_row >= self.rules.unhealthy_threshold.max(1) => {
                self.health = Health::Unhealthy { reason: Reason::Failures { in_a_row: self.bad_in_a_row } };
            }
            Health::Unhealthy { reason: Reason::Failures { .. } } if well => {
                self.health = Health::Healthy { since: now };
            }
            Health::Starting | Health::Healthy { .. } | Health::Unhealthy { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> spec::Health {
        serde_json::from_str(
            r#"{"probe":{"tcp":{}},"healthyAfter":"2s","healthyDeadline":"10s","unhealthyThreshold":3}"#,
        )
        .unwrap()
    }

    fn second(second: i64) -> Timestamp {
        Timestamp(second * 1000)
    }

    #[test]
    fn an_instance_is_healthy_only_after_the_whole_time_without_a_gap() {
        let mut prober = Prober::new(&rules(), second(0));

        assert_eq!(prober.observe(true, second(1)), Health::Starting);
        assert_eq!(prober.observe(false, second(2)), Health::Starting);
        assert_eq!(prober.observe(true, second(3)), Health::Starting);
        assert_eq!(prober.observe(true, second(4)), Health::Starting);
        assert_eq!(prober.observe(true, second(5)), Health::Healthy { since: second(5) });
    }

    #[test]
    fn an_instance_that_is_never_well_is_unhealthy_after_the_deadline_for_good() {
        let mut prober = Prober::new(&rules(), second(0));

        assert_eq!(prober.at(second(10)), Health::Starting);
        let late = prober.at(second(11));

        assert_eq!(
            late,
            Health::Unhealthy { reason: Reason::NeverHealthy { deadline: Duration::from_secs(10) } }
        );
        assert_eq!(prober.observe(true, second(12)), late);
        assert_eq!(prober.observe(true, second(20)), late);
    }

    #[test]
    fn a_healthy_instance_survives_two_failures_and_recovers_from_three() {
        let mut prober = Prober::new(&rules(), second(0));
        prober.observe(true, second(1));
        prober.observe(true, second(3));

        assert!(matches!(prober.observe(false, second(4)), Health::Healthy { .. }));
        assert!(matches!(prober.observe(false, second(5)), Health::Healthy { .. }));
        let third = prober.observe(false, second(6));
        prober.observe(true, second(7));
        let recovered = prober.observe(true, second(9));

        assert_eq!(third, Health::Unhealthy { reason: Reason::Failures { in_a_row: 3 } });
        assert_eq!(recovered, Health::Healthy { since: second(9) });
    }

    proptest! {
        #[test]
        fn it_is_never_called_healthy_on_a_failed_probe_after_the_threshold(
            probes in prop::collection::vec(any::<bool>(), 1..60),
        ) {
            let mut prober = Prober::new(&rules(), second(0));
            let mut bad = 0;
            for (at, ok) in probes.into_iter().enumerate() {
                bad = if ok { 0 } else { bad + 1 };
                let health = prober.observe(ok, second(at as i64));
                let healthy = matches!(health, Health::Healthy { .. });
                prop_assert!(bad < 3 || !healthy);
            }
        }
    }
}
