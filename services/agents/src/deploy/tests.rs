//! Steps against the scripted platform, with a data plane that does what the routes say.

mod crash;
mod hooks;
mod peers;
mod rolling;
mod scaling;
mod weights;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chassis::{Clock, Hands};
use model::{
    DeploymentId, DeploymentSpec, Digest, Fence, GateResult, Span, Step, StepKind, Timestamp, Token,
    deployment::StepJob,
    plan::Revision,
    route::{RevisionCount, RouteTable, TrafficCount, Weights},
    step::{Agent, Stage, StepResult},
};
use platform::ScriptedPlatform;

use crate::{
    agents,
    config::AgentsConfig,
    context::{Ctx, Engine, Stop},
    counts::Traffic,
    dated::Dated,
    door::{Door, Met},
    http::Http,
    signing::Signing,
    store::{Store, memory::MemoryStore},
};

/// Counts per revision, by table.
type Counted = BTreeMap<String, BTreeMap<Revision, RevisionCount>>;

/// One runner's surroundings in memory.
pub(crate) struct World {
    pub(crate) platform: ScriptedPlatform,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) plane: Plane,
    pub(crate) door: Arc<Entrance>,
    /// The certifier's keys.
    pub(crate) keys: tempfile::TempDir,
    /// Those of the clock.
    pub(crate) hands: Hands,
    /// What the data plane has counted; it is one and the same from step to step.
    counted: Mutex<(i64, Counted)>,
}

/// What clients meet: what the routes say, or something else.
pub(crate) struct Entrance {
    store: Arc<MemoryStore>,
    pub(crate) instead: Mutex<Option<Met>>,
}

#[async_trait::async_trait]
impl Door for Entrance {
    async fn ask(&self, listen: u16, _: &str) -> crate::error::Result<Option<Met>> {
        if let Some(met) = self.instead.lock().unwrap().clone() {
            return Ok(Some(met));
        }
        let found = self.store.with(|shared| {
            shared.routes.iter().find(|(_, table)| table.listen == listen).map(|(key, table)| {
                let chosen = table.weights.0.iter().max_by_key(|(_, share)| **share);
                let revision = chosen.map(|(revision, _)| revision.clone());
                let instances = revision.as_ref().and_then(|revision| table.endpoints.get(revision));
                Met {
                    status: 200,
                    route: Some((key.clone(), table.version)),
                    instance: instances.and_then(|all| Some(all.first()?.instance.clone())),
                    revision,
                    full: false,
                }
            })
        });
        found.map(Some).ok_or_else(|| crate::Error::trouble(format!("nobody listens on port {listen}")))
    }
}

