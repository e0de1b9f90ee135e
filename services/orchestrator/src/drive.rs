//! Drives one deployment: journals what the heart decides, carries out the effects, waits for news.
//!
//! One task per deployment that is not over, on every replica; only the owner's advances by itself. A turn is: decide,
//! append, fold, then see to the effects. A crash anywhere is healed by whoever owns the deployment next, because all
//! of it follows from the journal.
//!
//! What was folded may lag behind the journal. An append on top of it is refused then, so a decision to write is safe;
//! a decision *not* to write (a report that does not matter, a command that is refused) is only taken after a look at
//! the journal.

mod carry_out;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bus::{AppendError, Entry, subjects};
use model::{
    DeploymentId, Event, Fault, Phase, ReplicaId, Timestamp,
    command::{Accepted, Command},
    deployment::StepReport,
    expert::AdviceReport,
    view::DeploymentView,
};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tracing::{Instrument, info, info_span, warn};

use crate::{
    error::Error,
    heart::{
        Context, decide,
        effects::{Effect, effects},
        state::{BadJournal, Deployment},
        target::Target,
        view,
    },
    hub::Hub,
    store, trace,
};
use carry_out::Done;

/// How often a deployment is looked at when nothing happens.
const IDLE: Duration = Duration::from_secs(15);
/// How often it is looked at while something is to be done that has not shown its effect yet.
const BUSY: Duration = Duration::from_millis(250);

/// What a deployment's task is told.
pub enum News {
    /// Its journal grew.
    Record(Box<Entry<Event>>),
    /// A runner reports; answered when it is journalled.
    Report(Box<StepReport>, Answered),
    /// Experts advise; answered when it is journalled.
    Advice(Box<AdviceReport>, oneshot::Sender<Result<(), Fault>>),
    /// A person commands; answered when it is journalled or refused.
    Command(Box<Command>, oneshot::Sender<Result<Accepted, Fault>>),
    /// Someone wants to see it.
    Show(oneshot::Sender<DeploymentView>),
    /// This owner is silent: claim it, if it still is the owner.
    Claim(ReplicaId),
    /// Let go of it.
    Release(oneshot::Sender<()>),
}

/// Where a report's sender waits for word that it is durable.
type Answered = oneshot::Sender<Result<(), Fault>>;

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
            None => {
                hub.forget(&id, None);
                return Ok(());
            }
        },
    };
    let target = hub.targets.watch(&state.spec.target_id()).await;
    let target = target.inspect_err(|error| _ = hub.aside.took(error))?;
    let mut inbox = inbox.lock().await;
    let mut drive =
        Drive { hub, state, target, done: HashMap::new(), said: None, behind: false, reports: Vec::new() };
    drive.run(&mut inbox).await;
    Ok(())
}

struct Drive {
    hub: Arc<Hub>,
    state: Deployment,
    target: watch::Receiver<Arc<Target>>,
    /// When each effect was last carried out, so that it is not repeated at every turn.
    done: HashMap<String, Done>,
    /// The phase that the world was told of last.
    said: Option<Phase>,
    /// The journal is known to hold more, or may.
    behind: bool,
    /// Reports that came and are not journalled yet.
    reports: Vec<(Box<StepReport>, Answered)>,
}

