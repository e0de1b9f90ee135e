//! Drives one deployment: journals what the heart decides, carries out the effects, waits for news.
//!
//! One task per deployment that is not over, on every replica; only the owner's advances by itself. A turn is: decide,
//! append, fold, then see to the effects. A crash anywhere is healed by whoever owns the deployment next, because all
//! of it follows from the journal.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bus::{AppendError, Entry, subjects};
use model::{
    DeploymentId, Event, Fault,
    command::{Accepted, Command},
    deployment::StepReport,
    view::DeploymentView,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::Instant,
};
use tracing::{info, warn};

use crate::{
    error::{Attempt, Error},
    heart::{
        Context, decide,
        effects::{Effect, effects},
        state::Deployment,
        target::Target,
        view,
    },
    hub::Hub,
    store,
};

/// What a deployment's task is told.
pub enum News {
    /// Its journal grew.
    Record(Box<Entry<Event>>),
    /// A runner reports; answered when it is journalled.
    Report(Box<StepReport>, oneshot::Sender<Result<(), Fault>>),
    /// A person commands; answered when it is journalled or refused.
    Command(Box<Command>, oneshot::Sender<Result<Accepted, Fault>>),
    /// Someone wants to see it.
    Show(oneshot::Sender<DeploymentView>),
    /// Its owner is silent: claim it.
    Claim,
    /// Let go of it.
    Release(oneshot::Sender<()>),
}

/// How a deployment's task is reached. Bounded: who cannot get in waits.
pub type Inbox = mpsc::Sender<News>;

/// Runs until the deployment is over. Begun again after a failure, then from the journal.
pub async fn run(
    hub: Arc<Hub>,
    id: DeploymentId,
    begin: Arc<Mutex<Option<Deployment>>>,
    inbox: Arc<Mutex<mpsc::Receiver<News>>>,
) -> Result<(), Error> {
    let given = begin.lock().await.take();
    let state = match given {
        Some(state) => state,
        None => match store::load(&hub.bus, &id).await? {
            Some(state) => state,
            None => return Ok(()),
        },
    };
    let target = hub.targets.watch(&state.spec.target_id()).await?;
    let mut inbox = inbox.lock().await;
    let mut drive = Drive { hub, state, target, last: HashMap::new() };
    drive.run(&mut inbox).await
}

struct Drive {
    hub: Arc<Hub>,
    state: Deployment,
    target: watch::Receiver<Arc<Target>>,
    /// When each effect was last carried out, so that it is not repeated at every turn.
    last: HashMap<String, Instant>,
}

impl Drive {
    async fn run(&mut self, inbox: &mut mpsc::Receiver<News>) -> Result<(), Error> {
        let mut trouble = 0_u32;
        loop {
            let retry = match self.turn().await {
                Ok(()) => {
                    trouble = 0;
                    None
                }
                Err(error) => {
                    trouble += 1;
                    let source =
                        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    warn!(deployment = %self.state.id, %error, source, trouble, "turn failed, will try again");
                    Some(Duration::from_millis(200 << trouble.min(5)))
                }
            };
            if self.state.is_closed() {
                self.hub.forget(&self.state);
                return Ok(());
            }
            let wait = retry.unwrap_or_else(|| self.until_wake());
            tokio::select! {
                news = inbox.recv() => match news {
                    Some(news) => self.hear(news).await?,
                    None => return Ok(()),
                },
                changed = self.target.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(wait) => {}
                () = self.hub.stopping.cancelled() => {
                    self.let_go().await;
                    return Ok(());
                }
            }
            // What has come in the meantime is heard before the next turn, so that it is journalled together.
            while let Ok(news) = inbox.try_recv() {
                self.hear(news).await?;
            }
        }
    }

    fn until_wake(&self) -> Duration {
        let now = self.hub.clock.now();
        let by_itself = decide::wake_at(&self.state).map_or(Duration::from_secs(15), |at| at.since(now));
        let unfinished = !self.effects().iter().all(|effect| matches!(effect, Effect::Send(_)));
        let again = if unfinished { Duration::from_millis(250) } else { Duration::from_secs(15) };
        by_itself.min(again).max(Duration::from_millis(1))
    }

    async fn turn(&mut self) -> Result<(), Error> {
        if !self.hub.is_draining() {
            loop {
                let target = self.target.borrow_and_update().clone();
                let context = Context { now: self.hub.clock.now(), me: &self.hub.me, target: &target };
                let events = decide::advance(&self.state, context);
                if events.is_empty() || self.append(events).await? {
                    break;
                }
            }
        }
        for effect in self.effects() {
            self.see_to(effect).await?;
        }
        Ok(())
    }

    fn effects(&self) -> Vec<Effect> {
        let target = self.target.borrow().clone();
        let context = Context { now: self.hub.clock.now(), me: &self.hub.me, target: &target };
        effects(&self.state, context)
    }

