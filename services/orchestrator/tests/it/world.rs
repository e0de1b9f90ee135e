//! What the tests of the orchestrator stand on: a spec, agents that do as told, and short ways to ask.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, Meta, Serving, subjects};
use chassis::Service;
use model::{
    DeploymentId, Outcome, Phase, Verdict,
    command::{Action, Command, HistoryRequest, StatusRequest, Submit},
    deployment::{Mode, StepAnswer, StepJob, StepQuestion, StepState},
    journal::{JournalAction, JournalReply, JournalRequest, Unreadable},
    step::{Agent, StepResult},
    view::{DeploymentView, StepStatus},
};
use orchestrator::Config;
use testkit::{TestNats, eventually};

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const ASK: Duration = Duration::from_secs(5);

pub fn shop(version: &str) -> String {
    format!(
        r#"
apiVersion: code/v1
name: shop
target: scripted
modules:
  - name: web
    version: {version}
    run: {{command: [web, {version}]}}
    replicas: 4
    ports: [{{name: http}}]
    expose: {{listen: 18080}}
strategy:
  canary:
    steps:
      - setWeight: 10
      - pause: {{}}
      - setWeight: 50
"#
    )
}

/// What an agent does with a step.
#[derive(Clone)]
pub enum Does {
    /// Says that it ended so.
    Ends(Outcome),
    /// Takes it and works on it for ever.
    Begins,
    /// Takes it and dies over it: it knows nothing of it when it is asked.
    Dies,
    /// Takes it, ends it so, and its word that it did is lost.
    EndsUnheard(Outcome),
    /// Loses the question.
    Nothing,
}

/// Agents that do as told: they count what they were asked for, and under which trace.
pub struct Agents {
    /// How often each step of each deployment was handed over.
    pub seen: Arc<Mutex<BTreeMap<String, u32>>>,
    /// The traceparents of what was handed over.
    pub traces: Arc<Mutex<Vec<Option<String>>>>,
    _lanes: Vec<Serving>,
}

/// Obedient agents that fail the steps they are told to.
pub async fn agents(bus: &Bus, failing: Option<&'static str>) -> Agents {
    agents_that(bus, move |job, _| {
        let failed = failing.is_some_and(|failing| job.step.id.as_str().contains(failing));
        Does::Ends(if failed { Outcome::Failed } else { Outcome::Succeeded })
    })
    .await
}

/// The name of the agents' runner.
const RUNNER: &str = "obedient";

/// Agents that are told for each step, by how often it came, what to do.
pub async fn agents_that(
    bus: &Bus,
    told: impl Fn(&StepJob, u32) -> Does + Clone + Send + Sync + 'static,
) -> Agents {
    let (seen, traces) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(Mutex::new(Vec::new())));
    // What became of each attempt, for who asks later.
    let ended: Arc<Mutex<BTreeMap<String, Does>>> = Arc::default();
    let mut lanes = Vec::new();
    for agent in Agent::ALL {
        let (seen, traces, told, ended) = (seen.clone(), traces.clone(), told.clone(), ended.clone());
        let handler = move |job: StepJob, meta: Meta| {
            traces.lock().unwrap().push(meta.trace);
            let times = {
                let mut seen = seen.lock().unwrap();
                let times = seen.entry(format!("{} {}", job.deployment, job.step.id)).or_insert(0);
                *times += 1;
                *times
            };
            let does = told(&job, times);
            let lost = matches!(does, Does::Nothing | Does::EndsUnheard(_));
            if !matches!(does, Does::Nothing) {
                ended.lock().unwrap().insert(attempt(&job.idem_key, job.attempt), does.clone());
            }
            async move {
                if lost {
                    std::future::pending::<()>().await;
                }
                let state = match does {
                    Does::Ends(outcome) => ended_so(outcome),
                    _ => StepState::Running,
                };
                Ok(StepAnswer { runner: RUNNER.to_owned(), state })
            }
        };
        let lane = subjects::agents::STEP.to(agent.as_str()).unwrap();
        lanes.push(bus.answer_to(&lane, 64, handler).await.unwrap());
    }
    let known = ended.clone();
    let state = move |question: StepQuestion, _| {
        let known = known.lock().unwrap().get(&attempt(&question.idem_key, question.attempt)).cloned();
        async move {
            let state = match known {
                Some(Does::Ends(outcome) | Does::EndsUnheard(outcome)) => ended_so(outcome),
                Some(Does::Begins) => {
                    tokio::time::sleep(question.hold.0).await;
                    StepState::Running
                }
                Some(Does::Dies | Does::Nothing) | None => StepState::Unknown,
            };
            Ok(StepAnswer { runner: RUNNER.to_owned(), state })
        }
    };
    let name = subjects::agents::STEP_STATE.to(RUNNER).unwrap();
    lanes.push(bus.answer_to(&name, 256, state).await.unwrap());
    let find = move |question: StepQuestion, _| {
        let known = ended.lock().unwrap().get(&attempt(&question.idem_key, question.attempt)).cloned();
        let state = known.and_then(|does| match does {
            Does::Ends(outcome) | Does::EndsUnheard(outcome) => Some(ended_so(outcome)),
            Does::Begins => Some(StepState::Running),
            Does::Dies | Does::Nothing => None,
        });
        std::future::ready(state.map(|state| StepAnswer { runner: RUNNER.to_owned(), state }))
    };
    lanes.push(bus.answer_if_known(&subjects::agents::STEP_FIND, find).await.unwrap());
    Agents { seen, traces, _lanes: lanes }
}

