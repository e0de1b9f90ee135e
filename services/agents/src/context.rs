//! What a step has at hand: the platforms, the shared things, the time, and how it is stopped.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use chassis::Clock;
use futures::{StreamExt, future::BoxFuture, stream};
use model::{
    GateResult, Timestamp, Token,
    deployment::{StepJob, StepProgress},
    plan::Revision,
    spec::Module,
};
use parking_lot::Mutex;
use platform::Platform;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, config::AgentsConfig, counts::Traffic, dated::Dated, door::Door, error::Result, http::Http,
    signing::Signing, store::Store,
};

/// The platforms of a runner, by the name that stands in a target.
pub type Platforms = BTreeMap<String, Arc<dyn Platform>>;

/// What all steps of a runner share.
pub struct Engine {
    /// Who we are in reports.
    pub runner: String,
    /// Settings.
    pub config: Arc<AgentsConfig>,
    /// Time.
    pub clock: Clock,
    /// Where things run.
    pub platforms: Platforms,
    /// What is shared over the bus.
    pub store: Arc<dyn Store>,
    /// What data planes count.
    pub traffic: Traffic,
    /// Requests of our own.
    pub http: Http,
    /// What clients meet.
    pub door: Arc<dyn Door>,
    /// With what certificates are signed and logged.
    pub signing: Signing,
    /// When certificates were made.
    pub dated: Dated,
}

impl Engine {
    /// The platform of a target.
    pub fn platform(&self, name: &Token) -> Result<&Arc<dyn Platform>> {
        self.platforms.get(name.as_str()).ok_or_else(|| {
            let known: Vec<&str> = self.platforms.keys().map(String::as_str).collect();
            Error::NoPlatform { platform: name.to_string(), enabled: known.join(", ") }
        })
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// How a step is told to end early.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// It no longer matters.
    pub cancel: CancellationToken,
    /// Judge what is there.
    pub finish: CancellationToken,
}

/// What one step has at hand.
#[derive(Clone)]
pub struct Ctx {
    engine: Arc<Engine>,
    /// How it is told to end early.
    pub stop: Stop,
    shown: Arc<Mutex<Option<StepProgress>>>,
}

impl Ctx {
    /// For one step.
    pub fn new(engine: Arc<Engine>, stop: Stop) -> Ctx {
        Ctx { engine, stop, shown: Arc::default() }
    }

    /// Shows how far the step is. Cheap; what is shown is said at most once a second.
    pub fn show(&self, job: &StepJob, text: impl Into<String>, share: Option<f64>) {
        self.show_all(job, text, share, Vec::new(), Vec::new());
    }

    /// Shows how far the step is, with measurements.
    pub fn show_all(
        &self,
        job: &StepJob,
        text: impl Into<String>,
        share: Option<f64>,
        traffic: Vec<(String, f64)>,
        gates: Vec<GateResult>,
    ) {
        let share = share.map(|share| share.clamp(0.0, 1.0)).filter(|share| share.is_finite());
        let (deployment, step) = (job.deployment.clone(), job.step.id.clone());
        let progress = StepProgress { deployment, step, text: text.into(), share, traffic, gates };
        *self.shown.lock() = Some(progress);
    }

    /// What was shown since the last time.
    pub(crate) fn take_shown(&self) -> Option<StepProgress> {
        self.shown.lock().take()
    }
}

impl Deref for Ctx {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// The module as it is made in this revision: the spec's if that is its revision, else the baseline's.
pub fn made_as<'a>(job: &'a StepJob, module: &Token, revision: &Revision) -> Option<&'a Module> {
    let specs = [Some(&job.spec), job.baseline.as_ref()];
    specs
        .into_iter()
        .flatten()
        .filter_map(|spec| spec.module(module))
        .find(|module| module.revision() == *revision)
}

/// The module of this name as the spec that the step leads to describes it, else as the other one does.
pub fn described<'a>(job: &'a StepJob, module: &Token) -> Option<&'a Module> {
    let either = [job.leads_to(), Some(&job.spec), job.baseline.as_deref()];
    either.into_iter().flatten().find_map(|spec| spec.module(module))
}

/// Does all of it, at most so many at once; the answers come in the order in which they are ready.
pub(crate) async fn side_by_side<T>(at_once: usize, work: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(work).buffer_unordered(at_once.max(1)).collect().await
}
