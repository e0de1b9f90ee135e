//! How a replica hears of what others wrote: by following, and by a sweep on which everything can depend that was not
//! heard.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::{Beat, Entry, Last, Since, subjects};
use futures::{StreamExt, stream};
use model::{DeploymentId, Event, Principal, TargetId, target::TargetEvent, view::Summary};
use tracing::{debug, error, info, warn};

use super::{Adopted, Hub, drive::News};
use crate::{
    error::{Attempt, Error},
    heart::{state::Deployment, target::Wish},
    store,
};

/// A deployment that ended so recently is announced again by whoever starts: its last owner may have died before it
/// could. Shorter than the 10 minutes in which the broker drops what was said before.
const RECENT: Duration = Duration::from_secs(9 * 60);
/// Journals that are looked at side by side.
const AT_ONCE: usize = 16;

impl Hub {
    /// A target's record came by while following.
    pub async fn heard_target(&self, entry: &Entry<TargetEvent>) -> Result<(), Error> {
        self.targets.heard(entry).await
    }

    /// A record came by while following the journals.
    pub async fn heard(self: &Arc<Self>, entry: Entry<Event>) -> Result<(), Error> {
        let Ok(id) = entry.record.id.parse::<DeploymentId>() else {
            warn!(id = entry.record.id, "a journal with a name that is no deployment");
            return Ok(());
        };
        if let Some(summary) = closing(&entry) {
            // Before looking for its task: who begins one looks here afterwards.
            self.roster().remember(summary.clone());
        }
        match self.inbox(&id) {
            Some(inbox) => {
                let _ = inbox.send(News::Record(Box::new(entry))).await;
                Ok(())
            }
            None if closing(&entry).is_some() => Ok(()),
            // Our own task ended before its last records came by: its journal need not be read for each of them.
            None if self.roster().is_over(&id) => Ok(()),
            None => self.find(&id, entry).await,
        }
    }

    /// Begins the task of a deployment whose record came by, unless it is over.
    async fn find(self: &Arc<Self>, id: &DeploymentId, entry: Entry<Event>) -> Result<(), Error> {
        let state = match entry.record.version {
            1 => Some(Deployment::begin(&entry.record, entry.seq)?),
            _ => store::load(&self.bus, id).await?,
        };
        let Some(state) = state else { return Ok(()) };
        if let Adopted::Before(inbox) = self.adopt(id, state) {
            // Someone else began it meanwhile, perhaps from an older state.
            let _ = inbox.send(News::Record(Box::new(entry))).await;
        }
        Ok(())
    }

    /// Looks at the last record of every journal that grew since the last sweep, and at every target: begins what is not over and not known, tells
    /// tasks what they missed, gives back locks whose holder is over. Liveness depends on no single message, and one
    /// journal that cannot be read holds up no other.
    pub async fn sweep(self: &Arc<Self>) -> Result<(), Error> {
        let mut swept = self.swept.lock().await;
        swept.targets = self.sweep_targets(swept.targets).await?;
        let Last { entries, unreadable, since } = self
            .bus
            .last_of_each_since(&subjects::deployment::JOURNAL, swept.deployments)
            .await
            .attempt("sweep the journals")?;
        let unnamed = unreadable.iter().filter(|found| !self.aside.set(found)).count();
        let first = swept.deployments == Since::default();
        let all_seen = &AtomicBool::new(true);
        stream::iter(entries)
            .for_each_concurrent(AT_ONCE, |entry| async move {
                let id = entry.record.id.clone();
                match self.look_at(entry, first).await {
                    Ok(()) => {}
                    Err(error) if self.aside.took(&error) => {}
                    Err(error @ Error::Journal(_)) => {
                        error!(deployment = id, %error, "a journal cannot be folded; nobody drives it");
                    }
                    Err(error) => {
                        let cause = chassis::chain(&error);
                        warn!(deployment = id, cause, "left out of this sweep");
                        all_seen.store(false, Ordering::Relaxed);
                    }
                }
            })
            .await;
        if all_seen.load(Ordering::Relaxed) {
            swept.deployments = since;
            self.aside.more(unnamed);
        }
        drop(swept);
        self.targets.look_again().await;
        self.give_back_locks().await;
        Ok(())
    }

    /// Names the targets whose journals cannot be used, so that it is known before a deployment needs them.
    async fn sweep_targets(&self, since: Since) -> Result<Since, Error> {
        let journal = &subjects::target::JOURNAL;
        let last =
            self.bus.last_of_each_since(journal, since).await.attempt("sweep the targets' journals")?;
        self.aside.more(last.unreadable.iter().filter(|found| !self.aside.set(found)).count());
        for entry in last.entries {
            self.aside.look_again(&self.bus, journal, "target", &entry.record.id).await?;
        }
        Ok(last.since)
    }

