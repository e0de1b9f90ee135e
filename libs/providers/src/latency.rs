//! How long past answers took, to know when one is late.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};

/// Answers that are remembered.
const REMEMBERED: usize = 128;

/// The latest answers' times of one expert. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Arc<Mutex<VecDeque<Duration>>>);

impl Latencies {
    /// Remembers an answer that took so long; the oldest of more than 128 is forgotten.
    pub fn note(&self, took: Duration) {
        let mut past = self.past();
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(took);
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.past().len()
    }

    /// The time within which this share (0.0 to 1.0) of the remembered answers came. None without any.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.past().iter().copied().collect();
        sorted.sort_unstable();
        let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    }

    fn past(&self) -> MutexGuard<'_, VecDeque<Duration>> {
        // Plain values that are whole between calls.
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_of_the_latest_answers() {
        let latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.95), None);

        for millis in 0..300 {
            latencies.note(Duration::from_millis(millis));
        }

        assert_eq!(latencies.count(), 128);
        assert_eq!(latencies.quantile(0.5), Some(Duration::from_millis(172 + 63)));
        assert_eq!(latencies.quantile(0.95), Some(Duration::from_millis(172 + 121)));
        assert_eq!(latencies.quantile(1.0), Some(Duration::from_millis(299)));
    }
}
