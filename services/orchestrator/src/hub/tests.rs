//! What one replica knows and does when it has not heard what another wrote: nothing is followed here, so that what it
//! has not heard is certain.

use std::{sync::Arc, time::Duration};

use bus::{AppendError, Beat, Entry, subjects};
use chassis::Service;
use model::{
    Code, DeploymentId, DeploymentSpec, Event, Phase, Principal, Record, ReplicaId, Span, Timestamp, Verdict,
    command::{Action, Command, Submit},
    deployment::{Cause, CauseKind, Mode},
    target::{Hold, TargetEvent},
};
use testkit::{TestNats, eventually, nats};

use super::Hub;
use crate::{
    Config,
    heart::{Context, Policy, decide, replica, state::Deployment, target::Target, view},
    metrics::Counts,
    store,
};

const PATIENCE: Duration = Duration::from_secs(10);
const SHOP: &str = r#"{"apiVersion": "code/v1", "name": "shop", "target": "scripted",
  "modules": [{"name": "web", "version": "1.0.0", "run": {"command": ["web"]}}]}"#;

async fn replica(nats: &TestNats, config: Config) -> Arc<Hub> {
    let service = Service::for_tests(config, nats.connect("orchestrator").await);
    let counts = Counts::new(&service.metrics);
    let tasks = service.tasks.clone();
    Arc::new(Hub::new(service.bus, service.replica, service.clock, service.config, tasks, counts, None))
}

/// Somebody who only says a name.
fn person(name: &str) -> Principal {
    Principal::stated(name).unwrap()
}

fn spec() -> DeploymentSpec {
    serde_json::from_str(SHOP).unwrap()
}

/// A deployment that another replica drives.
struct Elsewhere {
    id: DeploymentId,
    owner: ReplicaId,
    state: Deployment,
}

impl Elsewhere {
    async fn begin(nats: &TestNats, name: &str) -> Elsewhere {
        Elsewhere::begin_at(nats, name, now()).await
    }

    async fn begin_at(nats: &TestNats, name: &str, at: Timestamp) -> Elsewhere {
        let (id, owner) = (DeploymentId::derived(name), ReplicaId::derived("elsewhere"));
        let submit =
            Submit { document: String::new(), request_id: None, plan: None, force: None, mode: Mode::Apply };
        let mut spec = spec();
        spec.name = name.parse().unwrap();
        let events = vec![
            decide::receive(&submit, &person("ann"), spec),
            Event::OwnerClaimed { owner: owner.clone(), epoch: 1 },
        ];
        let record =
            Record { id: id.to_string(), version: 1, writer: owner.to_string(), at, trace: None, events };
        let seq = nats.bus.append(&subjects::deployment::JOURNAL, id.as_str(), &record, 0).await.unwrap();
        Elsewhere { state: Deployment::begin(&record, seq).unwrap(), id, owner }
    }

    async fn write(&mut self, nats: &TestNats, events: Vec<Event>) -> Entry<Event> {
        let record = replica::record(&self.state, events, &self.owner, now());
        let journal = &subjects::deployment::JOURNAL;
        let seq = nats.bus.append(journal, self.id.as_str(), &record, self.state.seq).await.unwrap();
        self.state.fold(&record, seq).unwrap();
        Entry { seq, record }
    }

    async fn advance(&mut self, nats: &TestNats) -> Entry<Event> {
        let target = Target::default();
        let events = decide::advance(
            &self.state,
            Context {
                now: now(),
                me: &self.owner,
                target: &target,
                policy: Policy::default(),
                approvals: None,
            },
        );
        self.write(nats, events).await
    }

    async fn close(&mut self, nats: &TestNats) -> Entry<Event> {
        let mut summary = view::summary(&self.state);
        summary.phase = Phase::Closed;
        summary.verdict = Some(Verdict::Cancelled);
        summary.closed = Some(now());
        let decided = Event::Decided { verdict: Verdict::Cancelled, cause: None };
        let closed = Event::Closed { verdict: Verdict::Cancelled, cause: None, summary: Box::new(summary) };
        self.write(nats, vec![decided, closed]).await
    }
}

fn now() -> Timestamp {
    chassis::Clock::system().now()
}