    async fn look_at(self: &Arc<Self>, entry: Entry<Event>, first: bool) -> Result<(), Error> {
        let journal = &subjects::deployment::JOURNAL;
        self.aside.look_again(&self.bus, journal, "deployment", &entry.record.id).await?;
        let Ok(id) = entry.record.id.parse::<DeploymentId>() else { return Ok(()) };
        let over = closing(&entry).cloned();
        if let Some(summary) = &over {
            self.roster().remember(summary.clone());
            let age = summary.closed.map(|closed| self.clock.now().since(closed));
            if first && age.is_some_and(|age| age < RECENT) {
                self.say(summary, entry.record.version).await?;
            }
        }
        let known = self.roster().known(&id).cloned();
        match known {
            // One that has room for nothing has news enough to look at its journal.
            Some(known) if known.version < entry.record.version => {
                debug!(deployment = %id, version = entry.record.version, "the sweep tells of a record");
                let _ = known.inbox.try_send(News::Record(Box::new(entry)));
                Ok(())
            }
            Some(_) => Ok(()),
            None if over.is_some() => Ok(()),
            None => self.find(&id, entry).await,
        }
    }

    async fn give_back_locks(&self) {
        for (target, waiting) in self.targets.waiting() {
            if self.roster().known(&waiting).is_some() {
                continue;
            }
            if let Err(error) = self.give_back(&target, &waiting).await
                && !self.aside.took(&error)
            {
                let cause = chassis::chain(&error);
                warn!(deployment = %waiting, cause, "its place could not be given back in this sweep");
            }
        }
    }

    /// A deployment is journalled before it waits for a target: one that waits and has no journal has lost it, or a
    /// person had all of it passed over. Nobody would ever end it.
    async fn give_back(&self, token: &str, waiting: &DeploymentId) -> Result<(), Error> {
        let (target, trace) = match store::load(&self.bus, waiting).await? {
            Some(state) if !state.is_closed() => return Ok(()),
            Some(state) => {
                warn!(deployment = %waiting, "gave back the place of a deployment that is over");
                (state.spec.target_id(), state.trace)
            }
            None => {
                let Some(target) = TargetId::of_token(token) else { return Ok(()) };
                error!(deployment = %waiting, %target, "a deployment's journal is lost, its place is given back");
                (target, None)
            }
        };
        self.targets.wish(&target, &Wish::Leave(waiting.clone()), self.clock.now(), trace.as_deref()).await
    }

    /// Says that we live, and looks who does not.
    pub async fn live(&self) -> Result<(), Error> {
        #[allow(clippy::expect_used, reason = "a constant that matches the grammar")]
        let service = "orchestrator".parse().expect("a token");
        let (replica, at, draining) = (self.me.clone(), self.clock.now(), self.is_draining());
        let beat = Beat { replica, service, at, draining, ready: true };
        self.bus.signal(&subjects::orchestrator::BEAT, self.me.as_str(), &beat).await.attempt("beat")?;
        self.claim_from_the_silent();
        Ok(())
    }

    /// Claims what belongs to replicas that have been silent for too long while the bus answers us.
    pub fn claim_from_the_silent(&self) {
        let (silence, now) = (self.config.silence.0, tokio::time::Instant::now());
        if self.is_draining() || !self.bus.is_connected() {
            return;
        }
        let peers = self.peers();
        // If we do not even hear ourselves, it is we who are deaf.
        if !peers.can_judge(&self.me, silence, now) {
            return;
        }
        for known in self.roster().all() {
            let silent =
                |owner: &&model::ReplicaId| **owner != self.me && peers.is_silent(owner, silence, now);
            if let Some(owner) = known.owner.as_ref().filter(silent) {
                // A task without room is told at the next beat: our own beats must not wait for it.
                let _ = known.inbox.try_send(News::Claim(owner.clone()));
            }
        }
    }

    /// Hands over all that is owned; from then on others claim it.
    pub async fn drain(&self, by: &Principal) {
        if self.begin_to_drain() {
            return;
        }
        info!(%by, "draining: handing over what is owned");
        let inboxes: Vec<_> = self.roster().all().map(|known| known.inbox.clone()).collect();
        let told = inboxes.into_iter().map(|inbox| async move {
            let (answer, done) = tokio::sync::oneshot::channel();
            if inbox.send(News::Release(answer)).await.is_ok() {
                let _ = done.await;
            }
        });
        // Whoever cannot be told is claimed after the silence, because our beats say that we drain.
        let all = stream::iter(told).for_each_concurrent(None, |told| told);
        if tokio::time::timeout(super::PATIENCE, all).await.is_err() {
            warn!("not everything was handed over; others claim the rest");
        }
    }
}

pub(super) fn closing(entry: &Entry<Event>) -> Option<&Summary> {
    entry.record.events.iter().find_map(|event| match event {
        Event::Closed { summary, .. } => Some(&**summary),
        _ => None,
    })
}
