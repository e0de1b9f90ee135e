//! All deployments this replica knows that are not over, the other replicas, and the way to each deployment's task.

mod drive;
mod patrol;
mod peers;
mod roster;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use approval::Rulebook;
use bus::{Beat, Bus, subjects};
use chassis::{Clock, Tasks};
use model::{
    Code, DeploymentId, Event, Fault, Principal, ReplicaId,
    command::{Accepted, Command},
    expert::AdviceReport,
    view::{DeploymentView, Summary},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    aside::Aside,
    config::OrchestratorConfig,
    error::{Attempt, Error},
    heart::{Context, Policy, decide::refusal, replica::Rules, state::Deployment, target::Target, view},
    metrics::Counts,
    store::{self, Targets},
};
use drive::{Inbox, News};
pub use patrol::PACE;
use patrol::Patrol;
use peers::Peers;
use roster::Roster;

/// How long a deployment's task may take to answer. Longer than an append that is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

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
    /// What is counted.
    pub counts: Counts,
    /// Journals that cannot be used.
    pub aside: Arc<Aside>,
    /// Cancelled when the service stops.
    pub stopping: CancellationToken,
    /// Where time that only passes is counted from.
    pub began: Instant,
    /// What the operator wants of approvals, as the file of signers has it.
    pub approvals: tokio::sync::watch::Sender<Option<Arc<Rulebook>>>,
    tasks: Tasks,
    draining: AtomicBool,
    /// How far the journals were swept; one sweep at a time.
    swept: tokio::sync::Mutex<Swept>,
    /// How far the round over the journals of what has ended is.
    patrol: tokio::sync::Mutex<Patrol>,
    roster: Mutex<Roster>,
    peers: Mutex<Peers>,
}

/// How far each kind of journal was swept.
#[derive(Clone, Copy, Default)]
struct Swept {
    deployments: bus::Since,
    targets: bus::Since,
}

/// What became of a deployment that was to get a task.
pub enum Adopted {
    /// It has one since now.
    Now(Inbox),
    /// It had one before, which may know more or less than the state that was given.
    Before(Inbox),
    /// It is over and needs none.
    Over,
}

