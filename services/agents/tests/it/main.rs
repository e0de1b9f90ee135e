//! The agents as a service: a real nats-server, a scripted platform, jobs as the orchestrator sends them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use agents::AgentsConfig;
use bus::{Bus, WorkRules, subjects};
use chassis::Service;
use model::{
    DeploymentId, DeploymentSpec, Digest, Fence, Outcome, Span, Step, StepKind, Timestamp, Token,
    command::{DriftRequest, ReviewRequest},
    deployment::{StepJob, StepReport, StepStop, StopKind},
    plan::Plan,
    route::RouteTable,
    step::{Agent, Stage},
};
use platform::{Platform, ScriptedPlatform, scripted::WriteKind};
use testkit::{TestNats, eventually};

const LONG: Duration = Duration::from_secs(30);

/// The agents, their broker, and everything they reported.
struct Cluster {
    nats: TestNats,
    platform: ScriptedPlatform,
    reports: Arc<Mutex<Vec<StepReport>>>,
    folder: tempfile::TempDir,
    _hearing: bus::Serving,
}

async fn cluster() -> Cluster {
    let nats = testkit::nats().await;
    let reports: Arc<Mutex<Vec<StepReport>>> = Arc::default();
    let heard = Arc::clone(&reports);
    let hearing = nats
        .bus
        .work(&subjects::orchestrator::REPORT, None, WorkRules::default(), move |report: StepReport, _| {
            heard.lock().unwrap().push(report);
            std::future::ready(Ok(()))
        })
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    Cluster { nats, platform: ScriptedPlatform::new(), reports, folder, _hearing: hearing }
}

impl Cluster {
    /// A runner with its own connection; all share the platform, and the journal as after a restart.
    async fn runner(&self, name: &str) -> Service<AgentsConfig> {
        let bus: Bus = self.nats.connect(name).await;
        let config = AgentsConfig { state_dir: self.folder.path().to_owned(), ..AgentsConfig::default() };
        let service = Service::for_tests(config, bus);
        let platforms = [("process".to_owned(), Arc::new(self.platform.clone()) as Arc<dyn Platform>)].into();
        agents::start_with(service.clone(), platforms).await.unwrap();
        service
    }

    async fn send(&self, job: &StepJob) {
        let id = format!("{}-{}-{}", job.idem_key, job.attempt, job.fence);
        self.nats.bus.send(&subjects::agents::STEP, Some(job.step.agent.as_str()), job, &id).await.unwrap();
    }

    async fn outcome(&self, step: &Token) -> Outcome {
        eventually("the step is reported", LONG, || async {
            let reports = self.reports.lock().unwrap();
            let ended = reports
                .iter()
                .filter(|report| report.step == *step)
                .find_map(|report| report.result.as_ref());
            ended.map(|result| result.outcome).ok_or_else(|| format!("{reports:?}"))
        })
        .await
    }
}

fn spec() -> DeploymentSpec {
    serde_json::from_str(
        r#"{"apiVersion":"code/v1","name":"shop","target":"process","modules":[
            {"name":"web","version":"1.0.0","run":{"command":["web"]},"replicas":2,
             "resources":{"cpu":"100m","memory":"64Mi"},"ports":[{"name":"http"}],"expose":{"listen":8080},
             "health":{"probe":{"tcp":{}},"healthyAfter":"200ms"}}]}"#,
    )
    .unwrap()
}

fn job(agent: Agent, stage: Stage, epoch: u64, kind: StepKind) -> StepJob {
    let step = Step {
        id: format!("s{epoch:02}-{agent}").parse().unwrap(),
        wave: 0,
        stage,
        agent,
        kind,
        deadline: Span::seconds(60),
        irreversible: false,
    };
    StepJob {
        deployment: DeploymentId::derived("test"),
        step,
        attempt: 1,
        idem_key: format!("key{epoch}"),
        fence: Fence { lock: 1, epoch },
        until: Timestamp(i64::MAX),
        spec: Box::new(spec()),
        baseline: None,
        plan: Digest::of_bytes(b"plan"),
        extend: None,
    }
}

fn scale(epoch: u64, count: u32) -> StepJob {
    let spec = spec();
    let kind =
        StepKind::Scale { module: spec.modules[0].name.clone(), revision: spec.modules[0].revision(), count };
    job(Agent::Deployer, Stage::Execute, epoch, kind)
}

