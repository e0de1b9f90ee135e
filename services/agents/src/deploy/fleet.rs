//! The instances of one module as a step sees and drives them: looked at, started, known to be well, routed to, retired.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use ground::Secret;
use model::{
    Finding, Severity, Span, TargetId, Timestamp, Token,
    deployment::StepJob,
    plan::Revision,
    route::{RouteTable, Weights},
    spec::Module,
    step::Stage,
};
use platform::{Instance, Platform, Prober, StartOrder, State, health};
use tokio::time::Instant;

use super::{peers, planes, routes, secrets};
use crate::{
    Error,
    context::{Ctx, described, made_as, side_by_side},
    error::Result,
    store::{close_routes, edit_routes},
};

/// Calls to the platform at once from one step.
const AT_ONCE: usize = 16;
/// Looks at the platform are at least this far apart.
pub const TICK: Duration = Duration::from_millis(100);
/// An instance that is not well yet is asked at least this often.
const EAGER: Duration = Duration::from_millis(250);
/// An instance without a health section is well when it has run for so long.
const RUNS: Duration = Duration::from_secs(1);
/// Default of `healthyDeadline`, for instances without a health section.
const DEADLINE: Duration = Duration::from_secs(60);
/// An instance that ended so often within one step is not started again.
const EXITS: u32 = 3;
/// So long before the step would be stopped for its deadline, instances that are not well end it, and say why.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long data planes may take to let go of instances that go.
const LETTING_GO: Duration = Duration::from_secs(3);
/// The rule of an instance that does not stay.
const CRASH_LOOP: &str = "deploy/crash-loop";
/// Lines of an instance's output that stand as evidence for a verdict.
const LINES: usize = 20;

/// What is known of one instance.
struct Track {
    since: Instant,
    running_since: Option<Instant>,
    asked: Option<Instant>,
    /// The last probe of this step succeeded.
    answered: bool,
    judge: Judge,
    healthy: bool,
    why: String,
    exits: u32,
    restart_at: Option<Instant>,
}

/// How an instance becomes well in our eyes.
enum Judge {
    /// It was routed to when the step began, or ran before without routes: well until enough probes fail.
    Known(u32),
    /// It is new to us.
    New(Box<Prober>),
    /// It has no health section.
    Runs,
}

/// The instances of one module.
pub struct Fleet<'a> {
    job: &'a StepJob,
    ctx: &'a Ctx,
    platform: Arc<dyn Platform>,
    target: TargetId,
    module: Token,
    /// Whose endpoints this step sees to.
    revisions: Vec<Revision>,
    began: Instant,
    /// How long the step may take from then on.
    left: Duration,
    /// The platform was looked at: what comes to be there from then on was started by this step.
    looked: bool,
    known: BTreeSet<String>,
    tracks: BTreeMap<String, Track>,
    instances: Vec<Instance>,
    leaving: BTreeSet<String>,
    secrets: BTreeMap<Revision, Vec<(String, Secret)>>,
    written: Option<BTreeMap<Revision, Vec<model::route::Endpoint>>>,
}

