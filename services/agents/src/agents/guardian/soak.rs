//! The soak: for a while nothing is changed, and everything that happens to the new instances is their own doing.
//!
//! It is judged over the whole window and not by its last moment: every instance is looked at and probed at its own
//! interval, what ends once has ended, and failed probes count in a row or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::BoxFuture;
use gates::{
    Measurements,
    soak::{Soaked, Watched},
};
use model::{Finding, GateResult, Span, Token, deployment::StepJob, spec::Health, spec::Module};
use platform::{Instance, Platform, State};
use tokio::time::Instant;

use crate::{
    Error,
    context::{Ctx, side_by_side},
    deploy::fleet::ended,
    error::Result,
    evidence::{self, scrubbed},
};

/// Looks at the platform are so far apart.
const LOOK: Duration = Duration::from_millis(250);
/// Probes at once.
const AT_ONCE: usize = 16;

/// What was seen of the release over the window.
#[derive(Debug)]
pub(super) struct Soak {
    /// Of this module alone; none: of all.
    module: Option<Token>,
    /// What its instances must not do, as findings say it.
    meanwhile: &'static str,
    seen: BTreeMap<String, Seen>,
    /// What was well before the first look and was gone by then.
    lost: BTreeSet<String>,
    probes: u64,
}

/// What was seen of one instance.
#[derive(Debug)]
struct Seen {
    /// It was well once: what comes before that does not count.
    counts: bool,
    first: Instance,
    last: Instance,
    /// Why it ended, when it did.
    end: Option<(String, bool)>,
    is_gone: bool,
    asked: Option<Instant>,
    probes: u32,
    failed: u32,
    failed_in_a_row: u32,
    /// The longest row of failed probes.
    worst_row: u32,
    /// What the last failed probe said.
    why: String,
}

/// Watches for the whole window.
pub(super) async fn watch(job: &StepJob, ctx: &Ctx, window: Duration) -> Result<Soak> {
    let (began, mut soak) = (Instant::now(), Soak::all("while nothing was changed"));
    loop {
        soak.look(job, ctx).await?;
        let passed = began.elapsed();
        let well = soak.seen.len()
            - soak.seen.values().filter(|seen| seen.watched(job).trouble(soak.meanwhile).is_some()).count();
        let text = format!("{well} of {} instances are well, for {} s", soak.seen.len(), passed.as_secs());
        ctx.show(job, text, Some(passed.as_secs_f64() / window.as_secs_f64().max(0.001)));
        if passed >= window {
            return Ok(soak);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK.min(window - passed)) => {}
            () = ctx.stop.cancel.cancelled() => return Err(Error::trouble("the soak was stopped")),
        }
    }
}

/// The module as the release has it, when the instance is of it.
fn module_of<'a>(job: &'a StepJob, instance: &Instance) -> Option<&'a Module> {
    job.spec.module(&instance.module).filter(|module| module.revision() == instance.revision)
}

impl Soak {
    /// Nothing of any module was seen yet.
    fn all(meanwhile: &'static str) -> Soak {
        Soak { module: None, meanwhile, seen: BTreeMap::new(), lost: BTreeSet::new(), probes: 0 }
    }

    /// Nothing of this module was seen yet.
    pub(super) fn of(module: &Token, meanwhile: &'static str) -> Soak {
        Soak { module: Some(module.clone()), ..Soak::all(meanwhile) }
    }

    /// What is there counts from the first look on.
    async fn look(&mut self, job: &StepJob, ctx: &Ctx) -> Result<()> {
        self.look_at(job, ctx, |_| true).await?;
        Ok(())
    }

    /// Instances are still being started: each counts once it answers its probe, or when it was `well` before.
    pub(super) async fn look_once_well(
        &mut self,
        job: &StepJob,
        ctx: &Ctx,
        well: &BTreeSet<String>,
    ) -> Result<()> {
        let there = self.look_at(job, ctx, |id| well.contains(id)).await?;
        let lost = well.difference(&there).filter(|id| !self.seen.contains_key(*id));
        self.lost = lost.cloned().collect();
        Ok(())
    }

