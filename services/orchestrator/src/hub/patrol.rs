//! A round over the journals of what has ended. Nobody reads those again by themselves, so what a disk does to one of them
//! would be found only when somebody asks for it.

use std::{sync::Arc, time::Duration};

use bus::subjects;
use futures::{StreamExt, stream};
use model::DeploymentId;
use tokio::time::Instant;
use tracing::warn;

use super::Hub;

/// A part of a round is walked so often.
pub const PACE: Duration = Duration::from_secs(1);
/// Journals that are looked at in one part.
const PART: usize = 16;
/// The next round begins so long after one has ended.
const REST: Duration = Duration::from_secs(3600);

/// How far the round is.
#[derive(Debug, Default)]
pub struct Patrol {
    left: Vec<DeploymentId>,
    rests_until: Option<Instant>,
}

impl Hub {
    /// Walks the next part: the first round begins at the start. What is found is set aside, and so named by metric,
    /// `doctor` and `status`.
    pub async fn patrol(self: &Arc<Self>) {
        let mut patrol = self.patrol.lock().await;
        if patrol.left.is_empty() {
            if patrol.rests_until.is_some_and(|until| Instant::now() < until) {
                return;
            }
            patrol.left = self.ended();
        }
        let at = patrol.left.len().saturating_sub(PART);
        let part = patrol.left.split_off(at);
        stream::iter(part).for_each_concurrent(PART, |id| async move { self.inspect(&id).await }).await;
        if patrol.left.is_empty() {
            patrol.rests_until = Some(Instant::now() + REST);
        }
    }

    /// Those of which a line is remembered, the newest last.
    fn ended(&self) -> Vec<DeploymentId> {
        let mut ended = self.list();
        ended.retain(|summary| summary.closed.is_some());
        ended.into_iter().rev().map(|summary| summary.deployment).collect()
    }

    async fn inspect(&self, id: &DeploymentId) {
        match self.bus.examine(&subjects::deployment::JOURNAL, id.as_str()).await {
            Ok(examined) => examined.unreadable.first().into_iter().for_each(|found| {
                if !self.aside.set(found) {
                    self.aside.more(1);
                }
            }),
            // The next round looks again.
            Err(error) => warn!(deployment = %id, cause = chassis::chain(&error), "left out of this round"),
        }
    }
}
