//! Which client connections there are and what they are doing, so that idle and stuck ones can be closed and all of
//! them told to end.
//!
//! One sweep looks at all connections now and then. That costs a request two atomic operations, where a timer and a
//! shutdown future per connection would be polled under a lock at each wake-up.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{alarm::Alarm, millis_since};

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Order {
    GoOn = 0,
    /// End once the requests in flight are answered.
    Finish = 1,
    /// End now.
    Abort = 2,
}

/// One client connection.
pub(crate) struct Activity {
    /// Requests being answered.
    busy: AtomicU32,
    /// When a request last began or ended; milliseconds since the plane began.
    last: AtomicU64,
    /// Until when the requests in flight may take at most; the same measure.
    until: AtomicU64,
    order: AtomicU8,
    waker: AtomicWaker,
    /// The alarm of the last request, for the next one.
    alarm: Mutex<Option<Alarm>>,
    epoch: Instant,
}

impl Activity {
    /// A request begins that ends at `until_ms` at the latest.
    pub(crate) fn begin(self: &Arc<Self>, now_ms: u64, until_ms: u64) -> Busy {
        self.busy.fetch_add(1, Relaxed);
        self.last.store(now_ms, Relaxed);
        self.until.fetch_max(until_ms, Relaxed);
        Busy(Arc::clone(self))
    }

    /// An alarm to be handed back by [`Activity::put_back`]: the last one, or a new one while another request has it.
    pub(crate) fn alarm(&self, deadline: Instant) -> Alarm {
        let left = self.alarm.lock().take();
        left.unwrap_or_else(|| Alarm::new(deadline))
    }

    pub(crate) fn put_back(&self, alarm: Alarm) {
        *self.alarm.lock() = Some(alarm);
    }

    pub(crate) fn order(&self) -> Order {
        match self.order.load(SeqCst) {
            0 => Order::GoOn,
            1 => Order::Finish,
            _ => Order::Abort,
        }
    }

    pub(crate) fn watch(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    fn tell(&self, order: Order) {
        if self.order.fetch_max(order as u8, SeqCst) < order as u8 {
            self.waker.wake();
        }
    }

    /// `idle` and `grace` in milliseconds.
    fn judge(&self, now_ms: u64, idle: u64, grace: u64) -> Order {
        let quiet = now_ms.saturating_sub(self.last.load(Relaxed));
        match self.busy.load(Relaxed) {
            // A connection that should have finished by now has a client that does not read or write.
            0 if quiet > idle + grace => Order::Abort,
            0 if quiet > idle => Order::Finish,
            0 => Order::GoOn,
            _ if now_ms > self.until.load(Relaxed) + grace => Order::Abort,
            _ => Order::GoOn,
        }
    }
}

/// Shows that a connection has a request in flight.
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.last.store(millis_since(self.0.epoch, Instant::now()), Relaxed);
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

/// All client connections of a plane.
#[derive(Default)]
pub(crate) struct Directory {
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    /// By number; with the listener each came in through.
    open: HashMap<u64, (u64, Arc<Activity>)>,
}

impl Directory {
    /// A connection came in. It stays listed until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>, listener: u64, epoch: Instant, now_ms: u64) -> Listed {
        let activity = Arc::new(Activity {
            busy: AtomicU32::new(0),
            last: AtomicU64::new(now_ms),
            until: AtomicU64::new(0),
            order: AtomicU8::new(Order::GoOn as u8),
            waker: AtomicWaker::new(),
            alarm: Mutex::new(None),
            epoch,
        });
        let mut connections = self.locked();
        connections.next += 1;
        let number = connections.next;
        connections.open.insert(number, (listener, Arc::clone(&activity)));
        Listed { directory: Arc::clone(self), number, activity }
    }

    pub(crate) fn len(&self) -> usize {
        self.locked().open.len()
    }

    /// Tells every connection, or those of one listener.
    pub(crate) fn tell(&self, listener: Option<u64>, order: Order) {
        let told: Vec<Arc<Activity>> = self
            .locked()
            .open
            .values()
            .filter(|(of, _)| listener.is_none_or(|listener| listener == *of))
            .map(|(_, activity)| Arc::clone(activity))
            .collect();
        told.iter().for_each(|activity| activity.tell(order));
    }

    /// Ends connections without a request for `idle`, and those stuck for `grace` beyond what they may take.
    pub(crate) fn sweep(&self, now_ms: u64, idle: Duration, grace: Duration) {
        let (idle, grace) = (idle.as_millis() as u64, grace.as_millis() as u64);
        let all: Vec<Arc<Activity>> =
            self.locked().open.values().map(|(_, activity)| Arc::clone(activity)).collect();
        for activity in all {
            let order = activity.judge(now_ms, idle, grace);
            if order != Order::GoOn {
                activity.tell(order);
            }
        }
    }

    fn locked(&self) -> parking_lot::MutexGuard<'_, Connections> {
        self.connections.lock()
    }
}

/// Keeps a connection listed.
pub(crate) struct Listed {
    directory: Arc<Directory>,
    number: u64,
    pub(crate) activity: Arc<Activity>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.directory.locked().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_are_ended_and_stuck_ones_aborted() {
        let directory = Arc::new(Directory::default());
        let (quiet, busy) = (directory.enter(1, Instant::now(), 0), directory.enter(1, Instant::now(), 0));
        let request = busy.activity.begin(0, 30_000);
        let sweep = |now| directory.sweep(now, Duration::from_secs(60), Duration::from_secs(10));

        sweep(59_000);
        assert_eq!((quiet.activity.order(), busy.activity.order()), (Order::GoOn, Order::Abort));
        sweep(61_000);
        assert_eq!(quiet.activity.order(), Order::Finish);
        sweep(71_000);
        assert_eq!(quiet.activity.order(), Order::Abort);

        drop((request, quiet, busy));
        assert_eq!(directory.len(), 0);
    }
}