fn attempt(key: &str, attempt: u32) -> String {
    format!("{key} {attempt}")
}

fn ended_so(outcome: Outcome) -> StepState {
    StepState::Ended(Box::new(StepResult::new(outcome, "as told")))
}

pub async fn orchestrator(nats: &TestNats) -> Service<Config> {
    orchestrator_with(nats, Config::default()).await
}

pub async fn orchestrator_with(nats: &TestNats, config: Config) -> Service<Config> {
    orchestrator_on(nats.connect_service("orchestrator").await, config).await
}

pub async fn orchestrator_on(bus: Bus, config: Config) -> Service<Config> {
    let service = Service::for_tests(config, bus);
    orchestrator::start(service.clone()).await.unwrap();
    service
}

pub fn submit(document: String) -> Submit {
    Submit { document, request_id: None, plan: None, force: None, mode: Mode::Apply }
}

pub async fn ask(bus: &Bus, submit: &Submit) -> DeploymentId {
    bus.call(&subjects::orchestrator::SUBMIT, submit, ASK).await.unwrap().deployment
}

pub async fn view(bus: &Bus, id: &DeploymentId) -> Result<DeploymentView, bus::Error> {
    let request = StatusRequest { deployment: id.clone() };
    Ok(bus.call(&subjects::orchestrator::STATUS, &request, ASK).await?.view)
}

pub async fn until(
    bus: &Bus,
    id: &DeploymentId,
    what: &str,
    wanted: impl Fn(&DeploymentView) -> bool,
) -> DeploymentView {
    eventually(what, PATIENCE, || async {
        let view = view(bus, id).await.map_err(|error| error.to_string())?;
        let status = format!("{} {:?}", view.summary.phase, view.explanation);
        if wanted(&view) { Ok(view) } else { Err(status) }
    })
    .await
}

pub async fn verdict(bus: &Bus, id: &DeploymentId) -> Verdict {
    let closed = until(bus, id, "the deployment ends", |view| view.summary.phase == Phase::Closed).await;
    closed.summary.verdict.unwrap()
}

pub async fn command(bus: &Bus, id: &DeploymentId, action: Action) -> Result<u64, bus::Error> {
    let command = Command { deployment: id.clone(), expect: None, action };
    Ok(bus.call(&subjects::orchestrator::COMMAND, &command, ASK).await?.version)
}

pub fn waits_in_pause(view: &DeploymentView) -> bool {
    view.steps.iter().any(|step| step.id.as_str().contains("pause") && step.status == StepStatus::Scheduled)
}

pub async fn history(bus: &Bus, id: &DeploymentId) -> Vec<model::Record> {
    let request = HistoryRequest { deployment: id.clone() };
    bus.call(&subjects::orchestrator::HISTORY, &request, ASK).await.unwrap().records
}

/// Where a journal stands.
pub fn subject(log: &str, id: &str) -> String {
    format!("code.v1.log.{log}.{}.{id}", bus::shard_of(id))
}

pub async fn journal(bus: &Bus, action: JournalAction) -> Result<JournalReply, bus::Error> {
    let request = JournalRequest { action };
    bus.call(&subjects::orchestrator::JOURNAL, &request, ASK).await
}

/// The journals that are set aside.
pub async fn set_aside(bus: &Bus) -> Vec<Unreadable> {
    journal(bus, JournalAction::List {}).await.unwrap().unreadable
}

/// Has these records passed over.
pub async fn skip(bus: &Bus, id: &str, found: &[Unreadable]) -> Result<JournalReply, bus::Error> {
    let records = found.iter().map(|found| (found.seq, found.digest.clone())).collect();
    journal(bus, JournalAction::Skip { id: id.to_owned(), records, reason: "foreign".into() }).await
}

/// A release of its own, on a target of its own, without a canary.
pub fn small(name: &str) -> String {
    format!(
        r#"
apiVersion: code/v1
name: {name}
target: scripted
modules:
  - name: web
    version: 1.0.0
    run: {{command: [web]}}
"#
    )
}
