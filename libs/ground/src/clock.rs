//! What time it is: the system's time, or in tests whatever the test says. The only place that asks the system.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::Timestamp;
use tokio::sync::watch;

/// A system clock may jump while we sleep; an instant to wait for is looked at again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Tells the time. Cheap to clone; clones tell the same time.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System,
    Manual(watch::Receiver<Timestamp>, Arc<watch::Sender<Timestamp>>),
}

/// Turns a manual clock.
#[derive(Clone, Debug)]
pub struct Hands(Arc<watch::Sender<Timestamp>>);

impl Clock {
    /// The system's time.
    pub fn system() -> Clock {
        Clock(Kind::System)
    }

    /// A clock that stands at `start` until its hands are moved.
    pub fn manual(start: Timestamp) -> (Clock, Hands) {
        let (hands, face) = watch::channel(start);
        let hands = Arc::new(hands);
        (Clock(Kind::Manual(face, Arc::clone(&hands))), Hands(hands))
    }

    /// Now. May be earlier than the last answer: system clocks are corrected.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System => system_now(),
            Kind::Manual(face, _) => *face.borrow(),
        }
    }

    /// Returns when this clock shows `at` or later.
    pub async fn sleep_until(&self, at: Timestamp) {
        match &self.0 {
            Kind::System => loop {
                let left = at.since(system_now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            },
            Kind::Manual(face, _hands_are_held_so_the_wait_cannot_fail) => {
                let mut face = face.clone();
                if face.wait_for(|now| *now >= at).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Returns after `span`. On a system clock this is tokio's time, which does not jump.
    pub async fn sleep(&self, span: Duration) {
        match &self.0 {
            Kind::System => tokio::time::sleep(span).await,
            Kind::Manual(..) => self.sleep_until(self.now().plus(span)).await,
        }
    }
}

impl Hands {
    /// Shows `at`, also backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.send_replace(at);
    }

    /// Moves forward by `span`.
    pub fn advance(&self, span: Duration) {
        self.0.send_modify(|now| *now = now.plus(span));
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::System => f.write_str("Clock(system)"),
            Kind::Manual(face, _) => write!(f, "Clock({})", *face.borrow()),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_an_instant_wakes_when_the_hands_reach_it() {
        let (clock, hands) = Clock::manual(Timestamp(1_000));
        let waiting = {
            let clock = clock.clone();
            async move {
                clock.sleep_until(Timestamp(3_000)).await;
                clock.now()
            }
        };
        let mut waiting = std::pin::pin!(waiting);

        hands.advance(Duration::from_secs(1));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        hands.advance(Duration::from_secs(1));

        assert_eq!(waiting.await, Timestamp(3_000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_past_is_not_waited_for() {
        let clock = Clock::system();

        clock.sleep_until(Timestamp(0)).await;

        assert!(clock.now() > Timestamp(1_600_000_000_000), "a year after 2020");
    }
}