async fn journal(nats: &TestNats, id: &DeploymentId) -> Deployment {
    store::load(&nats.bus, id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_command_that_expects_what_was_not_heard_of_yet_is_not_refused() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let mut there = Elsewhere::begin(&nats, "shop").await;
    hub.adopt(&there.id, there.state.clone());
    there.advance(&nats).await;

    let (deployment, expect) = (there.id.clone(), Some(there.state.version));
    let command = Command { deployment, expect, action: Action::Pause {} };
    let accepted = hub.command(command, person("bob")).await.unwrap();

    assert_eq!(accepted.version, there.state.version + 1);
    assert!(hub.show(&there.id).await.unwrap().paused);
}

#[tokio::test]
async fn status_shows_what_was_journalled_elsewhere() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let mut there = Elsewhere::begin(&nats, "shop").await;
    hub.adopt(&there.id, there.state.clone());
    there.advance(&nats).await;

    assert_eq!(hub.show(&there.id).await.unwrap().version, there.state.version);
}

#[tokio::test]
async fn of_two_that_claim_from_a_silent_owner_the_loser_leaves_it_to_the_winner() {
    let nats = nats().await;
    let config = Config { beat: Span::millis(20), silence: Span::millis(200), ..Config::default() };
    let hub = replica(&nats, config).await;
    let mut there = Elsewhere::begin(&nats, "shop").await;
    hub.adopt(&there.id, there.state.clone());
    let winner = ReplicaId::derived("winner");
    there.write(&nats, vec![Event::OwnerClaimed { owner: winner.clone(), epoch: 2 }]).await;

    claim_when_only_we_are_heard(&hub).await;

    let seen = hub.show(&there.id).await.unwrap();
    assert_eq!(seen.owner, Some((winner.to_string(), 2)));
}

#[tokio::test]
async fn a_silent_owner_is_replaced() {
    let nats = nats().await;
    let config = Config { beat: Span::millis(20), silence: Span::millis(200), ..Config::default() };
    let hub = replica(&nats, config).await;
    let there = Elsewhere::begin(&nats, "shop").await;
    hub.adopt(&there.id, there.state.clone());

    claim_when_only_we_are_heard(&hub).await;

    let seen = hub.show(&there.id).await.unwrap();
    assert_eq!(seen.owner.unwrap().0, hub.me.to_string());
}

#[tokio::test]
async fn nobody_is_called_silent_right_after_a_deafness_of_our_own() {
    let nats = nats().await;
    let config = Config { beat: Span::millis(20), silence: Span::millis(300), ..Config::default() };
    let hub = replica(&nats, config).await;
    let there = Elsewhere::begin(&nats, "shop").await;
    hub.adopt(&there.id, there.state.clone());
    let service: model::Token = "orchestrator".parse().unwrap();
    let beat = |replica: &ReplicaId| Beat {
        replica: replica.clone(),
        service: service.clone(),
        at: now(),
        draining: false,
        ready: true,
    };
    for _ in 0..40 {
        hub.beat(&beat(&hub.me));
        hub.beat(&beat(&there.owner));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // The bus was away for longer than the silence; we are the first to hear ourselves again.
    tokio::time::sleep(Duration::from_millis(400)).await;
    hub.beat(&beat(&hub.me));
    hub.claim_from_the_silent();

    assert_eq!(hub.show(&there.id).await.unwrap().owner.unwrap().0, there.owner.to_string());
}

#[tokio::test]
async fn a_deployment_that_ended_while_it_was_looked_for_leaves_nothing_in_memory() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let mut there = Elsewhere::begin(&nats, "shop").await;
    let looked_up = there.state.clone();
    let last = there.close(&nats).await;
    hub.heard(last).await.unwrap();

    hub.adopt(&there.id, looked_up);

    let lines = hub.list();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].phase, lines[0].verdict), (Phase::Closed, Some(Verdict::Cancelled)));
    assert_eq!(hub.in_memory(), 0);
}

#[tokio::test]
async fn the_sweep_tells_a_task_what_it_missed() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let mut released = Elsewhere::begin(&nats, "released").await;
    let mut closed = Elsewhere::begin(&nats, "closed").await;
    hub.adopt(&released.id, released.state.clone());
    hub.adopt(&closed.id, closed.state.clone());
    let owner = released.owner.clone();
    released.write(&nats, vec![Event::OwnerReleased { owner }]).await;
    closed.close(&nats).await;

    hub.sweep().await.unwrap();

    eventually("both are heard of", PATIENCE, || async {
        let owner = journal(&nats, &released.id).await.owner;
        let left = hub.in_memory();
        if owner == Some(hub.me.clone()) && left == 1 { Ok(()) } else { Err(format!("{owner:?} {left}")) }
    })
    .await;
}

