//! The agents as a service: a real nats-server, a scripted platform, jobs as the orchestrator sends them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use agents::AgentsConfig;
use bus::{Bus, subjects};
use chassis::Service;
use model::{
    DeploymentId, DeploymentSpec, Digest, Fence, Outcome, Span, Step, StepKind, Timestamp, Token,
    command::{DriftRequest, HoldingsRequest, ReviewRequest},
    deployment::{StepAnswer, StepJob, StepQuestion, StepState, StepStop, StopKind},
    plan::Plan,
    route::RouteTable,
    step::{Agent, Stage},
};
use platform::{Platform, ScriptedPlatform, scripted::WriteKind};
use testkit::{TestNats, eventually};

const LONG: Duration = Duration::from_secs(30);

/// The agents, their broker, and everything they answered about their steps.
struct Cluster {
    nats: TestNats,
    platform: ScriptedPlatform,
    answers: Arc<Mutex<Vec<(Token, StepState)>>>,
    folder: tempfile::TempDir,
    owners: Mutex<tokio::task::JoinSet<()>>,
}

async fn cluster() -> Cluster {
    let nats = testkit::nats().await;
    Cluster {
        nats,
        platform: ScriptedPlatform::new(),
        answers: Arc::default(),
        folder: tempfile::tempdir().unwrap(),
        owners: Mutex::default(),
    }
}