impl Drive {
    async fn run(&mut self, inbox: &mut mpsc::Receiver<News>) {
        let mut trouble = 0_u32;
        loop {
            let retry = match self.turn().await {
                Ok(()) => {
                    trouble = 0;
                    None
                }
                Err(error) => {
                    trouble += 1;
                    self.hub.aside.took(&error);
                    let cause = chassis::chain(&error);
                    warn!(deployment = %self.state.id, cause, trouble, "turn failed, will try again");
                    Some(Duration::from_millis(200 << trouble.min(5)))
                }
            };
            if self.state.is_closed() {
                self.hub.forget(&self.state.id, Some(&self.state));
                self.announce_the_end().await;
                return;
            }
            let (at, wait) = match retry {
                Some(wait) => (None, wait),
                None => self.until_wake(),
            };
            tokio::select! {
                news = inbox.recv() => match news {
                    Some(news) => self.hear(news).await,
                    None => return,
                },
                changed = self.target.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
                () = self.hub.clock.sleep_until(at.unwrap_or_default()), if at.is_some() => {}
                () = self.hub.stopping.cancelled() => {
                    self.let_go().await;
                    return;
                }
            }
            // What has come in the meantime is heard before the next turn decides.
            while let Ok(news) = inbox.try_recv() {
                self.hear(news).await;
            }
            self.journal_reports().await;
        }
    }

    /// When the clock shows this time, or after this wait.
    fn until_wake(&self) -> (Option<Timestamp>, Duration) {
        if !self.is_ours() || self.hub.is_draining() {
            return (None, IDLE);
        }
        let now = self.hub.clock.now();
        let at = decide::wake_at(&self.state);
        let is_due = at.is_some_and(|at| at <= now);
        let is_busy =
            !self.effects().iter().all(|effect| matches!(effect, Effect::Send(_) | Effect::Advise(_)));
        (at.filter(|_| !is_due), if is_due || is_busy { BUSY } else { IDLE })
    }

    fn is_ours(&self) -> bool {
        self.state.owner.as_ref() == Some(&self.hub.me)
    }

    async fn turn(&mut self) -> Result<(), Error> {
        if self.behind {
            self.catch_up().await?;
        }
        let may_move = self.is_ours() || self.state.owner.is_none();
        while may_move && !self.hub.is_draining() {
            let is_fresh = decide::needs_target(&self.state);
            if is_fresh {
                self.hub.targets.fresh(&self.state.spec.target_id()).await?;
            }
            let target = self.target.borrow_and_update().clone();
            let context = self.hub.context(&target);
            let advance = if is_fresh { decide::advance } else { decide::advance_as_heard };
            let events = advance(&self.state, context);
            if events.is_empty() {
                break;
            }
            if self.append(events, context.now).await? && !decide::needs_target(&self.state) {
                break;
            }
        }
        self.announce().await;
        self.carry_out().await
    }

    fn effects(&self) -> Vec<Effect> {
        let target = self.target.borrow().clone();
        let context = self.hub.context(&target);
        effects(&self.state, context)
    }

    /// Appends one record. False: another writer was first, and what it wrote is folded.
    async fn append(&mut self, events: Vec<Event>, at: Timestamp) -> Result<bool, Error> {
        let record = store::record(&self.state, events, &self.hub.me, at);
        let id = record.id.clone();
        let span = info_span!("journal", deployment = id, version = record.version);
        let span = trace::under(span, self.state.trace.as_deref());
        let append = self.hub.bus.append(&subjects::deployment::JOURNAL, &id, &record, self.state.seq);
        match append.instrument(span).await {
            Ok(seq) => {
                let before = self.state.phase;
                self.state.fold(&record, seq)?;
                self.hub.counted(&record.events);
                self.hub.note(&self.state);
                if self.state.phase != before {
                    info!(deployment = id, phase = %self.state.phase, version = self.state.version, "moved on");
                }
                Ok(true)
            }
            Err(AppendError::Raced) => {
                self.hub.counts.raced();
                self.behind = true;
                self.catch_up().await?;
                Ok(false)
            }
            Err(source) => {
                // It may have been written all the same.
                self.behind = true;
                Err(Error::Append { id, source })
            }
        }
    }

