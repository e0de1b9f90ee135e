//! Whoever dies in the middle, another goes on from the journal: nothing starts twice, nothing is lost.

use std::time::Duration;

use code_tests::cluster::{Cluster, Setting, canary, open_pause, owners, steps_begun, told};
use model::Verdict;
use serde_json::json;
use tokio::time::Instant;

const RATE: u32 = 100;

fn slow_canary() -> serde_json::Value {
    json!({"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "6s"}}, {"setWeight": 50}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_an_orchestrator_killed_in_a_canary_is_replaced_and_no_instance_starts_twice() {
    let mut cluster = Cluster::with(Setting { orchestrators: 0, ..Setting::default() }).await;
    let first = cluster.spawn_orchestrator().await;
    cluster.promote(&cluster.shop("1.0.0", canary())).await;
    let second = cluster.spawn_orchestrator().await;
    let load = cluster.load(RATE);
    let id = cluster.submit(&cluster.shop("2.0.0", slow_canary())).await;
    let paused = cluster.pauses(&id).await;
    let (owner, _) = paused.owner.clone().unwrap();
    let other = if owner == first { &second } else { &first };

    cluster.kill_orchestrator(&owner);
    let killed = Instant::now();
    let taken = cluster
        .until(&id, "the other takes over", |view| {
            view.owner.as_ref().is_some_and(|(owner, _)| owner == other)
        })
        .await;
    let took = killed.elapsed();
    println!("taken over {took:?} after kill -9");
    let view = cluster.closed(&id).await;
    let counts = load.end().await;

    assert!(took < Duration::from_secs(10), "taken over after {took:?}");
    assert_eq!(open_pause(&taken), open_pause(&paused), "at another step:\n{}", told(&taken));
    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
    let journal = cluster.history(&id).await;
    assert_eq!(owners(&journal), [owner, other.clone()]);
    assert!(view.steps.iter().all(|step| step.attempt <= 1), "{}", told(&view));
    cluster.is_back_on("process", "2.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_an_orchestrator_killed_on_the_way_back_is_replaced_and_the_old_release_serves() {
    let mut cluster = Cluster::with(Setting { orchestrators: 0, ..Setting::default() }).await;
    let first = cluster.spawn_orchestrator().await;
    let second = cluster.spawn_orchestrator().await;
    cluster.promote(&cluster.shop("1.0.0", canary())).await;
    let load = cluster.load(RATE);
    let id = cluster.submit(&cluster.shop("2.0.0", slow_canary())).await;
    let paused = cluster.pauses(&id).await;
    let (owner, _) = paused.owner.clone().unwrap();
    let other = if owner == first { second } else { first };

    let reason = "looks odd".to_owned();
    cluster.command(&id, "bob", None, model::command::Action::Abort { reason }).await.unwrap();
    cluster.kill_orchestrator(&owner);
    let view = cluster.closed(&id).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::RolledBack), "{}", told(&view));
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    assert_eq!(owners(&cluster.history(&id).await).last(), Some(&other));
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_agents_that_crash_in_a_canary_go_on_when_they_are_back_and_no_instance_starts_twice() {
    let mut cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", canary())).await;
    let load = cluster.load(RATE);
    load.wait_for(20).await;
    let mut slow = cluster.shop("2.0.0", canary());
    // The instance takes a while, so that the agents die over a step that has begun.
    slow["modules"][0]["environment"]["GREETER_START_DELAY"] = "2s".into();
    let id = cluster.submit(&slow).await;
    cluster
        .until(&id, "an instance is being started", |view| {
            view.steps.iter().any(|step| step.id.as_str().contains("scale") && step.runner.is_some())
        })
        .await;

    cluster.agents.take().unwrap().crash();
    cluster.start_agents().await;
    let view = cluster.closed(&id).await;
    let counts = load.end().await;

    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
    assert!(!steps_begun(&cluster.history(&id).await).is_empty());
    cluster.is_back_on("process", "2.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_the_data_plane_goes_on_while_everything_else_is_away() {
    let mut cluster = Cluster::start().await;
    cluster.promote(&cluster.shop("1.0.0", canary())).await;
    let load = cluster.load(RATE);
    load.wait_for(20).await;

    for orchestrator in cluster.orchestrators.drain(..) {
        orchestrator.crash();
    }
    cluster.agents.take().unwrap().crash();
    cluster.nats.server.kill9().await.unwrap();
    load.wait_for(200).await;
    cluster.nats.server.restart().await.unwrap();
    cluster.start_agents().await;
    cluster.start_orchestrator().await;
    cluster.promote(&cluster.shop("2.0.0", canary())).await;
    let counts = load.end().await;

    assert_eq!((counts.failed(), counts.ended), (0, counts.sent), "{counts:?}");
    assert_eq!(cluster.started_twice(), Vec::<String>::new());
}
