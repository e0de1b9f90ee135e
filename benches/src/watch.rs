//! Deploys and waits for the verdict, by following the journals as any client can.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bus::{Bus, Start, subjects};
use futures::StreamExt;
use model::{
    DeploymentId, Digest, Event, Verdict,
    command::{Action, Command, Submit},
    deployment::Mode,
};
use parking_lot::{Mutex, MutexGuard};

/// The label of a spec that names the step to fail, by a part of its id.
pub const FAILS: &str = "load-fails";
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::rounds::Times;

const ASK: Duration = Duration::from_secs(20);
/// A deployment of a load that takes longer is a defect.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the journals said so far.
#[derive(Default)]
pub struct Watch {
    known: Mutex<HashMap<DeploymentId, Known>>,
    first_steps: Mutex<Times>,
    records: AtomicU64,
    steps: AtomicU64,
}

struct Known {
    began: Instant,
    first_step: bool,
    seen: watch::Sender<Seen>,
}

/// How far a deployment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// It is over.
    pub verdict: Option<Verdict>,
    /// It waits for a person.
    pub pauses: bool,
}

/// What the journals held at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Records, each one durable write.
    pub records: u64,
    /// Steps that ended.
    pub steps: u64,
}

impl Watch {
    /// Begins to follow, for as long as `tasks` lives.
    pub async fn start(bus: &Bus, tasks: &mut JoinSet<()>) -> Result<Arc<Watch>> {
        let watch = Arc::new(Watch::default());
        let mut entries =
            bus.follow(&subjects::deployment::JOURNAL, Start::Now).await.context("following")?;
        let heard = Arc::clone(&watch);
        tasks.spawn(async move {
            while let Some(entry) = entries.next().await {
                heard.records.fetch_add(1, Relaxed);
                if let Ok(id) = entry.record.id.parse() {
                    entry.record.events.iter().for_each(|event| heard.hear(&id, event));
                }
            }
        });
        Ok(watch)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<DeploymentId, Known>> {
        self.known.lock()
    }

    fn hear(&self, id: &DeploymentId, event: &Event) {
        let change: &dyn Fn(&mut Seen) = match event {
            Event::StepFinished { .. } => {
                self.steps.fetch_add(1, Relaxed);
                return;
            }
            Event::StepScheduled { step, .. } if step.as_str().contains("pause") => {
                &|seen| seen.pauses = true
            }
            Event::Closed { verdict, .. } => &|seen| seen.verdict = Some(*verdict),
            _ => return,
        };
        if let Some(known) = self.known().get(id) {
            known.seen.send_modify(change);
        }
    }

    /// A step's job reached an agent.
    pub fn step_began(&self, id: &DeploymentId) {
        let mut all = self.known();
        let Some(known) = all.get_mut(id).filter(|known| !known.first_step) else { return };
        known.first_step = true;
        let took = known.began.elapsed();
        drop(all);
        self.first_steps.lock().add(took);
    }

    /// What was heard so far.
    pub fn totals(&self) -> Totals {
        Totals { records: self.records.load(Relaxed), steps: self.steps.load(Relaxed) }
    }

    /// From the request to the first step in an agent's hands, of every deployment since this was last asked.
    pub fn take_first_steps(&self) -> Times {
        std::mem::take(&mut *self.first_steps.lock())
    }

    fn expect(&self, id: &DeploymentId) -> watch::Receiver<Seen> {
        let (seen, receiver) = watch::channel(Seen::default());
        self.known().insert(id.clone(), Known { began: Instant::now(), first_step: false, seen });
        receiver
    }

    fn forget(&self, id: &DeploymentId) {
        self.known().remove(id);
    }
}

/// Someone who deploys. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    /// The connection.
    pub bus: Bus,
    /// The journals.
    pub watch: Arc<Watch>,
    /// Makes this run's request ids its own.
    pub run: String,
}

/// A deployment under way.
pub struct Under {
    /// Its id.
    pub id: DeploymentId,
    client: Client,
    seen: watch::Receiver<Seen>,
}