    /// Appends one record. False: another writer was first, and the state is loaded again.
    async fn append(&mut self, events: Vec<Event>) -> Result<bool, Error> {
        let record = store::record(&self.state, events, &self.hub.me, self.hub.clock.now());
        let id = record.id.clone();
        match self.hub.bus.append(&subjects::deployment::JOURNAL, &id, &record, self.state.seq).await {
            Ok(seq) => {
                let before = self.state.phase;
                self.state.fold(&record, seq)?;
                self.hub.counted(&record.events);
                if self.state.phase != before {
                    info!(deployment = %id, phase = %self.state.phase, version = self.state.version, "moved on");
                    self.hub.say(&self.state).await;
                }
                Ok(true)
            }
            Err(AppendError::Raced) => {
                self.hub.raced();
                self.reload().await?;
                Ok(false)
            }
            Err(source) => Err(Error::Append { id, source }),
        }
    }

    async fn reload(&mut self) -> Result<(), Error> {
        if let Some(state) = store::load(&self.hub.bus, &self.state.id).await? {
            self.state = state;
        }
        Ok(())
    }

    async fn hear(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Record(entry) => match self.state.fold(&entry.record, entry.seq) {
                Ok(()) => Ok(()),
                Err(_) if entry.record.version <= self.state.version => Ok(()),
                Err(_) => self.reload().await,
            },
            News::Report(report, answer) => {
                let outcome = self.journal(|state, _| Ok(decide::on_report(state, &report))).await;
                let _ = answer.send(outcome);
                Ok(())
            }
            News::Command(command, answer) => {
                let outcome =
                    self.journal(|state, context| decide::on_command(state, &command, context)).await;
                let _ = answer.send(outcome.map(|()| Accepted { version: self.state.version }));
                Ok(())
            }
            News::Show(answer) => {
                let _ = answer.send(view::view(&self.state, &self.target.borrow()));
                Ok(())
            }
            News::Claim => {
                let me = self.hub.me.clone();
                let outcome = self.journal(|state, _| Ok(decide::claim(state, &me))).await;
                if outcome.is_ok() {
                    self.hub.took_over();
                    info!(deployment = %self.state.id, epoch = self.state.epoch, "took over from a silent owner");
                }
                Ok(())
            }
            News::Release(answer) => {
                self.let_go().await;
                let _ = answer.send(());
                Ok(())
            }
        }
    }

    /// Another replica may claim at once. Failing is safe: then it claims after the silence.
    async fn let_go(&mut self) {
        let me = self.hub.me.clone();
        if let Err(fault) = self.journal(|state, _| Ok(decide::release(state, &me))).await {
            warn!(deployment = %self.state.id, %fault, "could not hand over; another replica claims it later");
        }
    }

    /// Decides and appends, again from the new state when another writer was first.
    async fn journal(
        &mut self,
        decide: impl Fn(&Deployment, Context<'_>) -> Result<Vec<Event>, Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..50 {
            let target = self.target.borrow().clone();
            let context = Context { now: self.hub.clock.now(), me: &self.hub.me, target: &target };
            let events = decide(&self.state, context)?;
            if events.is_empty() || self.append(events).await? {
                return Ok(());
            }
        }
        Err(Error::Append { id: self.state.id.to_string(), source: AppendError::Raced }.into())
    }

    async fn see_to(&mut self, effect: Effect) -> Result<(), Error> {
        let (key, again) = match &effect {
            Effect::Send(job) => {
                (format!("send {} {} {}", job.step.id, job.attempt, job.fence), self.hub.config.resend.0)
            }
            Effect::Stop(stop) => (format!("stop {:?} {}", stop.step, stop.below), Duration::from_secs(1)),
            Effect::Wish(wish) => (format!("wish {:?}", std::mem::discriminant(wish)), Duration::ZERO),
            Effect::Ask(command) => (format!("ask {}", command.deployment), Duration::from_secs(2)),
        };
        if self.last.get(&key).is_some_and(|last| last.elapsed() < again) {
            return Ok(());
        }
        match effect {
            Effect::Send(job) => {
                let message_id = format!("{}-{}-{}", job.idem_key, job.attempt, job.fence);
                let lane = job.step.agent.as_str();
                let sent = self.hub.bus.send(&subjects::agents::STEP, Some(lane), &*job, &message_id).await;
                sent.attempt("send a step to its agent")?;
            }
            Effect::Stop(stop) => {
                let id = stop.deployment.clone();
                self.hub
                    .bus
                    .signal(&subjects::agents::STOP, id.as_str(), &stop)
                    .await
                    .attempt("stop steps")?;
            }
            Effect::Wish(wish) => {
                self.hub.targets.wish(&self.state.spec.target_id(), &wish, self.hub.clock.now()).await?;
            }
            Effect::Ask(command) => {
                if let Err(fault) = self.hub.command(command).await {
                    info!(deployment = %self.state.id, %fault, "the rival does not make way yet");
                }
            }
        }
        self.last.insert(key, Instant::now());
        Ok(())
    }
}