#[tokio::test]
async fn one_journal_that_cannot_be_folded_does_not_keep_the_others_from_being_driven() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let mut good = Vec::new();
    for number in 0..8 {
        good.push(Elsewhere::begin(&nats, &format!("good-{number}")).await.id);
        let id = DeploymentId::derived(&format!("bad-{number}"));
        let (version, events) = (1, vec![Event::Validated {}]);
        let record =
            Record { id: id.to_string(), version, writer: "x".into(), at: now(), trace: None, events };
        nats.bus.append(&subjects::deployment::JOURNAL, id.as_str(), &record, 0).await.unwrap();
    }

    hub.sweep().await.unwrap();

    let known: Vec<_> = hub.list().into_iter().map(|line| line.deployment).collect();
    assert!(good.iter().all(|id| known.contains(id)), "{known:?}");
}

#[tokio::test]
async fn the_newest_that_ended_are_remembered_each_once() {
    let nats = nats().await;
    let hub = replica(&nats, Config { remembered: 3, ..Config::default() }).await;
    for number in 0..12 {
        let mut there = Elsewhere::begin_at(&nats, &format!("a-{number}"), Timestamp(1_000 + number)).await;
        there.close(&nats).await;
    }

    hub.sweep().await.unwrap();
    hub.sweep().await.unwrap();

    let received: Vec<_> = hub.list().iter().map(|line| line.received.0).collect();
    assert_eq!(received, [1_011, 1_010, 1_009]);
}

#[tokio::test]
async fn the_list_says_why_while_a_deployment_is_not_over_yet() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let mut there = Elsewhere::begin(&nats, "shop").await;
    hub.adopt(&there.id, there.state.clone());
    let text = "the gate said no".to_owned();
    let cause = Cause { kind: CauseKind::Failed, step: None, gate: None, text, at: now() };
    let entry = there.write(&nats, vec![Event::HumanNeeded { cause }]).await;

    hub.heard(entry).await.unwrap();

    eventually("the line is up to date", PATIENCE, || async {
        let line = hub.list().remove(0);
        let right = line.verdict == Some(Verdict::NeedsHuman) && line.reason == "the gate said no";
        if right && line.phase == Phase::NeedsHuman { Ok(()) } else { Err(format!("{line:?}")) }
    })
    .await;
}

#[tokio::test]
async fn two_that_look_at_a_target_at_once_both_see_its_journal() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let target = spec().target_id();
    hold(&nats, 1, 0).await.unwrap();

    let look = || async { hub.targets.watch(&target).await.unwrap().borrow().held.is_some() };
    let seen = tokio::join!(look(), look());

    assert_eq!(seen, (true, true));
}

#[tokio::test]
async fn the_sweep_looks_at_targets_that_were_not_heard_of() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let watch = hub.targets.watch(&spec().target_id()).await.unwrap();
    hold(&nats, 1, 0).await.unwrap();

    hub.sweep().await.unwrap();

    assert!(watch.borrow().held.is_some());
}

async fn hold(nats: &TestNats, version: u64, seq: u64) -> Result<u64, AppendError> {
    let token = spec().target_id().token();
    let held = TargetEvent::Held(Hold { by: person("ann"), reason: "fair".into(), at: now() });
    let record =
        Record { id: token.clone(), version, writer: "x".into(), at: now(), trace: None, events: vec![held] };
    nats.bus.append(&subjects::target::JOURNAL, &token, &record, seq).await
}

#[tokio::test]
async fn a_command_on_what_is_over_says_so() {
    let nats = nats().await;
    let hub = replica(&nats, Config::default()).await;
    let mut there = Elsewhere::begin(&nats, "shop").await;
    hub.adopt(&there.id, there.state.clone());
    there.close(&nats).await;

    let deployment = there.id.clone();
    let command = Command { deployment, expect: None, action: Action::Pause {} };
    let fault = hub.command(command, person("bob")).await.unwrap_err();

    assert_eq!(fault.code, Code::Conflict);
    assert!(fault.message.contains("cancelled"), "{fault}");
    eventually("it is no longer in memory", PATIENCE, || async {
        if hub.in_memory() == 0 { Ok(()) } else { Err(hub.in_memory()) }
    })
    .await;
}

/// We hear ourselves and nobody else until we may judge who is silent, then claim. When our own beats have a gap, as on a
/// busy machine, the time counts anew.
async fn claim_when_only_we_are_heard(hub: &Hub) {
    let service: model::Token = "orchestrator".parse().unwrap();
    let beat = Beat { replica: hub.me.clone(), service, at: now(), draining: false, ready: true };
    eventually("we may judge who is silent", PATIENCE, || async {
        hub.beat(&beat);
        let may = hub.peers().can_judge(&hub.me, hub.config.silence.0, tokio::time::Instant::now());
        hub.claim_from_the_silent();
        if may { Ok(()) } else { Err("not yet") }
    })
    .await;
}
