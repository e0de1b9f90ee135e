//! All deployments this replica knows that are not over, the other replicas, and the way to each deployment's task.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bus::{Beat, Bus, Entry, subjects};
use chassis::{Clock, Tasks};
use model::{
    Code, DeploymentId, Event, Fault, Phase, ReplicaId, Verdict,
    command::{Accepted, Command},
    deployment::StepReport,
    view::{DeploymentView, Summary},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::OrchestratorConfig,
    drive::{self, Inbox, News},
    error::{Attempt, Error},
    heart::{state::Deployment, target::Wish, view},
    metrics::Counts,
    store::{self, Targets},
};

/// What one replica holds in memory. All of it can be lost: it follows from the journals.
pub struct Hub {
    /// The bus.
    pub bus: Bus,
    /// Who we are.
    pub me: ReplicaId,
    /// Time.
    pub clock: Clock,
    /// Settings.
    pub config: Arc<OrchestratorConfig>,
    /// Targets.
    pub targets: Targets,
    /// Cancelled when the service stops.
    pub stopping: CancellationToken,
    tasks: Tasks,
    counts: Counts,
    draining: AtomicBool,
    active: Mutex<HashMap<DeploymentId, Known>>,
    ended: Mutex<VecDeque<Summary>>,
    peers: Mutex<HashMap<ReplicaId, Instant>>,
    began: Instant,
}

#[derive(Clone)]
struct Known {
    inbox: Inbox,
    /// As of the last record heard; for lists and for claims.
    summary: Summary,
    owner: Option<ReplicaId>,
}

impl Hub {
    /// An empty hub.
    pub fn new(
        bus: Bus,
        me: ReplicaId,
        clock: Clock,
        config: Arc<OrchestratorConfig>,
        tasks: Tasks,
        counts: Counts,
    ) -> Hub {
        Hub {
            targets: Targets::new(bus.clone(), me.clone()),
            stopping: tasks.stopping(),
            bus,
            me,
            clock,
            config,
            tasks,
            counts,
            draining: AtomicBool::new(false),
            active: Mutex::default(),
            ended: Mutex::default(),
            peers: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// Hands over what it owns and takes nothing new.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn known(&self, id: &DeploymentId) -> Option<Known> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Begins the task of a deployment, unless it runs. `state` spares the first load.
    pub fn adopt(self: &Arc<Self>, id: &DeploymentId, state: Deployment) -> Inbox {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = active.get(id) {
            return known.inbox.clone();
        }
        let (inbox, receiver) = mpsc::channel(256);
        let known =
            Known { inbox: inbox.clone(), summary: view::summary(&state), owner: state.owner.clone() };
        active.insert(id.clone(), known);
        self.counts.active(active.len());
        let begin = Arc::new(tokio::sync::Mutex::new(Some(state)));
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let (hub, id) = (self.clone(), id.clone());
        let name = format!("drive {id}");
        self.tasks.restarted(name, chassis::Backoff::default(), move || {
            drive::run(hub.clone(), id.clone(), begin.clone(), receiver.clone())
        });
        inbox
    }

    /// The deployment is over: drop it from memory, remember one line.
    pub fn forget(&self, state: &Deployment) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.remove(&state.id);
        self.counts.active(active.len());
        drop(active);
        self.remember(view::summary(state));
    }

    fn remember(&self, summary: Summary) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.iter().any(|known| known.deployment == summary.deployment) {
            return;
        }
        ended.push_back(summary);
        while ended.len() > self.config.remembered {
            ended.pop_front();
        }
    }

    /// One line per deployment, newest first: all active ones and the last ended ones.
    pub fn list(&self) -> Vec<Summary> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<Summary> = active.values().map(|known| known.summary.clone()).collect();
        drop(active);
        lines.extend(self.ended.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        lines.sort_by(|one, other| {
            other.received.cmp(&one.received).then(other.deployment.cmp(&one.deployment))
        });
        lines.dedup_by(|one, other| one.deployment == other.deployment);
        lines
    }

    /// A record came by while following the journals.
    pub async fn heard(self: &Arc<Self>, entry: Entry<Event>) -> Result<(), Error> {
        let Ok(id) = entry.record.id.parse::<DeploymentId>() else {
            warn!(id = entry.record.id, "a journal with a name that is no deployment");
            return Ok(());
        };
        self.note(&id, &entry);
        match self.known(&id) {
            Some(known) => {
                let _ = known.inbox.send(News::Record(Box::new(entry))).await;
            }
            None if closing(&entry).is_some() => {}
            None => self.find(&id).await?,
        }
        Ok(())
    }

