//! When certificates were made, by both clocks: the one that people set, and the time that only passes.

use std::{collections::VecDeque, time::Duration};

use model::{DeploymentId, Timestamp, certificate::CertificateEntry};
use parking_lot::Mutex;
use tokio::time::Instant;

/// So far a clock may be ahead of others: what a verifier grants.
pub const SKEW: Duration = Duration::from_secs(300);
/// As many of the last certificates are remembered.
const REMEMBERED: usize = 256;

/// The last certificates of this process.
#[derive(Debug, Default)]
pub struct Dated(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// What an earlier process issued was looked at.
    has_looked: bool,
    lately: VecDeque<(DeploymentId, Instant, Timestamp)>,
}

impl Dated {
    /// This one was issued just now.
    pub fn note(&self, entry: &CertificateEntry) {
        let lately = &mut self.0.lock().lately;
        lately.push_back((entry.deployment.clone(), Instant::now(), entry.issued));
        while lately.len() > REMEMBERED {
            lately.pop_front();
        }
    }

    /// Those that say a later time than it was, as the clock is now; each once.
    pub fn ahead(&self, now: Timestamp) -> Vec<DeploymentId> {
        let mut ahead = Vec::new();
        self.0.lock().lately.retain(|(deployment, made, issued)| {
            let is_ahead = issued.plus(made.elapsed()) > now.plus(SKEW);
            if is_ahead {
                ahead.push(deployment.clone());
            }
            !is_ahead
        });
        ahead
    }

    /// What an earlier process issued is looked at once; whether that was done.
    pub fn has_looked(&self) -> bool {
        self.0.lock().has_looked
    }

    /// It was done.
    pub fn looked(&self) {
        self.0.lock().has_looked = true;
    }
}
