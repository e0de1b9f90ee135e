//! What a member does by itself: stand for election when no leader is heard, fall silent when it leads nobody, make
//! snapshots.
//!
//! openraft 0.9 draws one election timeout when a process starts and keeps it, so two members may split every vote; and
//! it asks for votes without asking first whether they would be given, so a member that was cut off comes back with a
//! higher term and unseats a leader who did nothing wrong. So its own timer is off, and this one draws anew each time and
//! canvasses first. When to stand is a question of speed only: that at most one is elected is openraft's doing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use openraft::ServerState;
use rand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    core::Core,
    settings::Compaction,
    types::Peer,
    wire::{Answer, Ask},
};

/// How often the size of the log is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Stands for election whenever no leader was heard for long enough. Never returns.
pub(crate) async fn elections(core: Arc<Core>) {
    let patience = core.timing.patience;
    let mut tried = Instant::now();
    loop {
        let wait = patience.mul_f64(rand::rng().random_range(1.2..2.2));
        let mut until;
        // Hearing a leader begins the wait anew.
        loop {
            let heard = core.heard.lock().unwrap_or(tried).max(tried);
            until = heard + wait;
            if until <= Instant::now() {
                break;
            }
            sleep_until(until).await;
        }
        tried = Instant::now();
        if stands(&core) && canvass(&core).await {
            tracing::info!("no leader is heard; standing for election");
            if let Err(error) = core.raft.trigger().elect().await {
                tracing::error!(%error, "cannot stand for election any more");
                return;
            }
        }
    }
}

/// Whether this member may be elected and somebody is missing.
fn stands(core: &Core) -> bool {
    let metrics = core.raft.metrics();
    let metrics = metrics.borrow();
    let is_voter = metrics.membership_config.membership().voter_ids().any(|id| id == core.id);
    is_voter && metrics.state != ServerState::Leader
}

/// Asks the others whether they would vote for this member. With joint membership a majority of each half must.
async fn canvass(core: &Core) -> bool {
    let membership = core.raft.metrics().borrow().membership_config.membership().clone();
    let Ok(last) = core.log.last() else { return false };
    let mut asked: FuturesUnordered<_> = membership
        .voter_ids()
        .filter(|id| *id != core.id)
        .filter_map(|id| Some((id, membership.get_node(&id)?.clone())))
        .map(|(id, peer): (u64, Peer)| async move {
            let ask = Ask::Canvass { last };
            let answer = core.courier.ask(id, &peer, &ask, Vec::new(), core.timing.patience).await;
            matches!(answer, Ok(Answer::Canvass { granted: true })).then_some(id)
        })
        .collect();
    let mut granted = BTreeSet::from([core.id]);
    loop {
        let has_majority = |half: &BTreeSet<u64>| half.intersection(&granted).count() > half.len() / 2;
        if membership.get_joint_config().iter().all(has_majority) {
            return true;
        }
        match asked.next().await {
            Some(id) => granted.extend(id),
            None => return false,
        }
    }
}

/// A leader that hears no majority falls silent, so that whoever hears it, but is not heard, stops waiting for it.
/// Never returns.
pub(crate) async fn silence(core: Arc<Core>) {
    let long = core.timing.patience * 3;
    loop {
        sleep(core.timing.patience).await;
        let leads_nobody = {
            let metrics = core.raft.metrics();
            let metrics = metrics.borrow();
            metrics.state == ServerState::Leader
                && metrics.millis_since_quorum_ack.is_some_and(|ms| u128::from(ms) > long.as_millis())
        };
        if leads_nobody && !*core.handing_over.lock() {
            tracing::warn!("no majority answers; falling silent, so that another may be elected");
            core.raft.runtime_config().heartbeat(false);
            sleep(long).await;
            core.raft.runtime_config().heartbeat(true);
        }
    }
}

/// Makes a snapshot whenever enough was written since the last. Never returns.
pub(crate) async fn compact(core: Arc<Core>, compaction: Compaction) {
    let mut at = 0;
    loop {
        sleep(LOOK).await;
        let (applied, covered) = {
            let metrics = core.raft.metrics();
            let metrics = metrics.borrow();
            (metrics.last_applied.map_or(0, |id| id.index), metrics.snapshot.map_or(0, |id| id.index))
        };
        let bytes = core.log.appended();
        let long = bytes.saturating_sub(at) >= compaction.bytes
            || applied - covered.min(applied) >= compaction.entries;
        if long && applied > covered {
            at = bytes;
            if let Err(error) = core.raft.trigger().snapshot().await {
                tracing::error!(%error, "cannot make snapshots any more");
                return;
            }
        }
    }
}