/// Hands a step over and asks how it goes until it ends, and hands it over again when nobody has it: as an owner does.
async fn own(bus: Bus, job: StepJob, answers: Arc<Mutex<Vec<(Token, StepState)>>>) {
    let question = StepQuestion {
        deployment: job.deployment.clone(),
        step: job.step.id.clone(),
        attempt: job.attempt,
        idem_key: job.idem_key.clone(),
        fence: job.fence,
        hold: Span::seconds(1),
    };
    let lane = subjects::agents::STEP.to(job.step.agent.as_str()).unwrap();
    loop {
        let mut answer = bus.call_to(&lane, &job, Duration::from_secs(1)).await;
        while let Ok(StepAnswer { runner, state }) = answer {
            answers.lock().unwrap().push((job.step.id.clone(), state.clone()));
            match state {
                StepState::Ended(_) | StepState::Dropped => return,
                StepState::Unknown => break,
                StepState::Running => {}
            }
            let name = subjects::agents::STEP_STATE.to(&runner).unwrap();
            answer = bus.call_to(&name, &question, Duration::from_secs(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Cluster {
    /// A runner with its own connection; all share the platform, and the journal as after a restart.
    async fn runner(&self) -> Service<AgentsConfig> {
        let bus: Bus = self.nats.connect_service("agents").await;
        let config = AgentsConfig { state_dir: self.folder.path().to_owned(), ..AgentsConfig::default() };
        let service = Service::for_tests(config, bus);
        let platforms = [("process".to_owned(), Arc::new(self.platform.clone()) as Arc<dyn Platform>)].into();
        agents::start_with(service.clone(), platforms).await.unwrap();
        service
    }

    fn send(&self, job: &StepJob) {
        let owner = own(self.nats.bus.clone(), job.clone(), self.answers.clone());
        self.owners.lock().unwrap().spawn(owner);
    }

    fn last(&self, step: &Token) -> Option<StepState> {
        let answers = self.answers.lock().unwrap();
        answers.iter().rev().find(|(of, _)| of == step).map(|(_, state)| state.clone())
    }

    async fn until(&self, step: &Token, what: &str, wanted: impl Fn(&StepState) -> bool) -> StepState {
        eventually(what, LONG, || async {
            let last = self.last(step);
            last.clone().filter(|state| wanted(state)).ok_or_else(|| format!("{last:?}"))
        })
        .await
    }

    async fn outcome(&self, step: &Token) -> Outcome {
        let ended = self.until(step, "the step ends", |state| matches!(state, StepState::Ended(_))).await;
        let StepState::Ended(result) = ended else { unreachable!("it ended") };
        result.outcome
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
async fn a_step_goes_from_its_lane_to_the_platform_and_its_end_is_told_to_who_asks() {
    let cluster = cluster().await;
    let _runner = cluster.runner().await;
    let job = scale(1, 2);

    cluster.send(&job);

    assert_eq!(cluster.outcome(&job.step.id).await, Outcome::Succeeded);
    assert_eq!(cluster.platform.ledger().done(WriteKind::Start), 2);
    let key = RouteTable::key(&spec().target_id(), &spec().modules[0].name);
    let (table, _) = cluster.nats.bus.bucket(&subjects::buckets::ROUTES).get(&key).await.unwrap().unwrap();
    assert_eq!(table.endpoints.values().map(Vec::len).sum::<usize>(), 2);
    let review = self::job(Agent::Security, Stage::Check, 2, StepKind::Review);
    cluster.send(&review);
    assert_eq!(cluster.outcome(&review.step.id).await, Outcome::Succeeded);
}

/// Killed after ever longer times; the step goes to the next runner.
#[tokio::test]
async fn a_killed_runner_leaves_nothing_that_the_next_one_does_twice() {
    let cluster = cluster().await;
    let job = scale(1, 3);
    cluster.send(&job);
    for life in [5, 40, 120, 300] {
        let runner = cluster.runner().await;
        tokio::time::sleep(Duration::from_millis(life)).await;
        runner.crash();
        if matches!(cluster.last(&job.step.id), Some(StepState::Ended(_))) {
            break;
        }
    }
    let _lives = cluster.runner().await;

    assert_eq!(cluster.outcome(&job.step.id).await, Outcome::Succeeded);
    let ledger = cluster.platform.ledger();
    assert!(ledger.duplicates().is_empty(), "{:?}", ledger.duplicates());
    assert_eq!(ledger.done(WriteKind::Start), 3);
}

#[tokio::test]
async fn a_stop_reaches_a_step_that_runs() {
    let cluster = cluster().await;
    let _runner = cluster.runner().await;
    cluster.platform.script(|script| script.set_never_ready(&spec().modules[0].name, None, true));
    let job = scale(1, 1);
    cluster.send(&job);
    cluster.until(&job.step.id, "the step runs", |state| *state == StepState::Running).await;

    let below = Fence { lock: 1, epoch: 2 };
    let stop = StepStop { deployment: job.deployment.clone(), step: None, below, kind: StopKind::Cancel };
    cluster.nats.bus.signal(&subjects::agents::STOP, job.deployment.as_str(), &stop).await.unwrap();
    cluster.platform.script(|script| script.set_never_ready(&spec().modules[0].name, None, false));
    let next = scale(3, 1);
    cluster.send(&next);

    assert_eq!(cluster.outcome(&next.step.id).await, Outcome::Succeeded);
    cluster.until(&job.step.id, "it was dropped", |state| *state == StepState::Dropped).await;
}

#[tokio::test]
async fn what_a_runner_has_seen_of_a_target_is_told_also_when_the_platform_has_seen_less() {
    let cluster = cluster().await;
    let _runner = cluster.runner().await;
    let mut hook = job(Agent::Deployer, Stage::Execute, 4, StepKind::Hook { index: 0 });
    hook.fence = Fence { lock: 7, epoch: 4 };
    cluster.send(&hook);
    assert_eq!(cluster.outcome(&hook.step.id).await, Outcome::Failed, "there is no such hook");

    let request = HoldingsRequest {
        target: spec().target_id(),
        take_away: false,
        spec: None,
        trial: None,
        clear: None,
    };
    let holdings = cluster.nats.bus.call(&subjects::agents::HOLDINGS, &request, LONG).await.unwrap();

    assert_eq!(holdings.highest, hook.fence);
}

#[tokio::test]
async fn a_plan_is_reviewed_and_drift_is_told_without_touching_anything() {
    let cluster = cluster().await;
    let _runner = cluster.runner().await;
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
    let request = DriftRequest { target: spec.target_id(), spec: Some(spec.clone()), under_way: None };
    let drift = bus.call(&subjects::agents::DRIFT, &request, LONG).await.unwrap();

    let passed: BTreeMap<String, bool> =
        reviews.reviews.into_iter().map(|review| (review.agent, review.passed)).collect();
    assert_eq!(passed, ["architect", "integrator", "security"].map(|agent| (agent.to_owned(), true)).into());
    let texts: Vec<&str> = drift.drifts.iter().map(|drift| drift.text.as_str()).collect();
    assert!(
        texts[0].starts_with("0 instances of web") && texts[1] == "web has no routes: nobody is sent to it",
        "{texts:?}"
    );
    assert!(cluster.platform.ledger().writes.is_empty());
}