impl Client {
    /// Asks for a deployment. `key` is new in this run.
    pub async fn submit(&self, key: &str, document: String, plan: Option<Digest>) -> Result<Under> {
        let key = format!("{}-{key}", self.run);
        // Known before it is asked for, so that nothing of it is missed.
        let id = DeploymentId::derived(&format!("{}\n{key}", self.bus.principal().as_text()));
        let seen = self.watch.expect(&id);
        let under = Under { id, client: self.clone(), seen };
        let submit = Submit { document, request_id: Some(key), plan, force: None, mode: Mode::Apply };
        let submitted =
            self.bus.call(&subjects::orchestrator::SUBMIT, &submit, ASK).await.context("submitting")?;
        if submitted.deployment != under.id {
            bail!("{} was expected, {} was deployed", under.id, submitted.deployment);
        }
        Ok(under)
    }

    /// Deploys and waits for the verdict.
    pub async fn deploy(&self, key: &str, document: String) -> Result<Verdict> {
        self.submit(key, document, None).await?.verdict().await
    }
}

impl Under {
    async fn until(&mut self, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let waited = tokio::time::timeout(PATIENCE, self.seen.wait_for(holds)).await;
        let seen = waited.with_context(|| format!("{}: not {what} within {PATIENCE:?}", self.id))?;
        Ok(*seen.context("the watch ended")?)
    }

    /// Waits for the verdict.
    pub async fn verdict(mut self) -> Result<Verdict> {
        let seen = self.until("over", |seen| seen.verdict.is_some()).await?;
        seen.verdict.context("over without a verdict")
    }

    /// Waits until it pauses for a person.
    pub async fn pause(&mut self) -> Result<()> {
        let seen = self.until("paused", |seen| seen.pauses || seen.verdict.is_some()).await?;
        if !seen.pauses {
            bail!("{} ended as {:?} without a pause", self.id, seen.verdict);
        }
        Ok(())
    }

    /// Withdraws it.
    pub async fn abort(&self) -> Result<()> {
        let action = Action::Abort { reason: "the load says so".to_owned() };
        let command = Command { deployment: self.id.clone(), expect: None, action };
        self.client.bus.call(&subjects::orchestrator::COMMAND, &command, ASK).await.context("aborting")?;
        Ok(())
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.client.watch.forget(&self.id);
    }
}

/// A release of one module by canary: 13 steps from the second release on, 8 at the first.
#[derive(Clone, Debug)]
pub struct Release<'a> {
    /// The application, which is the target's name.
    pub name: &'a str,
    /// The platform.
    pub platform: &'a str,
    /// The module's version is `1.0.<number>`.
    pub number: usize,
    /// Traffic moves too.
    pub routed: bool,
    /// It waits for a person at 10 %.
    pub pauses: bool,
    /// The step that obedient agents fail, by a part of its id.
    pub fails: Option<&'a str>,
    /// It takes the target from whoever holds it.
    pub supersedes: bool,
}

impl<'a> Release<'a> {
    /// One that goes through.
    pub fn new(name: &'a str, number: usize) -> Release<'a> {
        let platform = "scripted";
        Release { name, platform, number, routed: true, pauses: false, fails: None, supersedes: false }
    }

    /// The spec.
    pub fn document(&self) -> String {
        let Release { name, platform, number, .. } = self;
        let mut text = format!(
            "apiVersion: code/v1\nname: {name}\ntarget: {platform}\nmodules:\n  - name: web\n    version: 1.0.{number}\n    \
             run: {{command: [web, \"{number}\"]}}\n    replicas: 4\n    ports: [{{name: http}}]\n"
        );
        if self.routed {
            text.push_str("    expose: {listen: 18080}\n");
        }
        text.push_str("strategy:\n  canary:\n    steps:\n      - setWeight: 10\n");
        if self.pauses {
            text.push_str("      - pause: {}\n");
        }
        text.push_str("      - setWeight: 50\n");
        if let Some(part) = self.fails {
            text.push_str(&format!("labels: {{{}: {part}}}\n", FAILS));
        }
        if self.supersedes {
            text.push_str("whenBusy: supersede\n");
        }
        text
    }
}
