//! What the tests of the orchestrator stand on: a spec, agents that do as told, and short ways to ask.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, Meta, Serving, WorkRules, subjects};
use chassis::Service;
use model::{
    DeploymentId, Outcome, Phase, Verdict,
    command::{Action, Command, HistoryRequest, StatusRequest, Submit},
    deployment::{Mode, StepJob, StepReport},
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
pub enum Does {
    /// Reports this outcome.
    Reports(Outcome),
    /// Reports that it began, and no more.
    Begins,
    /// Loses the job.
    Nothing,
}

/// Agents that do as told: they count what they were asked for, and under which trace.
pub struct Agents {
    /// How often each step of each deployment was asked for.
    pub seen: Arc<Mutex<BTreeMap<String, u32>>>,
    /// The traceparents of the jobs.
    pub traces: Arc<Mutex<Vec<Option<String>>>>,
    _lanes: Vec<Serving>,
}

/// Obedient agents that fail the steps they are told to.
pub async fn agents(bus: &Bus, failing: Option<&'static str>) -> Agents {
    agents_that(bus, move |job, _| {
        let failed = failing.is_some_and(|failing| job.step.id.as_str().contains(failing));
        Does::Reports(if failed { Outcome::Failed } else { Outcome::Succeeded })
    })
    .await
}

/// Agents that are told for each job, by how often it came, what to do.
pub async fn agents_that(
    bus: &Bus,
    told: impl Fn(&StepJob, u32) -> Does + Clone + Send + Sync + 'static,
) -> Agents {
    let (seen, traces) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(Mutex::new(Vec::new())));
    let mut lanes = Vec::new();
    for agent in Agent::ALL {
        let (bus_, seen, traces, told) = (bus.clone(), seen.clone(), traces.clone(), told.clone());
        let handler = move |job: StepJob, meta: Meta| {
            let (bus, seen, traces, told) = (bus_.clone(), seen.clone(), traces.clone(), told.clone());
            async move {
                traces.lock().unwrap().push(meta.trace);
                let times = {
                    let mut seen = seen.lock().unwrap();
                    let times = seen.entry(format!("{} {}", job.deployment, job.step.id)).or_insert(0);
                    *times += 1;
                    *times
                };
                let result = match told(&job, times) {
                    Does::Reports(outcome) => Some(StepResult::new(outcome, "as told")),
                    Does::Begins => None,
                    Does::Nothing => return Ok(()),
                };
                let id = format!("{}-{}-{}-{times}", job.idem_key, job.attempt, result.is_some());
                let report = StepReport {
                    deployment: job.deployment.clone(),
                    step: job.step.id.clone(),
                    attempt: job.attempt,
                    fence: job.fence,
                    runner: "obedient".into(),
                    result,
                };
                bus.send(&subjects::orchestrator::REPORT, None, &report, &id).await?;
                Ok(())
            }
        };
        let lane = Some(agent.as_str());
        lanes.push(bus.work(&subjects::agents::STEP, lane, WorkRules::default(), handler).await.unwrap());
    }
    Agents { seen, traces, _lanes: lanes }
}

pub async fn orchestrator(nats: &TestNats) -> Service<Config> {
    orchestrator_with(nats, Config::default()).await
}

pub async fn orchestrator_with(nats: &TestNats, config: Config) -> Service<Config> {
    orchestrator_on(nats.connect("orchestrator").await, config).await
}

pub async fn orchestrator_on(bus: Bus, config: Config) -> Service<Config> {
    let service = Service::for_tests(config, bus);
    orchestrator::start(service.clone()).await.unwrap();
    service
}

pub fn submit(document: String) -> Submit {
    Submit { document, initiator: "ann".into(), request_id: None, plan: None, force: None, mode: Mode::Apply }
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
    let command = Command { deployment: id.clone(), expect: None, by: "bob".into(), action };
    Ok(bus.call(&subjects::orchestrator::COMMAND, &command, ASK).await?.version)
}

pub fn waits_in_pause(view: &DeploymentView) -> bool {
    view.steps.iter().any(|step| step.id.as_str().contains("pause") && step.status == StepStatus::Scheduled)
}

pub async fn history(bus: &Bus, id: &DeploymentId) -> Vec<model::Record> {
    let request = HistoryRequest { deployment: id.clone() };
    bus.call(&subjects::orchestrator::HISTORY, &request, ASK).await.unwrap().records
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