impl<'a> Fleet<'a> {
    /// Looks for the first time: at the routes and at the platform.
    pub async fn new(
        job: &'a StepJob,
        ctx: &'a Ctx,
        module: &Token,
        revisions: &[&Revision],
    ) -> Result<Fleet<'a>> {
        let target = job.spec.target_id();
        let platform = Arc::clone(ctx.platform(&target.platform)?);
        let table = ctx.store.routes(&RouteTable::key(&target, module)).await?;
        let routed = table.iter().flat_map(|table| table.endpoints.values().flatten());
        let mut known: BTreeSet<String> = routed.map(|endpoint| endpoint.instance.clone()).collect();
        // Without routes, what ran before counts as well until its probes fail: else the first look would find no old
        // instance well, and a rolling update would retire all of them as sick.
        let is_new = table.as_ref().is_none_or(|table| table.endpoints.is_empty());
        let old = job.baseline.as_ref().and_then(|spec| spec.module(module)).filter(|_| is_new);
        if let Some(old) = old.map(Module::revision) {
            let there = platform.observe(&target).await?;
            known.extend(
                there.into_iter().filter(|it| it.module == *module && it.revision == old).map(|it| it.id),
            );
        }
        let mut fleet = Fleet {
            known,
            job,
            ctx,
            platform,
            target,
            module: module.clone(),
            revisions: revisions.iter().map(|revision| (*revision).clone()).collect(),
            began: Instant::now(),
            left: job.until.since(ctx.now()),
            looked: false,
            tracks: BTreeMap::new(),
            instances: Vec::new(),
            leaving: BTreeSet::new(),
            secrets: BTreeMap::new(),
            written: None,
        };
        fleet.observe().await?;
        Ok(fleet)
    }

    /// The module as the specs describe its routes; none when it gets no routed traffic.
    fn routed(&self) -> Option<&'a Module> {
        described(self.job, &self.module).filter(|module| self.job.spec.is_routed(module))
    }

    fn key(&self) -> String {
        RouteTable::key(&self.target, &self.module)
    }

    /// Every instance of the revision that is there, whatever its state.
    pub fn present(&self, revision: &Revision) -> Vec<&Instance> {
        self.instances.iter().filter(|instance| instance.revision == *revision).collect()
    }

    /// The instances of the revision that are well and stay, by slot.
    pub fn healthy(&self, revision: &Revision) -> Vec<&Instance> {
        let well = |id: &str| self.tracks.get(id).is_some_and(|track| track.healthy);
        let mut healthy = self.present(revision);
        healthy.retain(|instance| well(&instance.id) && !self.leaving.contains(&instance.id));
        healthy.sort_by_key(|instance| instance.slot);
        healthy
    }

    /// Those that this step has seen to be well: one that was well before counts once it answers now.
    pub fn confirmed(&self, revision: &Revision) -> Vec<&Instance> {
        let has_rules = self.rules(revision).is_some();
        let answers = |id: &str| self.tracks.get(id).is_some_and(|track| track.answered || !has_rules);
        let mut confirmed = self.healthy(revision);
        confirmed.retain(|instance| answers(&instance.id));
        confirmed
    }

    /// Takes away what was well before the step and answers no more although it runs, so that it is started anew: an
    /// instance that hangs does not come back by being waited for.
    pub async fn replace_hung(&mut self, revision: &Revision) -> Result<()> {
        let hangs = |instance: &&Instance| {
            let track = self.tracks.get(&instance.id);
            instance.is_running()
                && track.is_some_and(|track| !track.healthy && matches!(track.judge, Judge::Known(_)))
        };
        let hung: Vec<Instance> = self.present(revision).into_iter().filter(hangs).cloned().collect();
        let ids: Vec<String> = hung.iter().map(|instance| instance.id.clone()).collect();
        for id in &ids {
            tracing::warn!(instance = id, "an instance runs and answers no more, it is started anew");
            self.known.remove(id);
        }
        self.retire(hung, None).await?;
        ids.iter().for_each(|id| _ = self.leaving.remove(id));
        Ok(())
    }

    /// Looks at the platform and asks the instances that are due.
    pub async fn look(&mut self) -> Result<()> {
        self.observe().await?;
        let now = Instant::now();
        let mut due = Vec::new();
        for instance in self.instances.iter().filter(|instance| instance.is_running()) {
            let Some(track) = self.tracks.get(&instance.id) else { continue };
            let Some(rules) = self.rules(&instance.revision) else { continue };
            let is_well = track.healthy && track.answered;
            let pause = if is_well { rules.interval.0 } else { rules.interval.0.min(EAGER) };
            if track.asked.is_none_or(|asked| now >= asked + pause) {
                due.push((
                    instance.clone(),
                    rules.probe.clone(),
                    rules.timeout.0,
                    rules.unhealthy_threshold.max(1),
                ));
            }
        }
        let (platform, target) = (&self.platform, &self.target);
        let mut work: Vec<BoxFuture<'_, _>> = Vec::new();
        for (instance, probe, timeout, threshold) in due {
            work.push(Box::pin(async move {
                let answer = platform.probe(target, &instance, &probe, timeout).await;
                (instance.id, answer, threshold)
            }));
        }
        let answers = side_by_side(AT_ONCE, work).await;
        let at = self.timestamp();
        for (id, answer, threshold) in answers {
            let answer = answer?;
            if let Some(track) = self.tracks.get_mut(&id) {
                track.asked = Some(Instant::now());
                track.take(answer, threshold, at);
            }
        }
        Ok(())
    }

    /// Time as the step's own clock has it: it does not jump.
    fn timestamp(&self) -> Timestamp {
        Timestamp(0).plus(self.began.elapsed())
    }

    fn rules(&self, revision: &Revision) -> Option<&'a model::spec::Health> {
        made_as(self.job, &self.module, revision)?.health.as_ref()
    }

    async fn observe(&mut self) -> Result<()> {
        let mut instances = self.platform.observe(&self.target).await?;
        instances.retain(|instance| instance.module == self.module);
        let (now, at) = (Instant::now(), self.timestamp());
        let there: BTreeSet<&str> = instances.iter().map(|instance| instance.id.as_str()).collect();
        self.tracks.retain(|id, _| there.contains(id.as_str()));
        for instance in &instances {
            let rules = self.rules(&instance.revision);
            let known = self.known.contains(&instance.id);
            let first = !self.tracks.contains_key(&instance.id);
            let track = self.tracks.entry(instance.id.clone()).or_insert_with(|| Track {
                since: now,
                running_since: None,
                asked: None,
                answered: false,
                judge: match rules {
                    _ if known => Judge::Known(0),
                    Some(rules) => Judge::New(Box::new(Prober::new(rules, at))),
                    None => Judge::Runs,
                },
                healthy: known && instance.is_running(),
                why: String::new(),
                exits: 0,
                restart_at: None,
            });
            match &instance.state {
                State::Running => {
                    track.restart_at = None;
                    let since = *track.running_since.get_or_insert(now);
                    if matches!(track.judge, Judge::Runs) && now.saturating_duration_since(since) >= RUNS {
                        track.healthy = true;
                    }
                }
                State::Starting => track.running_since = None,
                State::Exited { code, oom, .. } => {
                    track.why = ended(*code, *oom);
                    track.healthy = false;
                    if track.running_since.take().is_some() || track.restart_at.is_none() {
                        // What had ended before the step looked says nothing about the step.
                        track.exits += u32::from(self.looked || !first);
                        track.restart_at = Some(now + Duration::from_millis(250) * track.exits);
                    }
                    // After its end nothing is known of it any more.
                    track.judge = match rules {
                        Some(rules) => Judge::New(Box::new(Prober::new(rules, at))),
                        None => Judge::Runs,
                    };
                }
            }
        }
        self.instances = instances;
        self.looked = true;
        Ok(())
    }

    /// Whether the step would soon be stopped, and nobody would know why. The way back is tried again instead.
    fn is_nearly_over(&self) -> bool {
        let last_word = LAST_WORD.min(self.left / 4);
        self.job.step.stage != Stage::Rollback && self.began.elapsed() + last_word >= self.left
    }

    /// A verdict when an instance of the revision will not become well any more.
    pub async fn judge(&self, revision: &Revision) -> Result<()> {
        let deadline = self.rules(revision).map_or(DEADLINE, |rules| rules.healthy_deadline.0);
        for instance in self.present(revision) {
            let Some(track) = self.tracks.get(&instance.id).filter(|_| !self.leaving.contains(&instance.id))
            else {
                continue;
            };
            let why = if track.exits >= EXITS {
                format!("instance {} ended {} times: {}", instance.id, track.exits, track.why)
            } else if !track.healthy && (track.since.elapsed() > deadline || self.is_nearly_over()) {
                let seen = if track.why.is_empty() { "no probe succeeded long enough" } else { &track.why };
                let within = Span(deadline).min(self.job.step.deadline);
                format!("instance {} is not healthy within {within}: {seen}", instance.id)
            } else {
                continue;
            };
            let rule = if track.exits >= EXITS { CRASH_LOOP } else { "deploy/never-healthy" };
            return Err(self.verdict(rule, why, instance).await);
        }
        Ok(())
    }

    /// The last lines of the instance's output stand beside the verdict.
    async fn verdict(&self, rule: &str, reason: String, instance: &Instance) -> Error {
        let lines = match self.platform.logs(&self.target, &instance.id, LINES).await {
            Ok(lines) => lines,
            Err(error) => format!("(its output could not be read: {error})"),
        };
        let secrets = self.secrets.get(&instance.revision).map(Vec::as_slice).unwrap_or_default();
        let lines = secrets::masked(lines.trim_end(), secrets);
        let (shown, cure) = match (lines.is_empty(), rule) {
            (true, CRASH_LOOP) => {
                ("it wrote nothing".to_owned(), "start its command by hand: it ends without a word")
            }
            (true, _) => {
                ("it wrote nothing".to_owned(), "see whether health.probe in the spec asks what it answers")
            }
            (false, CRASH_LOOP) => (format!("its last lines:\n{lines}"), "look at the lines above"),
            (false, _) => (
                format!("its last lines:\n{lines}"),
                "look at the lines above, and at health.probe in the spec",
            ),
        };
        let finding = Finding {
            rule: rule.to_owned(),
            severity: Severity::High,
            module: Some(self.module.clone()),
            field: String::new(),
            message: format!("{reason}; {shown}"),
            cure: cure.to_owned(),
            waived: None,
        };
        Error::Verdict { reason, findings: vec![finding] }
    }

    /// Starts these slots of the revision: those that are not there, and those that ended and whose pause is over.
    pub async fn start(&mut self, revision: &Revision, slots: impl Iterator<Item = u32>) -> Result<usize> {
        let Some(module) = made_as(self.job, &self.module, revision) else {
            let text =
                format!("neither the spec nor the baseline describes revision {revision} of {}", self.module);
            return Err(Error::verdict(text));
        };
        let now = Instant::now();
        let wanted: Vec<u32> = slots
            .filter(|slot| {
                match self
                    .instances
                    .iter()
                    .find(|instance| instance.revision == *revision && instance.slot == *slot)
                {
                    None => true,
                    Some(instance) => {
                        let due = self.tracks.get(&instance.id).and_then(|track| track.restart_at);
                        matches!(instance.state, State::Exited { .. }) && due.is_none_or(|due| due <= now)
                    }
                }
            })
            .collect();
        if wanted.is_empty() {
            return Ok(0);
        }
        if !self.secrets.contains_key(revision) {
            self.secrets.insert(revision.clone(), secrets::resolve(&self.ctx.config, module)?);
        }
        let order = StartOrder {
            target: self.target.clone(),
            deployment: self.job.deployment.clone(),
            module: module.clone(),
            revision: revision.clone(),
            slot: 0,
            fence: self.job.fence,
            peers: peers::of(self.job, self.ctx).await?,
            labels: self.job.spec.labels.clone(),
            secrets: self.secrets.get(revision).cloned().unwrap_or_default(),
        };
        let platform = &self.platform;
        let mut work: Vec<BoxFuture<'_, platform::Result<Instance>>> = Vec::new();
        for slot in wanted {
            let order = StartOrder { slot, ..order.clone() };
            work.push(Box::pin(async move { platform.start(&order).await }));
        }
        // All are waited for: a start that fails does not leave the others half done.
        let started =
            side_by_side(AT_ONCE, work).await.into_iter().collect::<platform::Result<Vec<Instance>>>()?;
        for instance in &started {
            if let Some(track) = self.tracks.get_mut(&instance.id) {
                (track.since, track.restart_at) = (Instant::now(), None);
                track.running_since = instance.is_running().then(Instant::now);
            }
        }
        Ok(started.len())
    }

    /// Makes the routes name exactly the healthy instances; with `weights` also shares the traffic out. Gives the
    /// table in force, none for a module without routed traffic.
    pub async fn route(&mut self, weights: Option<&Weights>) -> Result<Option<RouteTable>> {
        let Some(module) = self.routed() else { return Ok(None) };
        let wanted: BTreeMap<Revision, Vec<_>> = self
            .revisions
            .iter()
            .map(|revision| {
                let made = made_as(self.job, &self.module, revision)
                    .filter(|made| made.expose.is_some() == module.expose.is_some())
                    .unwrap_or(module);
                let endpoints = self
                    .healthy(revision)
                    .into_iter()
                    .filter_map(|instance| routes::endpoint(instance, made));
                (revision.clone(), endpoints.collect())
            })
            .collect();
        if weights.is_none() && self.written.as_ref() == Some(&wanted) {
            return Ok(None);
        }
        let running: BTreeSet<&str> = self
            .instances
            .iter()
            .filter(|instance| instance.is_running())
            .map(|instance| instance.id.as_str())
            .collect();
        let table = edit_routes(self.ctx.store.as_ref(), &self.key(), self.job.fence, |stored| {
            let mut table =
                stored.cloned().unwrap_or_else(|| routes::empty(&self.target, &self.module, self.ctx.now()));
            if table.internal && table.weights.0.is_empty() {
                routes::describe(&mut table, module);
            }
            for endpoints in table.endpoints.values_mut() {
                endpoints.retain(|endpoint| running.contains(endpoint.instance.as_str()));
            }
            table.endpoints.extend(wanted.clone());
            table.endpoints.retain(|_, endpoints| !endpoints.is_empty());
            if let Some(weights) = weights {
                routes::describe(&mut table, module);
                table.weights = weights.clone();
            }
            routes::preview(&mut table, self.job);
            Ok(Some(table))
        })
        .await?;
        self.written = Some(wanted);
        Ok(table)
    }

    /// Takes these instances out of the routes, lets their requests end, then stops them. With `weights` the traffic is
    /// shared out anew in the same change.
    pub async fn retire(&mut self, going: Vec<Instance>, weights: Option<&Weights>) -> Result<()> {
        if going.is_empty() {
            return Ok(());
        }
        let limit = self.ctx.config.drain.0;
        self.leaving.extend(going.iter().map(|instance| instance.id.clone()));
        if let Some(table) = self.route(weights).await? {
            match planes::follow(self.ctx, &table, LETTING_GO).await {
                Ok(planes::Taken::By(_)) => {
                    let revisions: BTreeSet<&Revision> = going
                        .iter()
                        .filter(|instance| instance.is_running())
                        .map(|instance| &instance.revision)
                        .collect();
                    for revision in revisions {
                        // What does not end in time is given the same time again by the platform's stop.
                        planes::drained(self.ctx, &self.target, &self.module, revision, limit).await?;
                    }
                }
                Ok(planes::Taken::Nobody) => {}
                Err(error) => {
                    tracing::warn!(module = %self.module, error = chassis::chain(&error), "stopping instances nevertheless")
                }
            }
        }
        let (platform, target, fence) = (&self.platform, &self.target, self.job.fence);
        let mut work: Vec<BoxFuture<'_, platform::Result<()>>> = Vec::new();
        for instance in &going {
            work.push(Box::pin(async move { platform.stop(target, &instance.id, fence, limit).await }));
        }
        side_by_side(AT_ONCE, work).await.into_iter().collect::<platform::Result<Vec<()>>>()?;
        self.observe().await
    }

    /// Removes the table of a module that is gone, so that its port is free again. A table in which something is left
    /// stays.
    pub async fn close(&self) -> Result<()> {
        close_routes(self.ctx.store.as_ref(), &self.key(), self.job.fence).await
    }

    /// The table as it stands.
    pub async fn table(&self) -> Result<Option<RouteTable>> {
        self.ctx.store.routes(&self.key()).await
    }
}

impl Track {
    fn take(&mut self, answer: std::result::Result<(), String>, threshold: u32, at: Timestamp) {
        let ok = answer.is_ok();
        self.answered = ok;
        self.why = answer.err().unwrap_or_default();
        match &mut self.judge {
            Judge::Known(bad) => {
                *bad = if ok { 0 } else { *bad + 1 };
                self.healthy = *bad < threshold;
            }
            Judge::New(prober) => {
                self.healthy = matches!(prober.observe(ok, at), health::Health::Healthy { .. })
            }
            Judge::Runs => {}
        }
    }
}

/// Why an instance ended, as far as its platform saw. The engine's own stops remove an instance, so a signal that is
/// seen here is not the engine's.
pub(crate) fn ended(code: Option<i64>, oom: bool) -> String {
    match (code, oom) {
        (_, true) => "ended by the kernel for want of memory".to_owned(),
        (Some(137), false) => {
            "killed by signal 9, which the engine did not send; a kernel without memory does that".to_owned()
        }
        (Some(code @ 129..=192), false) => format!("ended by signal {}", code - 128),
        (Some(code), false) => format!("exit status {code}"),
        (None, false) => "its end was not seen".to_owned(),
    }
}
