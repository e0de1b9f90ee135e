//! A deadline that costs nothing while it is kept.
//!
//! Arming and disarming a timer with every request takes the runtime's timer lock twice. This one is left armed for
//! an earlier request's deadline; when it goes off too soon for the present one, it is set anew. A busy connection so
//! touches the timer once per timeout rather than twice per request.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep};

pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(crate) fn new(deadline: Instant) -> Alarm {
        Alarm(Box::pin(tokio::time::sleep_until(deadline)))
    }

    /// Whether the deadline has come. If not, the task is woken when it does, or before.
    pub(crate) fn poll_is_over(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.0.as_mut().reset(deadline);
        }
        false
    }

    /// What the future gives, or nothing when the deadline comes first.
    pub(crate) async fn within<F: Future>(&mut self, deadline: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.poll_is_over(deadline, cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_left_from_an_earlier_or_a_later_deadline_goes_off_at_the_present_one() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::new(after(30));

        assert_eq!(alarm.within(after(40), async { 7 }).await, Some(7));
        for deadline in [5, 50, 50] {
            assert_eq!(alarm.within(after(deadline), pending::<()>()).await, None);
            assert_eq!(start.elapsed().as_secs(), deadline);
        }
    }
}
