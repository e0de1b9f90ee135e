//! Whether the disk of the NATS server was full. A stream whose write failed takes nothing more until the server is started
//! again, however much room there is by then.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use bus::NatsServer;
use chassis::{Health, Latch};
use tracing::{error, warn};

use crate::home::room;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// So much room has to be there, in bytes, before the server is started again, at two looks in a row.
const ROOM: u64 = 32 << 20;
/// With less than this, in bytes, nothing can be written.
const NONE: u64 = 64 << 10;
/// What the server logs of a write that failed for want of room (ENOSPC as Go words it).
const FULL: &str = "no space left on device";
/// At most so much of the log is read at one look; what is beyond is read at the next one.
const READ: u64 = 1 << 20;

/// What is known of the disk.
pub struct Disk {
    folder: PathBuf,
    log: PathBuf,
    /// The log was read so far.
    read: u64,
    /// Held while it is full.
    full: Option<Latch>,
}

impl Disk {
    /// The disk where this server's data lie. What it logged before is passed over.
    pub fn of(server: &NatsServer) -> Disk {
        let log = server.log();
        let read = std::fs::metadata(&log).map_or(0, |log| log.len());
        Disk { folder: server.folder().to_owned(), log, read, full: None }
    }

    /// Returns when the server has met a full disk and there is room again; `health` is not ready meanwhile.
    pub async fn has_room_again(&mut self, health: &Health) -> String {
        let mut roomy = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let left = room(&self.folder).unwrap_or(u64::MAX);
            // Its log lies on the same disk, and may not hold what it would have said.
            let said = self.met_a_full_disk().unwrap_or_else(|error| {
                warn!(%error, log = %self.log.display(), "the log of nats-server cannot be read");
                false
            });
            if self.full.is_none() && (said || left < NONE) {
                let folder = self.folder.display();
                error!(%folder, left, "the disk of nats-server is full: it takes nothing");
                self.full =
                    Some(health.latch(format!("the disk of {folder} is full: nats-server takes nothing")));
            }
            roomy = if self.full.is_some() && left >= ROOM { roomy + 1 } else { 0 };
            if roomy >= 2 {
                self.full = None;
                return "its disk was full and has room again".to_owned();
            }
        }
    }

    /// Whether the server said so since the last look.
    fn met_a_full_disk(&mut self) -> io::Result<bool> {
        let mut log = File::open(&self.log)?;
        let size = log.metadata()?.len();
        // A log that was begun anew.
        self.read = if size < self.read { 0 } else { self.read };
        log.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        self.read += log.take(READ).read_to_end(&mut text)? as u64;
        Ok(String::from_utf8_lossy(&text).to_ascii_lowercase().contains(FULL))
    }
}