/// What whoever wants something of a deployment meets.
enum Met<T> {
    /// It is under way.
    UnderWay(T),
    /// It is over, and ended so.
    Over(Box<Deployment>),
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
        approvals: Option<Arc<Rulebook>>,
    ) -> Hub {
        let aside = Arc::new(Aside::new(counts.unreadable()));
        Hub {
            targets: Targets::new(bus.clone(), me.clone(), Arc::clone(&aside)),
            stopping: tasks.stopping(),
            began: Instant::now(),
            approvals: tokio::sync::watch::Sender::new(approvals),
            roster: Mutex::new(Roster::new(config.remembered)),
            bus,
            me,
            clock,
            config,
            tasks,
            aside,
            counts,
            draining: AtomicBool::new(false),
            swept: tokio::sync::Mutex::default(),
            patrol: tokio::sync::Mutex::default(),
            peers: Mutex::default(),
        }
    }

    /// Hands over what it owns and takes nothing new.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// True when it drained before.
    fn begin_to_drain(&self) -> bool {
        self.draining.swap(true, Ordering::Relaxed)
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock()
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock()
    }

    fn inbox(&self, id: &DeploymentId) -> Option<Inbox> {
        self.roster().known(id).map(|known| known.inbox.clone())
    }

    /// Begins the task of a deployment, unless it runs or the deployment is over. `state` spares the first load.
    pub fn adopt(self: &Arc<Self>, id: &DeploymentId, state: Deployment) -> Adopted {
        let mut roster = self.roster();
        if let Some(known) = roster.known(id) {
            return Adopted::Before(known.inbox.clone());
        }
        if state.is_closed() {
            roster.remember(view::summary(&state));
        }
        // It may have ended since the state was loaded, and its last record has come by.
        if state.is_closed() || roster.has_ended(&state) {
            return Adopted::Over;
        }
        let (inbox, receiver) = mpsc::channel(256);
        roster.begin(inbox.clone(), &state);
        self.counts.active(roster.active());
        drop(roster);
        let begin = Arc::new(tokio::sync::Mutex::new(Some(state)));
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        let (hub, id) = (self.clone(), id.clone());
        let name = format!("drive {id}");
        self.tasks.restarted(name, chassis::Backoff::default(), move || {
            drive::run(hub.clone(), id.clone(), begin.clone(), receiver.clone())
        });
        Adopted::Now(inbox)
    }

    /// The task of a deployment has folded so far: its line for lists and its owner for claims.
    pub fn note(&self, state: &Deployment) {
        self.roster().note(state);
    }

    /// The deployment is over, or there is none: drop its task from memory, remember one line.
    pub fn forget(&self, id: &DeploymentId, state: Option<&Deployment>) {
        let mut roster = self.roster();
        if let Some(state) = state {
            roster.remember(view::summary(state));
        }
        roster.drop_task(id);
        self.counts.active(roster.active());
    }

    /// How many deployments have a task.
    #[cfg(test)]
    fn in_memory(&self) -> usize {
        self.roster().active()
    }

    /// One line per deployment, newest first: all active ones and the newest ended ones.
    pub fn list(&self) -> Vec<Summary> {
        self.roster().list()
    }

    /// Another replica, or we, say that we live.
    pub fn beat(&self, beat: &Beat) {
        self.peers().hear(beat, &self.me, self.config.silence.0, Instant::now());
    }

    /// The task of a deployment, begun if need be.
    async fn reach(self: &Arc<Self>, id: &DeploymentId) -> Result<Met<Inbox>, Error> {
        for _ in 0..2 {
            if let Some(inbox) = self.inbox(id) {
                return Ok(Met::UnderWay(inbox));
            }
            match store::load(&self.bus, id).await? {
                None => return Err(Fault::new(Code::NotFound, format!("there is no deployment {id}")).into()),
                Some(state) if state.is_closed() => return Ok(Met::Over(Box::new(state))),
                Some(state) => match self.adopt(id, state) {
                    Adopted::Now(inbox) | Adopted::Before(inbox) => return Ok(Met::UnderWay(inbox)),
                    // It ended after it was loaded: the next look finds it so.
                    Adopted::Over => {}
                },
            }
        }
        Err(Fault::new(Code::Unavailable, format!("{id} just ended, ask again")).into())
    }

    /// Asks a deployment's task.
    async fn ask<T>(
        self: &Arc<Self>,
        id: &DeploymentId,
        news: impl FnOnce(oneshot::Sender<T>) -> News,
    ) -> Result<Met<T>, Fault> {
        let inbox = match self.reach(id).await? {
            Met::UnderWay(inbox) => inbox,
            Met::Over(state) => return Ok(Met::Over(state)),
        };
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let _ = inbox.send(news(answer)).await;
            answered.await
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(Met::UnderWay(answer)),
            Err(_) => {
                let text = format!("{id} did not answer within {PATIENCE:?}: what became of it is unknown");
                Err(Fault::new(Code::Timeout, text))
            }
            // Its task ended: the deployment is over, or it ran into trouble and begins again.
            Ok(Err(_)) => match self.reach(id).await? {
                Met::Over(state) => Ok(Met::Over(state)),
                Met::UnderWay(_) => {
                    let text =
                        format!("the task of {id} began again: what became of it is unknown, look again");
                    Err(Fault::new(Code::Unavailable, text))
                }
            },
        }
    }

    /// Journals what experts say. A deployment that is over or unknown needs none.
    pub async fn advice(self: &Arc<Self>, report: AdviceReport) -> Result<(), Fault> {
        let id = report.deployment.clone();
        match self.ask(&id, |answer| News::Advice(Box::new(report), answer)).await {
            Ok(Met::UnderWay(outcome)) => outcome,
            Ok(Met::Over(_)) => Ok(()),
            Err(fault) if fault.code == Code::NotFound => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// What a decision may look at now.
    pub fn context<'a>(&'a self, target: &'a Target, approvals: Option<&'a Rulebook>) -> Context<'a> {
        Context { now: self.clock.now(), me: &self.me, target, policy: self.policy(), approvals }
    }

    /// What holds for every deployment.
    pub fn rules(&self) -> Rules {
        Rules {
            me: self.me.clone(),
            policy: self.policy(),
            approvals: self.approvals.borrow().clone(),
            resend: self.config.resend.0,
        }
    }

    /// What the operator wants of every deployment.
    pub fn policy(&self) -> Policy {
        Policy { experts: self.config.experts, advice: self.config.advice.0 }
    }

    /// Journals a person's command, or says why not.
    pub async fn command(self: &Arc<Self>, command: Command, by: Principal) -> Result<Accepted, Fault> {
        let id = command.deployment.clone();
        match self.ask(&id, |answer| News::Command(Box::new(command), by, answer)).await? {
            Met::UnderWay(outcome) => outcome,
            Met::Over(state) => Err(refusal::over(&state)),
        }
    }

    /// Tells a deployment to make way for a newer one. One that is over is out of the way.
    pub async fn make_way(self: &Arc<Self>, id: &DeploymentId, newer: DeploymentId) -> Result<(), Fault> {
        match self.ask(id, |answer| News::MakeWay(newer, answer)).await? {
            Met::UnderWay(outcome) => outcome,
            Met::Over(_) => Ok(()),
        }
    }

    /// Shows a deployment.
    pub async fn show(self: &Arc<Self>, id: &DeploymentId) -> Result<DeploymentView, Fault> {
        let mut view = match self.ask(id, News::Show).await? {
            Met::UnderWay(view) => view,
            Met::Over(state) => {
                let target = self.targets.watch(&state.spec.target_id()).await?;
                let target = target.borrow().clone();
                view::view(&state, &target, self.clock.now())
            }
        };
        let token = view.summary.target.token();
        let journals = [self.aside.of("deployment", id.as_str()), self.aside.of("target", &token)];
        for found in journals.into_iter().flatten() {
            let text = format!(
                "the journal of {} {} is set aside, nothing is decided on it: the record at sequence {} of stream {} \
                 cannot be used: {}",
                found.log, found.id, found.seq, found.stream, found.why
            );
            view.explanation.details.insert(0, text);
            view.explanation.unblocked_by.insert(0, format!("codectl journal show {}", found.id));
        }
        Ok(view)
    }

    /// Tells the world where a deployment is. The same version is one event for 10 minutes.
    pub async fn say(&self, summary: &Summary, version: u64) -> Result<(), Error> {
        let over = summary.closed.is_some();
        let event = if over { &subjects::deployment::CLOSED } else { &subjects::deployment::CHANGED };
        let id = summary.deployment.as_str();
        let said = self.bus.say(event, id, summary, &format!("{id}-{version}")).await;
        said.attempt("say where a deployment is")
    }

    /// Counts what was journalled.
    pub fn counted(&self, events: &[Event]) {
        self.counts.journalled(events);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests;
