//! Keeps the engine's NATS server alive.

use std::time::Duration;

use bus::NatsServer;
use chassis::Health;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

/// Starts in a row before the engine gives up. With the waits between them that is about 23 s.
const STARTS: u32 = 8;
/// The wait before the second start; each further wait is twice as long, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A server that lived so long was well: the count begins anew.
const WELL: Duration = Duration::from_secs(60);

/// Starts the server again whenever it ends, on the same port with the same data; meanwhile `health` is not ready.
/// Returns when it could not be started [`STARTS`] times in a row, or does not stay, and says why.
pub async fn keep(server: &mut NatsServer, health: &Health) -> String {
    let mut starts = 0;
    loop {
        let began = Instant::now();
        let mut why = server.ended().await;
        let down = health.latch(why.clone());
        if began.elapsed() >= WELL {
            starts = 0;
        }
        loop {
            starts += 1;
            if starts > STARTS {
                let last = format!("nats-server does not stay, gave up after {STARTS} starts: {why}");
                error!(why, STARTS, "nats-server does not stay, the engine ends");
                health.die(last.clone());
                return last;
            }
            warn!(why, starts, "nats-server is gone, starting it again");
            if starts > 1 {
                sleep((SHORTEST * (1 << starts.min(10))).min(LONGEST)).await;
            }
            match server.restart().await {
                Ok(()) => break,
                Err(error) => why = chassis::chain(&error),
            }
        }
        warn!(port = server.port(), "nats-server runs again");
        drop(down);
    }
}