    async fn look_at(
        &mut self,
        job: &StepJob,
        ctx: &Ctx,
        counts: impl Fn(&str) -> bool,
    ) -> Result<BTreeSet<String>> {
        let target = job.spec.target_id();
        let platform = ctx.platform(&target.platform)?;
        let mut there = platform.observe(&target).await?;
        there.retain(|instance| {
            self.module.as_ref().is_none_or(|module| *module == instance.module)
                && module_of(job, instance).is_some()
        });
        let ids = there.iter().map(|instance| instance.id.clone()).collect();
        for (id, seen) in &mut self.seen {
            seen.is_gone |= !there.iter().any(|instance| instance.id == *id);
        }
        let now = Instant::now();
        let mut due: Vec<(Instance, &Health)> = Vec::new();
        for instance in there {
            let health = module_of(job, &instance).and_then(|module| module.health.as_ref());
            let seen = self.seen.entry(instance.id.clone()).or_insert_with(|| Seen::new(&instance));
            // Without a health section it is well while it runs.
            if !seen.counts && (counts(&instance.id) || health.is_none() && instance.is_running()) {
                *seen = Seen { counts: true, ..Seen::new(&instance) };
            }
            seen.take(&instance);
            if let Some(health) = health.filter(|_| instance.is_running())
                && seen.asked.is_none_or(|asked| now >= asked + health.interval.0)
            {
                seen.asked = Some(now);
                due.push((instance, health));
            }
        }
        self.probe(platform.as_ref(), job, due).await?;
        Ok(ids)
    }

    async fn probe(
        &mut self,
        platform: &dyn Platform,
        job: &StepJob,
        due: Vec<(Instance, &Health)>,
    ) -> Result<()> {
        let target = &job.spec.target_id();
        let mut work: Vec<BoxFuture<'_, _>> = Vec::new();
        for (instance, health) in due {
            work.push(Box::pin(async move {
                let answer = platform.probe(target, &instance, &health.probe, health.timeout.0).await;
                (instance.id, answer)
            }));
        }
        for (id, answer) in side_by_side(AT_ONCE, work).await {
            let answer = answer?;
            self.probes += 1;
            if let Some(seen) = self.seen.get_mut(&id) {
                seen.answered(answer);
            }
        }
        Ok(())
    }

    fn counted(&self) -> impl Iterator<Item = &Seen> {
        self.seen.values().filter(|seen| seen.counts)
    }

    /// What was seen so far, as it is judged and kept.
    pub(super) fn soaked(&self, job: &StepJob, window: Duration) -> Soaked {
        Soaked {
            module: self.module.clone(),
            window: Span::millis(u64::try_from(window.as_millis()).unwrap_or(u64::MAX)),
            probes: self.probes,
            instances: self.counted().map(|seen| seen.watched(job)).collect(),
            lost: self.lost.iter().cloned().collect(),
        }
    }

    /// One finding for each instance that did not stay well.
    pub(super) fn findings(&self, job: &StepJob) -> Vec<Finding> {
        self.soaked(job, Duration::ZERO).findings(self.meanwhile)
    }

    /// Instances that did not stay well, of which there may be none.
    pub(super) async fn gate(
        &self,
        name: &str,
        job: &StepJob,
        ctx: &Ctx,
        window: Duration,
    ) -> Result<GateResult> {
        evidence::judged(job, ctx, name, Measurements::Soak(self.soaked(job, window))).await
    }

    /// Instances that were there.
    pub(super) fn count(&self) -> String {
        instances(self.counted().count() + self.lost.len())
    }
}

fn instances(count: usize) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}

impl Seen {
    fn new(instance: &Instance) -> Seen {
        Seen {
            counts: false,
            first: instance.clone(),
            last: instance.clone(),
            end: None,
            is_gone: false,
            asked: None,
            probes: 0,
            failed: 0,
            failed_in_a_row: 0,
            worst_row: 0,
            why: String::new(),
        }
    }

    fn take(&mut self, instance: &Instance) {
        if let State::Exited { code, oom, .. } = &instance.state {
            self.end = Some((ended(*code, *oom), *oom));
        }
        self.last = instance.clone();
    }

    fn answered(&mut self, answer: std::result::Result<(), String>) {
        self.probes += 1;
        match answer {
            Ok(()) if !self.counts => *self = Seen { counts: true, ..Seen::new(&self.last) },
            Ok(()) => self.failed_in_a_row = 0,
            Err(why) => {
                self.failed += 1;
                self.failed_in_a_row += 1;
                self.worst_row = self.worst_row.max(self.failed_in_a_row);
                self.why = why;
            }
        }
    }

    /// As it is judged and kept.
    fn watched(&self, job: &StepJob) -> Watched {
        let module = module_of(job, &self.last);
        let health = module.and_then(|module| module.health.as_ref());
        Watched {
            id: self.last.id.clone(),
            module: self.last.module.clone(),
            memory: module.and_then(|module| module.resources.memory.clone()),
            threshold: health.map(|health| health.unhealthy_threshold),
            restarts: (self.first.restarts, self.last.restarts),
            started: (self.first.started_at, self.last.started_at),
            out_of_memory: self.last.out_of_memory || self.end.as_ref().is_some_and(|(_, oom)| *oom),
            ended: self.end.as_ref().map(|(why, _)| scrubbed(why)),
            gone: self.is_gone,
            probes: self.probes,
            failed: self.failed,
            worst_row: self.worst_row,
            why: scrubbed(&self.why),
        }
    }
}
