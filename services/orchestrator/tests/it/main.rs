//! The orchestrator on a real nats-server, with obedient agents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, Serving, WorkRules, subjects};
use chassis::Service;
use model::{
    Code, DeploymentId, Outcome, Phase, StepKind, Verdict,
    command::{
        Action, Command, ListRequest, PlanRequest, StatusRequest, Submit, TargetAction, TargetCommand,
    },
    deployment::{Mode, StepJob, StepReport},
    step::{Agent, StepResult},
    view::{DeploymentView, StepStatus},
};
use testkit::{TestNats, eventually, nats};

const PATIENCE: Duration = Duration::from_secs(20);
const ASK: Duration = Duration::from_secs(5);

fn shop(version: &str) -> String {
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

/// Agents that do as told: they count what they were asked, and fail the steps they are told to.
struct Agents {
    seen: Arc<Mutex<BTreeMap<String, u32>>>,
    _lanes: Vec<Serving>,
}

async fn agents(bus: &Bus, failing: Option<&'static str>) -> Agents {
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let mut lanes = Vec::new();
    for agent in Agent::ALL {
        let (bus_, seen) = (bus.clone(), seen.clone());
        let handler = move |job: StepJob, _| {
            let (bus, seen) = (bus_.clone(), seen.clone());
            async move {
                *seen.lock().unwrap().entry(format!("{} {}", job.deployment, job.step.id)).or_insert(0) += 1;
                let failed = failing.is_some_and(|failing| job.step.id.as_str().contains(failing));
                let outcome = if failed { Outcome::Failed } else { Outcome::Succeeded };
                let report = StepReport {
                    deployment: job.deployment.clone(),
                    step: job.step.id.clone(),
                    attempt: job.attempt,
                    fence: job.fence,
                    runner: "obedient".into(),
                    result: Some(StepResult::new(outcome, "as told")),
                };
                let id = format!("{}-{}", job.idem_key, job.attempt);
                bus.send(&subjects::orchestrator::REPORT, None, &report, &id).await?;
                Ok(())
            }
        };
        let lane = Some(agent.as_str());
        lanes.push(bus.work(&subjects::agents::STEP, lane, WorkRules::default(), handler).await.unwrap());
    }
    Agents { seen, _lanes: lanes }
}

async fn orchestrator(nats: &TestNats) -> Service<orchestrator::Config> {
    let service = Service::for_tests(orchestrator::Config::default(), nats.connect("orchestrator").await);
    orchestrator::start(service.clone()).await.unwrap();
    service
}

fn submit(document: String) -> Submit {
    Submit { document, initiator: "ann".into(), request_id: None, plan: None, force: None, mode: Mode::Apply }
}

async fn ask(bus: &Bus, submit: &Submit) -> DeploymentId {
    bus.call(&subjects::orchestrator::SUBMIT, submit, ASK).await.unwrap().deployment
}

async fn view(bus: &Bus, id: &DeploymentId) -> Result<DeploymentView, bus::Error> {
    let request = StatusRequest { deployment: id.clone() };
    Ok(bus.call(&subjects::orchestrator::STATUS, &request, ASK).await?.view)
}

async fn until(
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

async fn verdict(bus: &Bus, id: &DeploymentId) -> Verdict {
    let closed = until(bus, id, "the deployment ends", |view| view.summary.phase == Phase::Closed).await;
    closed.summary.verdict.unwrap()
}

async fn command(bus: &Bus, id: &DeploymentId, action: Action) -> Result<u64, bus::Error> {
    let command = Command { deployment: id.clone(), expect: None, by: "bob".into(), action };
    Ok(bus.call(&subjects::orchestrator::COMMAND, &command, ASK).await?.version)
}

fn waits_in_pause(view: &DeploymentView) -> bool {
    view.steps.iter().any(|step| step.id.as_str().contains("pause") && step.status == StepStatus::Scheduled)
}

#[tokio::test]
async fn a_release_goes_from_request_to_promoted_and_a_canary_waits_for_the_person() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);

    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();

    assert_eq!(verdict(&nats.bus, &second).await, Verdict::Promoted);
    let list = nats.bus.call(&subjects::orchestrator::LIST, &ListRequest::default(), ASK).await.unwrap();
    let listed: Vec<_> = list.deployments.iter().map(|line| line.deployment.clone()).collect();
    assert_eq!(listed, [second, first]);
}

