//! Drives one deployment: does on the bus what [`crate::heart::replica`] says, and tells it what came of it.
//!
//! One task per deployment that is not over, on every replica; only the owner's advances by itself. Nothing is decided
//! here.

mod carry_out;

use std::{collections::HashMap, sync::Arc};

use approval::Rulebook;
use bus::Entry;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use model::{
    DeploymentId, Event, Fault, Principal, ReplicaId,
    command::{Accepted, Command},
    expert::AdviceReport,
    view::DeploymentView,
};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::{
    error::Error,
    heart::{
        replica::{Ask, Input, Moment, Output, Replica, Reply},
        state::Deployment,
        target::Target,
    },
    hub::Hub,
    store,
};

/// Where whoever asks waits for the answer.
type Answered<T> = oneshot::Sender<Result<T, Fault>>;

/// What a deployment's task is told.
pub enum News {
    /// Its journal grew.
    Record(Box<Entry<Event>>),
    /// Experts advise; answered when it is journalled.
    Advice(Box<AdviceReport>, Answered<()>),
    /// A person commands; answered when it is journalled or refused.
    Command(Box<Command>, Principal, Answered<Accepted>),
    /// This deployment takes its place; answered when it is journalled or refused.
    MakeWay(DeploymentId, Answered<()>),
    /// Someone wants to see it.
    Show(oneshot::Sender<DeploymentView>),
    /// This owner is silent: claim it, if it still is the owner.
    Claim(ReplicaId),
    /// Let go of it.
    Release(oneshot::Sender<()>),
}

/// How a deployment's task is reached. Bounded: who cannot get in waits.
pub type Inbox = mpsc::Sender<News>;

/// Who asked, and where the answer goes.
enum Asker {
    /// Waits for nothing but that it is done.
    Plain(Answered<()>),
    Command(Answered<Accepted>),
    Show(oneshot::Sender<DeploymentView>),
    Claim(ReplicaId),
    Release(oneshot::Sender<()>),
    Stopping,
}

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
    let mut target = target.inspect_err(|error| _ = hub.aside.took(error))?;
    let heard = target.borrow_and_update().clone();
    let mut inbox = inbox.lock().await;
    let approvals = hub.approvals.subscribe();
    let replica = Replica::new(hub.rules(), state, heard);
    let under_way = FuturesUnordered::new();
    let drive =
        Drive { hub, replica, target, approvals, under_way, askers: HashMap::new(), tickets: 0, noted: 0 };
    drive.run(&mut inbox).await;
    Ok(())
}

struct Drive {
    hub: Arc<Hub>,
    replica: Replica,
    target: watch::Receiver<Arc<Target>>,
    approvals: watch::Receiver<Option<Arc<Rulebook>>>,
    /// What the replica asked for and has not come back.
    under_way: FuturesUnordered<BoxFuture<'static, Input>>,
    askers: HashMap<u64, Asker>,
    tickets: u64,
    /// The version that the hub knows.
    noted: u64,
}

