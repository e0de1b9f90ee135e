//! Several replicas: who takes over, when, and what the world is told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, Drain, Event, Serving, subjects};
use model::{
    DeploymentId, Phase, Principal, Record, ReplicaId, Span, Verdict,
    command::{Action, Command},
    deployment::Event as Fact,
    view::Summary,
};
use orchestrator::{
    Config,
    heart::{decide, state::Deployment, view as show},
};
use testkit::{eventually, nats, never};

use crate::world::*;

fn quick() -> Config {
    Config {
        beat: Span::millis(100),
        silence: Span::millis(400),
        sweep: Span::millis(500),
        ..Config::default()
    }
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

    let unfinished = one.stop(Duration::from_secs(5)).await;

    assert_eq!(unfinished, Vec::<String>::new(), "it waited for these until its time was over");
    let owner = two.replica.to_string();
    until(&nats.bus, &second, "the other owns it", |view| {
        view.owner.as_ref().is_some_and(|(own, _)| *own == owner)
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_while_all_drain_is_done_by_the_next_that_comes() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let before = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &before).await;
    let running = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &running, "the canary pauses", waits_in_pause).await;

    let drain = Drain { replica: one.replica.clone() };
    nats.bus.signal(&subjects::orchestrator::DRAIN, one.replica.as_str(), &drain).await.unwrap();
    until(&nats.bus, &running, "it was let go of", |view| view.owner.is_none()).await;
    let asked = ask(&nats.bus, &submit(small("late"))).await;
    let alone = view(&nats.bus, &asked).await.unwrap();
    let two = orchestrator(&nats).await;

    assert_eq!((alone.summary.phase, alone.owner), (Phase::Received, None));
    assert_eq!(verdict(&nats.bus, &asked).await, Verdict::Promoted);
    let owner = two.replica.to_string();
    until(&nats.bus, &running, "the new one owns it", |view| {
        view.owner.as_ref().is_some_and(|(own, _)| *own == owner)
    })
    .await;
    command(&nats.bus, &running, Action::Promote { full: false }).await.unwrap();
    assert_eq!(verdict(&nats.bus, &running).await, Verdict::Promoted);
}

#[tokio::test]
async fn a_draining_replica_hands_over_and_nothing_is_taken_from_the_one_that_took_it() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let replicas = [
        orchestrator_with(&nats, quick()).await,
        orchestrator_with(&nats, quick()).await,
        orchestrator_with(&nats, quick()).await,
    ];
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    let paused = until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    let owner: ReplicaId = paused.owner.unwrap().0.parse().unwrap();

    let drain = Drain { replica: owner.clone() };
    nats.bus.signal(&subjects::orchestrator::DRAIN, owner.as_str(), &drain).await.unwrap();
    let taken = until(&nats.bus, &second, "another owns it", |view| {
        view.owner.as_ref().is_some_and(|(own, _)| own != owner.as_str())
    })
    .await;

    never("it changes hands again", Duration::from_secs(2), || async {
        let now = view(&nats.bus, &second).await.unwrap().owner;
        (now != taken.owner).then(|| format!("{now:?} after {:?}", taken.owner))
    })
    .await;
    drop(replicas);
}

/// Hears an event and keeps what it said.
async fn hear(bus: &Bus, event: &Event<Summary>) -> (Arc<Mutex<Vec<Summary>>>, Serving) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = heard.clone();
    bus.ensure_event(event, "test").await.unwrap();
    let serving = bus.hear(event, "test", move |said: Summary, _| {
        let keep = keep.clone();
        async move {
            keep.lock().unwrap().push(said);
            Ok(())
        }
    });
    (heard, serving.await.unwrap())
}

/// The journal of a deployment whose owner died after its last record.
async fn orphan(bus: &Bus, then: impl FnOnce(&Deployment) -> Vec<Fact>) -> DeploymentId {
    let (id, owner) = (DeploymentId::new(), ReplicaId::new());
    let asked = submit(small("orphan"));
    let spec = spec::read(&asked.document).unwrap().spec;
    let events = vec![
        decide::receive(&asked, bus.principal(), spec),
        Fact::OwnerClaimed { owner: owner.clone(), epoch: 1 },
    ];
    let at = chassis::Clock::system().now();
    let mut record =
        Record { id: id.to_string(), version: 1, writer: owner.to_string(), at, trace: None, events };
    let state = Deployment::begin(&record, 0).unwrap();
    record.events.extend(then(&state));
    bus.append(&subjects::deployment::JOURNAL, id.as_str(), &record, 0).await.unwrap();
    id
}

#[tokio::test]
async fn an_end_that_nobody_announced_is_announced_by_who_starts_next() {
    let nats = nats().await;
    let id = orphan(&nats.bus, |state| {
        let mut summary = show::summary(state);
        summary.phase = Phase::Closed;
        summary.verdict = Some(Verdict::Cancelled);
        summary.closed = Some(chassis::Clock::system().now());
        let summary = Box::new(summary);
        vec![Fact::Closed { verdict: Verdict::Cancelled, cause: None, summary }]
    })
    .await;
    let (heard, _serving) = hear(&nats.bus, &subjects::deployment::CLOSED).await;

    let _one = orchestrator(&nats).await;
    let _two = orchestrator(&nats).await;

    eventually("the end is announced", PATIENCE, || async {
        if heard.lock().unwrap().is_empty() { Err("not yet") } else { Ok(()) }
    })
    .await;
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.iter().map(|said| said.deployment.clone()).collect::<Vec<_>>(), [id], "once");
}

#[tokio::test]
async fn a_new_owner_says_again_where_the_deployment_is() {
    let nats = nats().await;
    let id = orphan(&nats.bus, |_| {
        vec![Fact::Validated {}, Fact::Paused { by: Principal::stated("ann").unwrap() }]
    })
    .await;
    let (heard, _serving) = hear(&nats.bus, &subjects::deployment::CHANGED).await;

    let _one = orchestrator_with(&nats, quick()).await;

    eventually("its phase is said", PATIENCE, || async {
        let heard = heard.lock().unwrap();
        let said = heard.iter().any(|said| said.deployment == id && said.phase == Phase::Planned);
        if said { Ok(()) } else { Err(format!("{heard:?}")) }
    })
    .await;
}

#[tokio::test]
async fn of_many_racing_commands_that_expect_the_same_revision_one_wins_on_any_replica() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _replicas = [orchestrator(&nats).await, orchestrator(&nats).await];
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    let seen = until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;

    let racing = (0..10).map(|_| {
        let command =
            Command { deployment: second.clone(), expect: Some(seen.version), action: Action::Pause {} };
        let bus = nats.bus.clone();
        async move { bus.call(&subjects::orchestrator::COMMAND, &command, ASK).await }
    });
    let outcomes = futures::future::join_all(racing).await;

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
}
