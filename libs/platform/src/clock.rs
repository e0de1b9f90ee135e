//! What time it is, as a value that can be replaced.

use std::sync::Arc;

use model::Timestamp;

/// Tells the time; drivers stamp starts and exits with it and decide nothing by it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's wall clock.
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        #[allow(
            clippy::disallowed_methods,
            reason = "the one place below the chassis; callers pass their own clock"
        )]
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since)
    })
}