#[tokio::test]
async fn a_step_that_fails_rolls_back_and_the_spec_is_quarantined_until_forced() {
    let nats = nats().await;
    let one = orchestrator(&nats).await;
    let first = {
        let _agents = agents(&nats.bus, None).await;
        let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
        assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);
        first
    };
    let _agents = agents(&nats.bus, Some("weight-50")).await;

    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();
    assert_eq!(verdict(&nats.bus, &second).await, Verdict::RolledBack);

    let again = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &again).await, Verdict::Rejected);
    let target = TargetCommand {
        target: "default.scripted.shop".parse().unwrap(),
        by: "ann".into(),
        action: TargetAction::Show {},
    };
    let target = nats.bus.call(&subjects::orchestrator::TARGET, &target, ASK).await.unwrap();
    assert_eq!(target.snapshot.unwrap().deployment, first);
    assert_eq!(target.quarantined.len(), 1);
    assert_eq!(target.holder, None);
    drop(one);
}

#[tokio::test]
async fn another_replica_takes_over_a_killed_one_at_the_same_step() {
    let nats = nats().await;
    let agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);
    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    let two = orchestrator(&nats).await;

    one.crash();
    let owner = two.replica.to_string();
    let taken = until(&nats.bus, &second, "the other takes over", |view| {
        view.owner.as_ref().is_some_and(|(replica, _)| *replica == owner)
    })
    .await;
    assert!(waits_in_pause(&taken));
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();

    assert_eq!(verdict(&nats.bus, &second).await, Verdict::Promoted);
    let seen = agents.seen.lock().unwrap().clone();
    let repeated: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}

#[tokio::test]
async fn a_stopped_replica_hands_over_at_once() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    let two = orchestrator(&nats).await;

    one.stop(Duration::from_secs(5)).await;

    let owner = two.replica.to_string();
    until(&nats.bus, &second, "the other owns it", |view| {
        view.owner.as_ref().is_some_and(|(own, _)| *own == owner)
    })
    .await;
}

#[tokio::test]
async fn two_deployments_of_one_target_take_turns_and_a_third_supersedes() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;

    let holder = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &holder, "the holder pauses", waits_in_pause).await;
    let waiting = ask(&nats.bus, &submit(shop("3.0.0"))).await;
    until(&nats.bus, &waiting, "the second waits", |view| view.summary.phase == Phase::Queued).await;
    let newest = ask(&nats.bus, &submit(format!("{}\nwhenBusy: supersede\n", shop("4.0.0")))).await;

    assert_eq!(verdict(&nats.bus, &holder).await, Verdict::Superseded);
    assert_eq!(verdict(&nats.bus, &waiting).await, Verdict::Superseded);
    until(&nats.bus, &newest, "the newest pauses", waits_in_pause).await;
}

#[tokio::test]
async fn the_same_request_id_is_one_deployment_and_a_bad_spec_says_where() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let keyed = Submit { request_id: Some("build-7".into()), ..submit(shop("1.0.0")) };

    let one = nats.bus.call(&subjects::orchestrator::SUBMIT, &keyed, ASK).await.unwrap();
    let other = nats.bus.call(&subjects::orchestrator::SUBMIT, &keyed, ASK).await.unwrap();
    let bad = submit(shop("1.0.0").replace("replicas: 4", "replicas: 0"));
    let fault = nats.bus.call(&subjects::orchestrator::SUBMIT, &bad, ASK).await.unwrap_err();

    assert_eq!((one.deployment, true), (other.deployment, other.repeated));
    let bus::Error::Fault(fault) = fault else { panic!("{fault}") };
    assert_eq!(fault.code, Code::Invalid);
    assert_eq!((fault.complaints[0].line, fault.complaints[0].field.as_str()), (9, "modules[0].replicas"));
}

#[tokio::test]
async fn a_plan_that_was_seen_is_refused_when_the_target_changed() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let request = PlanRequest { document: shop("2.0.0") };
    let plan = nats.bus.call(&subjects::orchestrator::PLAN, &request, ASK).await.unwrap();
    assert!(
        plan.plan.steps.iter().all(|step| !matches!(step.kind, StepKind::Pause { .. })),
        "a first release has no canary"
    );

    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let stale = ask(&nats.bus, &Submit { plan: Some(plan.digest), ..submit(shop("2.0.0")) }).await;

    assert_eq!(verdict(&nats.bus, &stale).await, Verdict::Rejected);
}
