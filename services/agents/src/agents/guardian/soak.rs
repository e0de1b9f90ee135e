//! The soak: for a while nothing is changed, and everything that happens to the new instances is their own doing.
//!
//! It is judged over the whole window and not by its last moment: every instance is looked at and probed at its own
//! interval, what ends once has ended, and failed probes count in a row or not.

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;
use model::{
    Finding, GateResult, Outcome, Severity, Timestamp, deployment::StepJob, spec::Health, spec::Module,
};
use platform::{Instance, Platform, State};
use tokio::time::Instant;

use crate::{
    Error,
    agents::finding,
    context::{Ctx, side_by_side},
    deploy::fleet::ended,
    error::Result,
};

/// Looks at the platform are so far apart.
const LOOK: Duration = Duration::from_millis(250);
/// Probes at once.
const AT_ONCE: usize = 16;
/// Of all probes of an instance this share may fail, whatever the threshold: one in four.
const TOLERATED: f64 = 0.25;

/// What was seen of the release over the window.
#[derive(Debug, Default)]
pub(super) struct Soak {
    seen: BTreeMap<String, Seen>,
    probes: u64,
}

/// What was seen of one instance.
#[derive(Debug)]
struct Seen {
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
    let (began, mut soak) = (Instant::now(), Soak::default());
    loop {
        soak.look(job, ctx).await?;
        let passed = began.elapsed();
        let well = soak.seen.len() - soak.seen.values().filter(|seen| seen.trouble(job).is_some()).count();
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
    async fn look(&mut self, job: &StepJob, ctx: &Ctx) -> Result<()> {
        let target = job.spec.target_id();
        let platform = ctx.platform(&target.platform)?;
        let mut there = platform.observe(&target).await?;
        there.retain(|instance| module_of(job, instance).is_some());
        for (id, seen) in &mut self.seen {
            seen.is_gone |= !there.iter().any(|instance| instance.id == *id);
        }
        let now = Instant::now();
        let mut due: Vec<(Instance, &Health)> = Vec::new();
        for instance in there {
            let health = module_of(job, &instance).and_then(|module| module.health.as_ref());
            let seen = self.seen.entry(instance.id.clone()).or_insert_with(|| Seen::new(&instance));
            seen.take(&instance);
            if let Some(health) = health.filter(|_| instance.is_running())
                && seen.asked.is_none_or(|asked| now >= asked + health.interval.0)
            {
                seen.asked = Some(now);
                due.push((instance, health));
            }
        }
        self.probe(platform.as_ref(), job, due).await
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

    /// One finding for each instance that did not stay well.
    pub(super) fn findings(&self, job: &StepJob) -> Vec<Finding> {
        let troubled = self.seen.values().filter_map(|seen| Some((seen, seen.trouble(job)?)));
        let found = troubled.map(|(seen, (rule, text, cure))| {
            let mut found = finding(rule, Severity::High, Some(&seen.last.module), text);
            cure.clone_into(&mut found.cure);
            found
        });
        found.collect()
    }

    /// `soak`: instances that did not stay well, of which there may be none.
    pub(super) fn gate(&self, job: &StepJob, window: Duration, at: Timestamp) -> GateResult {
        let bad = self.seen.values().filter(|seen| seen.trouble(job).is_some()).count();
        let text = format!(
            "{bad} of {} did not stay well over {}, {} probes",
            instances(self.seen.len()),
            model::Span(window),
            self.probes
        );
        GateResult {
            gate: "soak".to_owned(),
            outcome: if bad == 0 { Outcome::Succeeded } else { Outcome::Failed },
            measured: Some(bad as f64),
            limit: "== 0".to_owned(),
            samples: self.seen.len() as u64,
            text,
            at,
        }
    }

    /// Instances that were there.
    pub(super) fn count(&self) -> String {
        instances(self.seen.len())
    }
}

fn instances(count: usize) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}

impl Seen {
    fn new(instance: &Instance) -> Seen {
        Seen {
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
            Ok(()) => self.failed_in_a_row = 0,
            Err(why) => {
                self.failed += 1;
                self.failed_in_a_row += 1;
                self.worst_row = self.worst_row.max(self.failed_in_a_row);
                self.why = why;
            }
        }
    }

    /// What is wrong with it: rule, text and cure.
    fn trouble(&self, job: &StepJob) -> Option<(&'static str, String, &'static str)> {
        let id = &self.last.id;
        let module = module_of(job, &self.last);
        let limit = module.and_then(|module| module.resources.memory.as_deref()).unwrap_or("none of its own");
        let is_oom = self.last.out_of_memory || self.end.as_ref().is_some_and(|(_, oom)| *oom);
        if is_oom {
            let text =
                format!("the kernel killed something of instance {id} for want of memory, limit {limit}");
            return Some(("guardian/out-of-memory", text, "find the leak, or raise resources.memory"));
        }
        if let Some((why, _)) = &self.end {
            let text = format!("instance {id} ended while nothing was changed: {why}");
            return Some(("guardian/restart", text, "its own output says why it ended"));
        }
        if self.last.restarts > self.first.restarts || self.last.started_at > self.first.started_at {
            let text = format!("instance {id} ended and was started again while nothing was changed");
            return Some(("guardian/restart", text, "its own output says why it ended"));
        }
        if self.is_gone {
            let text = format!("instance {id} went away while nothing was changed");
            return Some(("guardian/restart", text, "see who removed it"));
        }
        self.ill_health(module?.health.as_ref()?)
    }

    fn ill_health(&self, rules: &Health) -> Option<(&'static str, String, &'static str)> {
        let (id, threshold) = (&self.last.id, rules.unhealthy_threshold.max(1));
        let numbers = format!("{} of {} probes failed, the last: {}", self.failed, self.probes, self.why);
        if self.worst_row >= threshold {
            let text = format!("instance {id} became unhealthy while nothing was changed: {numbers}");
            return Some(("guardian/unhealthy", text, "its own output may say what it waits for"));
        }
        let share = f64::from(self.failed) / f64::from(self.probes.max(1));
        (self.failed >= threshold && share > TOLERATED).then(|| {
            let text = format!("instance {id} is well and unwell by turns: {numbers}");
            ("guardian/flapping", text, "its own output may say what it waits for")
        })
    }
}