#[tokio::test]
async fn a_step_goes_from_its_lane_to_the_platform_and_back_as_a_report() {
    let cluster = cluster().await;
    let _runner = cluster.runner("one").await;
    let job = scale(1, 2);

    cluster.send(&job).await;

    assert_eq!(cluster.outcome(&job.step.id).await, Outcome::Succeeded);
    assert_eq!(cluster.platform.ledger().done(WriteKind::Start), 2);
    let key = RouteTable::key(&spec().target_id(), &spec().modules[0].name);
    let (table, _) = cluster.nats.bus.bucket(&subjects::buckets::ROUTES).get(&key).await.unwrap().unwrap();
    assert_eq!(table.endpoints.values().map(Vec::len).sum::<usize>(), 2);
    let review = self::job(Agent::Security, Stage::Check, 2, StepKind::Review);
    cluster.send(&review).await;
    assert_eq!(cluster.outcome(&review.step.id).await, Outcome::Succeeded);
}

/// Killed after ever longer times; the job comes again to the next runner.
#[tokio::test]
async fn a_killed_runner_leaves_nothing_that_the_next_one_does_twice() {
    let cluster = cluster().await;
    let job = scale(1, 3);
    cluster.send(&job).await;
    for (number, life) in [5, 40, 120, 300].into_iter().enumerate() {
        let runner = cluster.runner(&format!("dies-{number}")).await;
        tokio::time::sleep(Duration::from_millis(life)).await;
        runner.crash();
        if cluster.reports.lock().unwrap().iter().any(|report| report.result.is_some()) {
            break;
        }
    }
    let _lives = cluster.runner("lives").await;

    assert_eq!(cluster.outcome(&job.step.id).await, Outcome::Succeeded);
    let ledger = cluster.platform.ledger();
    assert!(ledger.duplicates().is_empty(), "{:?}", ledger.duplicates());
    assert_eq!(ledger.done(WriteKind::Start), 3);
}

#[tokio::test]
async fn a_stop_reaches_a_step_that_runs() {
    let cluster = cluster().await;
    let _runner = cluster.runner("one").await;
    cluster.platform.script(|script| script.set_never_ready(&spec().modules[0].name, None, true));
    let job = scale(1, 1);
    cluster.send(&job).await;
    eventually("the step says that it started", LONG, || async {
        let started = !cluster.reports.lock().unwrap().is_empty();
        if started { Ok(()) } else { Err("nothing reported") }
    })
    .await;

    let below = Fence { lock: 1, epoch: 2 };
    let stop = StepStop { deployment: job.deployment.clone(), step: None, below, kind: StopKind::Cancel };
    cluster.nats.bus.signal(&subjects::agents::STOP, job.deployment.as_str(), &stop).await.unwrap();
    cluster.platform.script(|script| script.set_never_ready(&spec().modules[0].name, None, false));
    let next = scale(3, 1);
    cluster.send(&next).await;

    assert_eq!(cluster.outcome(&next.step.id).await, Outcome::Succeeded);
    let silent = cluster
        .reports
        .lock()
        .unwrap()
        .iter()
        .all(|report| report.step != job.step.id || report.result.is_none());
    assert!(silent, "a cancelled step reports nothing");
}

#[tokio::test]
async fn a_plan_is_reviewed_and_drift_is_told_without_touching_anything() {
    let cluster = cluster().await;
    let _runner = cluster.runner("one").await;
    let spec = spec();
    let plan = Plan {
        target: spec.target_id(),
        spec: Digest::of(&spec),
        baseline: None,
        changes: Vec::new(),
        steps: Vec::new(),
        no_return_after: None,
        at_least: Span::seconds(0),
    };
    let bus = &cluster.nats.bus;

    let request = ReviewRequest { spec: spec.clone(), baseline: None, plan };
    let reviews = bus.call(&subjects::agents::REVIEW, &request, LONG).await.unwrap();
    let request = DriftRequest { target: spec.target_id(), spec: Some(spec.clone()) };
    let drift = bus.call(&subjects::agents::DRIFT, &request, LONG).await.unwrap();

    let passed: BTreeMap<String, bool> =
        reviews.reviews.into_iter().map(|review| (review.agent, review.passed)).collect();
    assert_eq!(passed, ["architect", "integrator", "security"].map(|agent| (agent.to_owned(), true)).into());
    let texts: Vec<&str> = drift.drifts.iter().map(|drift| drift.text.as_str()).collect();
    assert!(
        texts[0].starts_with("0 instances of web") && texts[1] == "web is exposed and has no routes",
        "{texts:?}"
    );
    assert!(cluster.platform.ledger().writes.is_empty());
}
