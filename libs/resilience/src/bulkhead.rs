//! Bounds how much work one neighbour can hold: some run, a few wait, the rest is refused at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All places to run and to wait are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{running} run and {waiting} wait already")]
pub struct Overloaded {
    /// How many may run at once.
    pub running: usize,
    /// How many may wait.
    pub waiting: usize,
}

/// Places to run and to wait. Cheap to clone; clones share the places.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    running: usize,
    waiting: usize,
    places: Arc<Semaphore>,
    queue: Arc<AtomicUsize>,
}

/// A place to run, given back when dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Slot {
    _place: OwnedSemaphorePermit,
}

impl Bulkhead {
    /// At most `running` (at least 1) at once and `waiting` (0 is allowed: refuse whenever all run) in line.
    pub fn new(running: usize, waiting: usize) -> Bulkhead {
        let running = running.clamp(1, Semaphore::MAX_PERMITS);
        Bulkhead { running, waiting, places: Arc::new(Semaphore::new(running)), queue: Arc::default() }
    }

    /// A place to run, in order of asking. Refused at once when the line is full. A caller that stops waiting
    /// leaves the line.
    pub async fn enter(&self) -> Result<Slot, Overloaded> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Slot { _place: place });
        }
        let _in_line = self.queue_up()?;
        match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => Ok(Slot { _place: place }),
            // Nobody closes the semaphore; if that ever changes, refusing is the safe reading.
            Err(_closed) => Err(self.overloaded()),
        }
    }

    /// How many run now.
    pub fn running(&self) -> usize {
        self.running.saturating_sub(self.places.available_permits())
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.queue.load(Ordering::Relaxed)
    }

    fn queue_up(&self) -> Result<InLine, Overloaded> {
        let limit = self.waiting;
        let taken = self.queue.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting < limit).then_some(waiting + 1)
        });
        match taken {
            Ok(_before) => Ok(InLine(Arc::clone(&self.queue))),
            Err(_full) => Err(self.overloaded()),
        }
    }

    fn overloaded(&self) -> Overloaded {
        Overloaded { running: self.running, waiting: self.waiting }
    }
}

/// Leaves the line when dropped, also when the waiting future is cancelled.
struct InLine(Arc<AtomicUsize>);

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use super::*;

    /// Polls once, so that the caller stands in line.
    async fn begin<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        let mut future = Some(future);
        std::future::poll_fn(|cx| Poll::Ready(future.take().map_or(Poll::Pending, |future| future.poll(cx))))
            .await
    }

    #[tokio::test]
    async fn who_finds_the_line_full_is_refused_at_once() {
        let bulkhead = Bulkhead::new(1, 1);
        let held = bulkhead.enter().await.unwrap();
        let mut second = pin!(bulkhead.enter());
        assert!(begin(second.as_mut()).await.is_pending());

        let third = bulkhead.enter().await;

        assert_eq!(third.unwrap_err(), Overloaded { running: 1, waiting: 1 });
        drop(held);
        assert!(second.await.is_ok());
        assert_eq!(bulkhead.running(), 0);
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_the_line() {
        let bulkhead = Bulkhead::new(1, 1);
        let _held = bulkhead.enter().await.unwrap();
        {
            let mut impatient = pin!(bulkhead.enter());
            assert!(begin(impatient.as_mut()).await.is_pending());
            assert_eq!(bulkhead.waiting(), 1);
        }

        let mut next = pin!(bulkhead.enter());

        assert!(begin(next.as_mut()).await.is_pending(), "the line has a place again");
        assert_eq!(bulkhead.waiting(), 1);
    }

    #[tokio::test]
    async fn many_at_once_never_run_more_than_allowed() {
        let bulkhead = Bulkhead::new(3, 1000);
        let peak = Arc::new(AtomicUsize::new(0));
        let mut all = tokio::task::JoinSet::new();

        for _ in 0..200 {
            let (bulkhead, peak) = (bulkhead.clone(), Arc::clone(&peak));
            all.spawn(async move {
                let _slot = bulkhead.enter().await.unwrap();
                peak.fetch_max(bulkhead.running(), Ordering::Relaxed);
                tokio::task::yield_now().await;
            });
        }
        all.join_all().await;

        assert!(peak.load(Ordering::Relaxed) <= 3);
        assert_eq!((bulkhead.running(), bulkhead.waiting()), (0, 0));
    }
}