    /// Keeps the line for lists and the owner for claims.
    fn note(&self, id: &DeploymentId, entry: &Entry<Event>) {
        if let Some(summary) = closing(entry) {
            self.remember(summary.clone());
        }
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = active.get_mut(id) else { return };
        for event in &entry.record.events {
            match event {
                Event::OwnerClaimed { owner, .. } => known.owner = Some(owner.clone()),
                Event::OwnerReleased { .. } => known.owner = None,
                _ => {}
            }
            if let Some(phase) = phase_after(event) {
                known.summary.phase = phase;
            }
        }
    }

    /// Loads a deployment and begins its task, unless it is over.
    async fn find(self: &Arc<Self>, id: &DeploymentId) -> Result<(), Error> {
        match store::load(&self.bus, id).await? {
            Some(state) if state.is_closed() => self.remember(view::summary(&state)),
            Some(state) => {
                self.adopt(id, state);
            }
            None => {}
        }
        Ok(())
    }

    /// Looks at the last record of every journal: begins what is not over and not known, and gives back locks whose
    /// holder is over. Liveness does not depend on any single message.
    pub async fn sweep(self: &Arc<Self>) -> Result<(), Error> {
        let entries =
            self.bus.last_of_each(&subjects::deployment::JOURNAL).await.attempt("sweep the journals")?;
        for entry in &entries {
            if let Some(summary) = closing(entry) {
                self.remember(summary.clone());
                continue;
            }
            let Ok(id) = entry.record.id.parse::<DeploymentId>() else { continue };
            if self.known(&id).is_none() {
                self.find(&id).await?;
            }
        }
        for (_, holder) in self.targets.held() {
            if self.known(&holder).is_some() {
                continue;
            }
            let Some(state) = store::load(&self.bus, &holder).await? else { continue };
            if state.is_closed() {
                warn!(deployment = %holder, "gave back the lock of a deployment that is over");
                self.targets.wish(&state.spec.target_id(), &Wish::Leave(holder), self.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Another replica, or we, say that we live.
    pub fn beat(&self, beat: &Beat) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if beat.draining {
            peers.remove(&beat.replica);
        } else {
            peers.insert(beat.replica.clone(), Instant::now());
        }
        let silence = self.config.silence.0 * 20;
        peers.retain(|_, last| last.elapsed() < silence);
    }

    /// Claims what belongs to replicas that have been silent for too long while the bus answers us.
    pub async fn claim_from_the_silent(&self) {
        let silence = self.config.silence.0;
        if self.is_draining() || !self.bus.is_connected() || self.began.elapsed() < silence {
            return;
        }
        let heard = self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // If we do not even hear ourselves, it is we who are deaf.
        if heard.get(&self.me).is_none_or(|last| last.elapsed() > silence) {
            return;
        }
        let is_silent = |owner: &ReplicaId| heard.get(owner).is_none_or(|last| last.elapsed() > silence);
        let orphans = self
            .inboxes(|known| known.owner.as_ref().is_some_and(|owner| *owner != self.me && is_silent(owner)));
        for inbox in orphans {
            let _ = inbox.send(News::Claim).await;
        }
    }

    fn inboxes(&self, which: impl Fn(&Known) -> bool) -> Vec<Inbox> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.values().filter(|known| which(known)).map(|known| known.inbox.clone()).collect()
    }

    /// Hands over all that is owned; from then on others claim it.
    pub async fn drain(&self, by: &str) {
        if self.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        info!(by, "draining: handing over what is owned");
        for inbox in self.inboxes(|_| true) {
            let (answer, done) = oneshot::channel();
            if inbox.send(News::Release(answer)).await.is_ok() {
                let _ = done.await;
            }
        }
    }

    /// The task of a deployment, begun if need be. `None` in the state means that it is over.
    async fn reach(self: &Arc<Self>, id: &DeploymentId) -> Result<Result<Inbox, Box<Deployment>>, Error> {
        if let Some(known) = self.known(id) {
            return Ok(Ok(known.inbox));
        }
        match store::load(&self.bus, id).await? {
            None => Err(Fault::new(Code::NotFound, format!("there is no deployment {id}")).into()),
            Some(state) if state.is_closed() => Ok(Err(Box::new(state))),
            Some(state) => Ok(Ok(self.adopt(id, state))),
        }
    }

    /// Journals a runner's report. A deployment that is over or unknown needs none.
    pub async fn report(self: &Arc<Self>, report: StepReport) -> Result<(), Fault> {
        let inbox = match self.reach(&report.deployment).await {
            Ok(Ok(inbox)) => inbox,
            Ok(Err(_)) => return Ok(()),
            Err(Error::Refused(fault)) if fault.code == Code::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (answer, answered) = oneshot::channel();
        let _ = inbox.send(News::Report(Box::new(report), answer)).await;
        // A task that ended meanwhile has closed its deployment; the redelivery finds that out.
        answered
            .await
            .unwrap_or_else(|_| Err(Fault::new(Code::Unavailable, "the deployment's task just ended")))
    }

    /// Journals a person's command, or says why not.
    pub async fn command(self: &Arc<Self>, command: Command) -> Result<Accepted, Fault> {
        let id = command.deployment.clone();
        let inbox = match self.reach(&id).await? {
            Ok(inbox) => inbox,
            Err(state) => {
                let verdict = state.verdict.map_or("over", Verdict::as_str);
                return Err(Fault::new(
                    Code::Conflict,
                    format!("{id} is {verdict}: nothing can be changed any more"),
                ));
            }
        };
        let (answer, answered) = oneshot::channel();
        let _ = inbox.send(News::Command(Box::new(command), answer)).await;
        answered.await.unwrap_or_else(|_| Err(Fault::new(Code::Conflict, format!("{id} is over"))))
    }

    /// Shows a deployment.
    pub async fn show(self: &Arc<Self>, id: &DeploymentId) -> Result<DeploymentView, Fault> {
        if let Ok(inbox) = self.reach(id).await? {
            let (answer, answered) = oneshot::channel();
            let _ = inbox.send(News::Show(answer)).await;
            if let Ok(view) = answered.await {
                return Ok(view);
            }
        }
        let state = store::load(&self.bus, id).await?;
        let state =
            state.ok_or_else(|| Fault::new(Code::NotFound, format!("there is no deployment {id}")))?;
        let target = self.targets.watch(&state.spec.target_id()).await?;
        let target = target.borrow().clone();
        Ok(view::view(&state, &target))
    }

    /// Tells the world that a deployment moved on. The journal is the truth: a lost event is logged, not retried.
    pub async fn say(&self, state: &Deployment) {
        let summary = view::summary(state);
        let event =
            if state.is_closed() { &subjects::deployment::CLOSED } else { &subjects::deployment::CHANGED };
        let message_id = format!("{}-{}", state.id, state.version);
        let said = self.bus.say(event, state.id.as_str(), &summary, &message_id).await;
        if let Err(error) = said {
            warn!(deployment = %state.id, %error, "could not say that it moved on");
        }
    }

    /// Counts what was journalled.
    pub fn counted(&self, events: &[Event]) {
        self.counts.journalled(events);
    }

    /// Counts a lost race.
    pub fn raced(&self) {
        self.counts.raced();
    }

    /// Counts a takeover.
    pub fn took_over(&self) {
        self.counts.took_over();
    }
}

fn closing(entry: &Entry<Event>) -> Option<&Summary> {
    entry.record.events.iter().find_map(|event| match event {
        Event::Closed { summary, .. } => Some(&**summary),
        _ => None,
    })
}

/// The phase an event leads to, for lists.
fn phase_after(event: &Event) -> Option<Phase> {
    Some(match event {
        Event::Validated {} => Phase::Validated,
        Event::Planned { .. } => Phase::Planned,
        Event::Advised { .. } => Phase::Advised,
        Event::ApprovalAwaited { .. } => Phase::AwaitingApproval,
        Event::LockAwaited { .. } => Phase::Queued,
        Event::Locked { .. } => Phase::Locked,
        Event::ExecutionBegan { .. } => Phase::Executing,
        Event::VerificationBegan {} => Phase::Verifying,
        Event::RollbackBegan { .. } | Event::RollbackRetried { .. } => Phase::RollingBack,
        Event::Promoted {} => Phase::Promoted,
        Event::RolledBack {} => Phase::RolledBack,
        Event::HumanNeeded { .. } => Phase::NeedsHuman,
        Event::Decided { .. } => Phase::Decided,
        Event::Closed { .. } => Phase::Closed,
        _ => return None,
    })
}