impl Drive {
    async fn run(mut self, inbox: &mut mpsc::Receiver<News>) {
        let mut is_stopping = false;
        self.tell(Input::Woke);
        loop {
            if self.replica.state().is_closed() {
                let Drive { hub, replica, .. } = self;
                hub.forget(&replica.state().id, Some(replica.state()));
                return carry_out::announce_the_end(&hub, replica.state()).await;
            }
            if is_stopping && self.askers.is_empty() {
                return;
            }
            let (at, wait) = self.replica.wake(self.now());
            tokio::select! {
                Some(input) = self.under_way.next(), if !self.under_way.is_empty() => self.tell(input),
                news = inbox.recv() => match news {
                    Some(news) => self.take(news),
                    None => return,
                },
                changed = self.target.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let target = self.target.borrow_and_update().clone();
                    self.tell(Input::Target(target));
                }
                changed = self.approvals.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let approvals = self.approvals.borrow_and_update().clone();
                    self.tell(Input::Approvals(approvals));
                }
                () = tokio::time::sleep(wait) => self.tell(Input::Woke),
                () = self.hub.clock.sleep_until(at.unwrap_or_default()), if at.is_some() => self.tell(Input::Woke),
                () = self.hub.stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.ask(Ask::Release, Asker::Stopping);
                }
            }
        }
    }

    fn now(&self) -> Moment {
        let draining = self.hub.is_draining() || self.hub.stopping.is_cancelled();
        Moment { wall: self.hub.clock.now(), mono: self.hub.began.elapsed(), draining }
    }

    fn tell(&mut self, input: Input) {
        let before = self.replica.state().phase;
        let outputs = self.replica.hear(input, self.now());
        let state = self.replica.state();
        if state.phase != before {
            info!(deployment = %state.id, phase = %state.phase, version = state.version, "moved on");
        }
        if self.noted != state.version {
            self.hub.note(state);
            self.noted = state.version;
        }
        for output in outputs {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        let doing = match output {
            Output::Append(record, expected) => self.append(record, expected).boxed(),
            Output::Load(after) => self.load(after).boxed(),
            Output::Look => self.look().boxed(),
            Output::Call { step, call, what, patience } => self.call(step, call, what, patience).boxed(),
            Output::Effect { key, effect, times } => self.effect(key, effect, times).boxed(),
            Output::Say(summary, version) => self.say(summary, version).boxed(),
            Output::Answer(ticket, reply) => return self.answer(ticket, reply),
        };
        self.under_way.push(doing);
    }

    fn take(&mut self, news: News) {
        match news {
            News::Record(entry) => self.tell(Input::Record(Box::new(entry.record), entry.seq)),
            News::Advice(report, answer) => self.ask(Ask::Advice(report), Asker::Plain(answer)),
            News::Command(command, by, answer) => self.ask(Ask::Command(command, by), Asker::Command(answer)),
            News::MakeWay(newer, answer) => self.ask(Ask::MakeWay(newer), Asker::Plain(answer)),
            News::Show(answer) => self.ask(Ask::Show, Asker::Show(answer)),
            News::Claim(silent) => self.ask(Ask::Claim(silent.clone()), Asker::Claim(silent)),
            News::Release(answer) => self.ask(Ask::Release, Asker::Release(answer)),
        }
    }

    fn ask(&mut self, ask: Ask, asker: Asker) {
        self.tickets += 1;
        self.askers.insert(self.tickets, asker);
        self.tell(Input::Asked(self.tickets, ask));
    }

    fn answer(&mut self, ticket: u64, reply: Result<Reply, Fault>) {
        let Some(asker) = self.askers.remove(&ticket) else { return };
        let state = self.replica.state();
        // Whoever no longer waits needs no answer.
        match (asker, reply) {
            (Asker::Plain(answer), reply) => drop(answer.send(reply.map(|_| ()))),
            (Asker::Command(answer), reply) => {
                drop(answer.send(reply.map(|_| Accepted { version: state.version })))
            }
            (Asker::Show(answer), Ok(Reply::View(view))) => drop(answer.send(*view)),
            (Asker::Show(_), _) => {}
            (Asker::Claim(silent), Ok(Reply::Written(Some(_)))) => {
                self.hub.counts.took_over();
                info!(deployment = %state.id, %silent, epoch = state.epoch, "took over from a silent owner");
            }
            (Asker::Claim(silent), Err(fault)) => {
                warn!(deployment = %state.id, %silent, %fault, "could not take over yet");
            }
            (Asker::Claim(_), Ok(_)) => {}
            (asker @ (Asker::Release(_) | Asker::Stopping), reply) => {
                // Failing is safe: then another replica claims it after the silence.
                if let Err(fault) = reply {
                    warn!(deployment = %state.id, %fault, "could not hand over; another replica claims it later");
                }
                if let Asker::Release(answer) = asker {
                    let _ = answer.send(());
                }
            }
        }
    }
}
