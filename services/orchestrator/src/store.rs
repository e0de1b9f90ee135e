//! Journals of deployments and targets: load, append, and the targets as far as they were folded.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bus::{Aggregate, Bus, Entry, subjects};
use futures::{StreamExt, stream};
use model::{
    DeploymentId, Fence, Record, ReplicaId, TargetId, Timestamp, command::HoldingsRequest,
    target::TargetEvent,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::{
    aside::Aside,
    error::{Attempt, Error},
    heart::{
        state::Deployment,
        target::{Target, Wish},
    },
};

/// How long agents may take to say what they have seen of a target before it is granted.
const ASKING: Duration = Duration::from_secs(2);

/// Folds a deployment from its journal; none when there is no journal.
pub async fn load(bus: &Bus, id: &DeploymentId) -> Result<Option<Deployment>, Error> {
    let entries =
        bus.load(&subjects::deployment::JOURNAL, id.as_str()).await.attempt("load a deployment's journal")?;
    let journal: Vec<_> = entries.into_iter().map(|entry| (entry.record, entry.seq)).collect();
    Ok(Deployment::of(&journal)?)
}

/// What the journal holds beyond this sequence.
pub async fn load_after(bus: &Bus, id: &DeploymentId, seq: u64) -> Result<Vec<(Record, u64)>, Error> {
    let entries = bus.load_after(&subjects::deployment::JOURNAL, id.as_str(), seq).await;
    let entries = entries.attempt("catch up with a deployment's journal")?;
    Ok(entries.into_iter().map(|entry| (entry.record, entry.seq)).collect())
}

impl bus::State for Target {
    type Event = TargetEvent;
    type Bad = std::convert::Infallible;

    const JOURNAL: &'static bus::Log<TargetEvent> = &subjects::target::JOURNAL;

    fn version(&self) -> u64 {
        self.version
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn fold(&mut self, record: &Record<TargetEvent>, seq: u64) -> Result<(), Self::Bad> {
        for event in &record.events {
            self.evolve(event);
        }
        (self.version, self.seq) = (record.version, seq);
        Ok(())
    }
}

/// All targets, folded as their journals are followed. An aggregate is made when a target is first named.
#[derive(Clone)]
pub struct Targets {
    bus: Bus,
    me: ReplicaId,
    aside: Arc<Aside>,
    known: Arc<Mutex<HashMap<String, Arc<Aggregate<Target>>>>>,
}

impl Targets {
    /// No targets yet. Those whose journals cannot be used are named in `aside`.
    pub fn new(bus: Bus, me: ReplicaId, aside: Arc<Aside>) -> Targets {
        Targets { bus, me, aside, known: Arc::default() }
    }

    /// Names the journal when this is why it could not be loaded: whoever asks for the list must find it there.
    fn named_when_unusable<T, E: Into<Error>>(&self, loaded: Result<T, E>) -> Result<T, Error> {
        loaded.map_err(Into::into).inspect_err(|error| _ = self.aside.took(error))
    }

    fn named(&self, token: &str) -> Arc<Aggregate<Target>> {
        let fresh = || Arc::new(Aggregate::new(self.bus.clone(), token, self.me.as_str()));
        Arc::clone(self.known.lock().entry(token.to_owned()).or_insert_with(fresh))
    }

    fn all(&self) -> Vec<Arc<Aggregate<Target>>> {
        self.known.lock().values().cloned().collect()
    }

    /// The target and its changes, from its journal.
    pub async fn watch(&self, id: &TargetId) -> Result<watch::Receiver<Arc<Target>>, Error> {
        let target = self.named(&id.token());
        self.named_when_unusable(target.loaded().await)?;
        Ok(target.watch())
    }

    /// The target as its journal has it now, also for those who watch it.
    pub async fn fresh(&self, id: &TargetId) -> Result<Arc<Target>, Error> {
        self.named_when_unusable(self.named(&id.token()).fresh().await)
    }

    /// A record came by while following. A gap is healed by loading.
    pub async fn heard(&self, entry: &Entry<TargetEvent>) -> Result<(), Error> {
        let target = self.named(&entry.record.id);
        self.named_when_unusable(target.loaded().await)?;
        self.named_when_unusable(target.heard(entry).await)
    }

    /// Looks at the journal of every target that is known. What cannot be read is logged.
    pub async fn look_again(&self) {
        let look = |target: Arc<Aggregate<Target>>| async move {
            if let Err(error) = self.named_when_unusable(target.fresh().await) {
                let cause = chassis::chain(&error);
                tracing::warn!(target = target.id(), cause, "a target was left out of this sweep");
            }
        };
        stream::iter(self.all()).for_each_concurrent(16, look).await;
    }

    /// Makes the target's journal say so, if it does not yet.
    pub async fn wish(
        &self,
        id: &TargetId,
        wish: &Wish,
        now: Timestamp,
        trace: Option<&str>,
    ) -> Result<(), Error> {
        let target = self.named(&id.token());
        let mut highest: Option<Fence> = None;
        loop {
            let mut must_ask = false;
            let decide = |target: &Target| {
                must_ask = false;
                let events = target.decide(wish, now)?;
                match (granted(&events), highest) {
                    // Not a new one: agents have seen it.
                    (Some(token), _) if matches!(wish, Wish::Regain(..)) => {
                        warn!(target = %id, token, "the journal had lost who holds the target, it is held again");
                        Ok(events)
                    }
                    (Some(_), None) => {
                        must_ask = true;
                        Ok(Vec::new())
                    }
                    (Some(token), Some(highest)) if highest.lock >= token => {
                        warn!(target = %id, granted = token, %highest, "the journal counts fewer grants than the agents have seen");
                        let above = Target { grants: highest.lock, ..target.clone() };
                        above.decide(wish, now).map_err(Error::from)
                    }
                    _ => Ok(events),
                }
            };
            self.named_when_unusable(target.change(now, trace, decide).await)?;
            if !must_ask {
                return Ok(());
            }
            highest = Some(self.highest_fence(id).await);
        }
    }

    /// The highest fence that the agents have seen on a target. When the target's journal was lost, its own count would
    /// give out again what is fenced off. Agents that do not answer know nothing then: a grant that is too low is refused
    /// by them, and does no harm.
    async fn highest_fence(&self, id: &TargetId) -> Fence {
        let request =
            HoldingsRequest { target: id.clone(), take_away: false, spec: None, trial: None, clear: None };
        let asked = self.bus.call(&subjects::agents::HOLDINGS, &request, ASKING).await;
        asked.map(|holdings| holdings.highest).unwrap_or_else(|error| {
            debug!(target = %id, error = chassis::chain(&error), "the agents do not say what they have seen");
            Fence::default()
        })
    }

    /// Every deployment that holds a target or waits for one, as far as known, with the target's token.
    pub fn waiting(&self) -> Vec<(String, DeploymentId)> {
        let targets = self.all().into_iter().map(|target| (target.id().to_owned(), target.state()));
        targets
            .flat_map(|(token, target)| {
                let holder = target.holder.iter().map(|(holder, _)| holder.clone());
                let all: Vec<_> = holder.chain(target.queue.iter().cloned()).collect();
                all.into_iter().map(move |deployment| (token.clone(), deployment))
            })
            .collect()
    }
}

/// The token of the grant among these events.
fn granted(events: &[TargetEvent]) -> Option<u64> {
    events.iter().find_map(|event| match event {
        TargetEvent::Granted { token, .. } => Some(*token),
        _ => None,
    })
}
