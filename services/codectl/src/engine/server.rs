//! Keeps the engine's NATS server alive, and able to write.

mod disk;

use std::time::Duration;

use bus::NatsServer;
use chassis::Health;
use ground::{Backoff, Jitter};
use tokio::time::Instant;
use tracing::{error, warn};

use disk::Disk;

/// Starts in a row before the engine gives up. With the waits between them that is about 32 s.
const STARTS: u32 = 8;
/// Waits before the second start and each further one.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(400), Duration::from_secs(10), Jitter::None);
/// A server that lived so long was well: the count begins anew.
const WELL: Duration = Duration::from_secs(60);

/// Starts the server again whenever it ends, or when its disk was full and has room again, on the same port with the same
/// data; meanwhile `health` is not ready. Returns when it could not be started [`STARTS`] times in a row, or does not stay, and says why.
pub async fn keep(server: &mut NatsServer, health: &Health) -> String {
    let (mut starts, mut disk) = (0, Disk::of(server));
    loop {
        let began = Instant::now();
        let mut why = tokio::select! {
            why = server.ended() => why,
            why = disk.has_room_again(health) => why,
        };
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
                AGAIN.pause(starts - 1).await;
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