/// How the data plane behaves.
#[derive(Clone, Default)]
pub(crate) struct Plane {
    /// It is not there.
    pub(crate) absent: bool,
    /// It never takes up a new table.
    pub(crate) deaf: bool,
    /// What it does instead of what the routes say, in percent.
    pub(crate) shares: Option<BTreeMap<Revision, u64>>,
    /// Requests per quarter of a second.
    pub(crate) requests: u64,
    /// Of a hundred requests to a revision, so many fail.
    pub(crate) errors: BTreeMap<Revision, u64>,
    /// Latency in microseconds; 1000 unless said otherwise.
    pub(crate) latency: BTreeMap<Revision, u64>,
    /// Why its port is not open.
    pub(crate) closed: Option<String>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(AgentsConfig::default())
    }

    pub(crate) fn with(config: AgentsConfig) -> World {
        let (platform, store) = (ScriptedPlatform::new(), Arc::new(MemoryStore::default()));
        let (clock, hands) = Clock::manual(Timestamp(1_000_000));
        let keys = tempfile::tempdir().unwrap();
        let http = Http::guarded(config.egress().unwrap());
        let door = Arc::new(Entrance { store: Arc::clone(&store), instead: Mutex::default() });
        let engine = Arc::new(Engine {
            runner: "rep-1".to_owned(),
            config: Arc::new(config),
            clock,
            platforms: [("process".to_owned(), Arc::new(platform.clone()) as Arc<dyn platform::Platform>)]
                .into(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            traffic: Traffic::without_bus(),
            http,
            door: Arc::clone(&door) as Arc<dyn Door>,
            signing: Signing::in_folder(keys.path()),
            dated: Dated::default(),
        });
        let plane = Plane { requests: 60, ..Plane::default() };
        World { platform, store, engine, plane, door, keys, hands, counted: Mutex::default() }
    }

    /// Does the step while the data plane works.
    pub(crate) async fn run(&self, job: &StepJob) -> StepResult {
        let ctx = Ctx::new(Arc::clone(&self.engine), Stop::default());
        let run = async { agents::run(job, &ctx, false).await.unwrap_or_else(StepResult::from) };
        let result = self.beside(run).await;
        self.follows(job, &result);
        result
    }

    /// Every verdict follows from the document that was kept of its gate.
    fn follows(&self, job: &StepJob, result: &StepResult) {
        if self.store.with(|shared| shared.full.is_some()) {
            return;
        }
        for gate in &result.gates {
            let kept = self.document(gate);
            let about = (&kept.deployment, &kept.step, kept.attempt, &kept.gate);
            assert_eq!(about, (&job.deployment, &job.step.id, job.attempt, &gate.gate));
            assert_eq!(kept.differences(gate).unwrap(), [], "{gate:?}");
            assert_eq!(kept.judge().unwrap().text, gate.text);
            assert_eq!(kept.strays(&job.step, &job.spec), []);
        }
    }

    /// What was kept of a gate.
    pub(crate) fn document(&self, gate: &GateResult) -> gates::Document {
        let digest = gate.evidence.as_ref().unwrap().to_string();
        let bytes = self.store.with(|shared| shared.evidence[&digest].clone());
        gates::Document::read(&bytes).unwrap()
    }

    /// Does anything while the data plane works.
    pub(crate) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            () = self.carry() => unreachable!("the data plane never ends"),
        }
    }

    async fn carry(&self) {
        let mut in_force: BTreeMap<String, RouteTable> = BTreeMap::new();
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            if self.plane.absent {
                continue;
            }
            let tables = self.store.with(|shared| shared.routes.clone());
            for (key, table) in tables {
                let table = if self.plane.deaf {
                    in_force.entry(key.clone()).or_insert(table).clone()
                } else {
                    table
                };
                let (at, revisions) = {
                    let mut counted = self.counted.lock().unwrap();
                    counted.0 += 1;
                    let at = counted.0;
                    let counts = counted.1.entry(key).or_default();
                    self.serve(&table, counts);
                    (at, counts.clone())
                };
                let count = TrafficCount {
                    plane: "rep-9".to_owned(),
                    target: table.target.clone(),
                    module: table.module.clone(),
                    version: table.version,
                    at: Timestamp(at),
                    revisions,
                    unroutable: 0,
                    closed: self.plane.closed.clone(),
                };
                if let Ok(heard) = self.engine.traffic.of(&table.target).await {
                    heard.hear(count);
                }
            }
        }
    }

    fn serve(&self, table: &RouteTable, counts: &mut BTreeMap<Revision, RevisionCount>) {
        let shares = match &self.plane.shares {
            Some(shares) => shares.clone(),
            None => table
                .weights
                .0
                .iter()
                .map(|(revision, share)| (revision.clone(), u64::from(*share)))
                .collect(),
        };
        for (revision, share) in shares {
            let more = self.plane.requests * share / 100;
            let count = counts.entry(revision.clone()).or_default();
            count.requests += more;
            let errors = self.plane.errors.get(&revision).copied().unwrap_or(0);
            count.errors += more * errors / 100;
            let mut latency = stats::Histogram::from(count.latency.clone());
            let micros = self.plane.latency.get(&revision).copied().unwrap_or(1000);
            (0..more).for_each(|at| latency.record_micros(micros + at % 10 * micros / 100));
            count.latency = latency.into();
        }
    }

    pub(crate) fn table(&self) -> RouteTable {
        self.store.table(&key()).expect("there is a table")
    }
}

pub(crate) fn key() -> String {
    RouteTable::key(&spec("one").target_id(), &web())
}

pub(crate) fn web() -> Token {
    "web".parse().unwrap()
}

/// One exposed module with a health check; `build` tells revisions apart.
pub(crate) fn spec(build: &str) -> DeploymentSpec {
    let text = format!(
        r#"{{"apiVersion":"code/v1","name":"shop","target":"process","modules":[
            {{"name":"web","version":"1.0.0","run":{{"command":["web","{build}"]}},"replicas":3,
              "ports":[{{"name":"http"}}],"expose":{{"listen":8080,"previewHeader":"x-preview=yes"}},
              "health":{{"probe":{{"tcp":{{}}}},"healthyAfter":"500ms","healthyDeadline":"5s"}}}}]}}"#
    );
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn revision(spec: &DeploymentSpec) -> Revision {
    spec.modules[0].revision()
}

/// A job of the deployer that moves from build one to build two.
pub(crate) fn job(stage: Stage, epoch: u64, kind: StepKind) -> StepJob {
    StepJob {
        deployment: DeploymentId::derived("test"),
        step: Step {
            id: format!("s{epoch:02}-step").parse().unwrap(),
            wave: 0,
            stage,
            agent: Agent::Deployer,
            kind,
            deadline: Span::seconds(60),
            irreversible: false,
        },
        attempt: 1,
        idem_key: format!("key-{epoch}"),
        fence: Fence { lock: 1, epoch },
        until: Timestamp(2_000_000),
        spec: Box::new(spec("two")),
        baseline: Some(Box::new(spec("one"))),
        plan: Digest::of_bytes(b"plan"),
        extend: None,
    }
}

pub(crate) fn scale(epoch: u64, build: &str, count: u32) -> StepJob {
    let revision = revision(&spec(build));
    job(Stage::Execute, epoch, StepKind::Scale { module: web(), revision, count })
}

pub(crate) fn weight(epoch: u64, percent_to_two: u8, verify: bool) -> StepJob {
    let weights = Weights::split(revision(&spec("two")), percent_to_two, revision(&spec("one")));
    job(Stage::Execute, epoch, StepKind::SetWeight { module: web(), weights, verify })
}