    /// Folds what the journal holds beyond what was folded.
    async fn catch_up(&mut self) -> Result<(), Error> {
        store::catch_up(&self.hub.bus, &mut self.state).await?;
        self.behind = false;
        self.hub.note(&self.state);
        Ok(())
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Record(entry) => match self.state.fold(&entry.record, entry.seq) {
                Ok(()) => self.hub.note(&self.state),
                Err(BadJournal::Gap { found, last, .. }) if found <= last => {}
                Err(_) => self.behind = true,
            },
            News::Report(report, answer) => self.reports.push((report, answer)),
            News::Advice(report, answer) => {
                let outcome = self.journal(|state, _| Ok(decide::on_advice(state, &report))).await;
                let _ = answer.send(outcome.map(|_| ()));
            }
            News::Command(command, answer) => {
                let outcome =
                    self.journal(|state, context| decide::on_command(state, &command, context)).await;
                let _ = answer.send(outcome.map(|_| Accepted { version: self.state.version }));
            }
            News::Show(answer) => {
                if let Err(error) = self.catch_up().await {
                    let cause = chassis::chain(&error);
                    warn!(deployment = %self.state.id, cause, "shown as far as it was heard");
                }
                let _ = answer.send(view::view(&self.state, &self.target.borrow()));
            }
            News::Claim(silent) => self.claim_from(&silent).await,
            News::Release(answer) => {
                self.let_go().await;
                let _ = answer.send(());
            }
        }
    }

    /// Reports that came together are one record; each is answered when it is durable.
    async fn journal_reports(&mut self) {
        let (reports, answers): (Vec<_>, Vec<_>) = std::mem::take(&mut self.reports).into_iter().unzip();
        if reports.is_empty() {
            return;
        }
        let all = || reports.iter().map(|report| &**report);
        let outcome = self.journal(|state, context| Ok(decide::on_reports(state, all(), context.now))).await;
        for answer in answers {
            let _ = answer.send(outcome.clone().map(|_| ()));
        }
    }

    async fn claim_from(&mut self, silent: &ReplicaId) {
        let me = self.hub.me.clone();
        let claim = |state: &Deployment| {
            // Another may have been faster; from a living owner nothing is claimed.
            if state.owner.as_ref() == Some(silent) { decide::claim(state, &me) } else { Vec::new() }
        };
        match self.journal(|state, _| Ok(claim(state))).await {
            Ok(true) => {
                self.hub.counts.took_over();
                info!(deployment = %self.state.id, %silent, epoch = self.state.epoch, "took over from a silent owner");
            }
            Ok(false) => {}
            Err(fault) => {
                warn!(deployment = %self.state.id, %silent, %fault, "could not take over yet");
            }
        }
    }

    /// Another replica may claim at once. Failing is safe: then it claims after the silence.
    async fn let_go(&mut self) {
        if !self.is_ours() {
            return;
        }
        let me = self.hub.me.clone();
        if let Err(fault) = self.journal(|state, _| Ok(decide::release(state, &me))).await {
            warn!(deployment = %self.state.id, %fault, "could not hand over; another replica claims it later");
        }
    }

    /// Decides and appends with what follows, again from the new state when another writer was first. To write nothing, or to refuse, is
    /// decided only on the journal as it is. True: something was written.
    async fn journal(
        &mut self,
        decide: impl Fn(&Deployment, Context<'_>) -> Result<Vec<Event>, Fault>,
    ) -> Result<bool, Fault> {
        let mut has_looked = false;
        for _ in 0..50 {
            let target = self.target.borrow().clone();
            let context = self.hub.context(&target);
            match decide(&self.state, context) {
                Ok(events) if !events.is_empty() => {
                    let record = match self.hub.is_draining() {
                        true => events,
                        false => decide::follow(&self.state, events, context),
                    };
                    if self.append(record, context.now).await? {
                        return Ok(true);
                    }
                    has_looked = true;
                }
                nothing if has_looked => return nothing.map(|_| false),
                _ => {
                    self.catch_up().await?;
                    has_looked = true;
                }
            }
        }
        Err(Error::Append { id: self.state.id.to_string(), source: AppendError::Raced }.into())
    }
}
