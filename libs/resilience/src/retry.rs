//! Bounds the load that retries add, and retries within that bound.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Sleep;
use tower::retry::budget::{Budget as _, TpsBudget};

use ground::Backoff;

/// Retries may add a share of the load, and a few per second however little there is to do. When a neighbour is
/// down for everyone the share is soon spent, and requests fail after one try rather than multiply.
/// Cheap to clone; clones share the budget, which is the point: one per neighbour.
#[derive(Clone)]
pub struct Budget(Arc<TpsBudget>);

impl Budget {
    /// `share` of the requests of the last `lifetime` (1 to 60 s), 0.0 to 1.0, and `floor` per second besides.
    /// Values outside are taken as the nearest bound.
    pub fn new(share: f32, floor: u32, lifetime: Duration) -> Budget {
        let lifetime = lifetime.clamp(Duration::from_secs(1), Duration::from_secs(60));
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        Budget(Arc::new(TpsBudget::new(lifetime, floor.min(1_000_000), share)))
    }

    /// Notes a request, which earns its share of a retry.
    pub fn earn(&self) {
        self.0.deposit();
    }

    /// Takes one retry out of the budget; `false` when it is spent.
    pub fn spend(&self) -> bool {
        self.0.withdraw()
    }
}

impl Default for Budget {
    /// 20 % of the requests of the last 10 s, and 10 per second besides (Finagle's and Linkerd's numbers).
    fn default() -> Budget {
        Budget::new(0.2, 10, Duration::from_secs(10))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budget")
    }
}

/// A policy for [`tower::retry`]: tries again what `worth` calls worth it, with waits and within the budget.
///
/// Whatever passes here is sent more than once: use it only for what is idempotent.
#[derive(Clone, Debug)]
pub struct Retry<F> {
    budget: Budget,
    backoff: Backoff,
    most: u32,
    tries: u32,
    worth: F,
}

impl<F> Retry<F> {
    /// At most `most` retries of one request. `worth` sees every error.
    pub fn new(budget: Budget, backoff: Backoff, most: u32, worth: F) -> Retry<F> {
        Retry { budget, backoff, most, tries: 0, worth }
    }
}

impl<Req, Rep, E, F> tower::retry::Policy<Req, Rep, E> for Retry<F>
where
    Req: Clone,
    F: FnMut(&E) -> bool,
{
    type Future = Sleep;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Rep, E>) -> Option<Sleep> {
        if self.tries == 0 {
            self.budget.earn();
        }
        let error = result.as_ref().err()?;
        if self.tries >= self.most || !(self.worth)(error) || !self.budget.spend() {
            return None;
        }
        self.tries += 1;
        Some(tokio::time::sleep(self.backoff.wait(self.tries)))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tower::{ServiceBuilder, ServiceExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_add_a_fifth_of_the_load_and_the_floor() {
        let budget = Budget::new(0.2, 1, Duration::from_secs(10));

        for _ in 0..1000 {
            budget.earn();
        }
        let granted = (0..1000).filter(|_| budget.spend()).count();

        assert_eq!(granted, 200 + 10, "20 % of 1000, and one per second over 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_earned_expires() {
        let budget = Budget::new(0.2, 0, Duration::from_secs(10));
        for _ in 0..1000 {
            budget.earn();
        }

        tokio::time::advance(Duration::from_secs(12)).await;

        assert!(!budget.spend());
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_trouble_is_retried_and_a_lasting_one_is_bounded() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let policy = Retry::new(Budget::default(), Backoff::default(), 3, |error: &u32| *error != 400);
        let service =
            ServiceBuilder::new().retry(policy).service_fn(move |(fail_first, with): (u32, u32)| {
                let tried = counted.fetch_add(1, Ordering::Relaxed);
                async move { if tried < fail_first { Err(with) } else { Ok(tried) } }
            });

        assert_eq!(service.clone().oneshot((2, 503)).await, Ok(2), "two failures, then an answer");
        tries.store(0, Ordering::Relaxed);
        assert_eq!(service.clone().oneshot((9, 503)).await, Err(503));
        assert_eq!(tries.swap(0, Ordering::Relaxed), 4, "one try and three retries");
        assert_eq!(service.oneshot((9, 400)).await, Err(400));
        assert_eq!(tries.load(Ordering::Relaxed), 1, "what can never succeed is not tried again");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_does_not_multiply_the_load() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let budget = Budget::new(0.2, 0, Duration::from_secs(10));
        let policy = Retry::new(budget, Backoff::default(), 3, |_: &()| true);
        let service = ServiceBuilder::new().retry(policy).service_fn(move |(): ()| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), ()>(()) }
        });

        let all: Vec<_> = (0..100).map(|_| service.clone().oneshot(())).collect();
        for one in all {
            let _ = one.await;
        }

        let sent = tries.load(Ordering::Relaxed);
        assert!(sent <= 120, "100 requests were sent {sent} times");
    }
}
