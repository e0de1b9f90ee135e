//! Many at once, and many one after the other.

use std::time::Duration;

use bus::subjects;
use futures::{StreamExt, stream};
use model::{
    Phase, Verdict,
    command::{ListRequest, Submit},
    deployment::Mode,
};
use orchestrator::Config;
use testkit::{eventually, nats};

use crate::world::*;

/// Far longer than two cores need, because a debug build shares them with other tests.
const LONG: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_on_two_replicas_all_end_well() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let replicas = [orchestrator(&nats).await, orchestrator(&nats).await];

    let asked = stream::iter(0..200).map(|number| {
        let bus = nats.bus.clone();
        async move { ask(&bus, &submit(small(&format!("app-{number}")))).await }
    });
    let ids: Vec<_> = asked.buffer_unordered(16).collect().await;

    let request = ListRequest { limit: Some(1000), ..ListRequest::default() };
    eventually("all end", LONG, || async {
        let lines = nats.bus.call(&subjects::orchestrator::LIST, &request, ASK).await;
        let lines = lines.map_err(|error| error.to_string())?.deployments;
        let over = lines.iter().filter(|line| line.verdict == Some(Verdict::Promoted)).count();
        if over == ids.len() { Ok(()) } else { Err(format!("{over} of {}", ids.len())) }
    })
    .await;
    for replica in replicas {
        eventually("no task is left", PATIENCE, || async {
            let left = replica.tasks.names().into_iter().filter(|name| name.starts_with("drive")).count();
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_leaves_one_line_and_the_newest_are_kept() {
    let nats = nats().await;
    let config = Config { remembered: 50, ..Config::default() };
    let one = orchestrator_with(&nats, config).await;

    // Refused at once, because it never ran there.
    let asked = stream::iter(0..300).map(|number| {
        let bus = nats.bus.clone();
        let submit = Submit { mode: Mode::Rollback, ..submit(small(&format!("app-{number}"))) };
        async move { ask(&bus, &submit).await }
    });
    let ids: Vec<_> = asked.buffered(8).collect().await;

    eventually("no task is left", LONG, || async {
        let left = one.tasks.names().into_iter().filter(|name| name.starts_with("drive")).count();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    let request = ListRequest { limit: Some(1000), ..ListRequest::default() };
    let lines = nats.bus.call(&subjects::orchestrator::LIST, &request, ASK).await.unwrap().deployments;
    assert_eq!(lines.len(), 50);
    assert!(lines.iter().all(|line| line.phase == Phase::Closed));
    assert!(lines.iter().all(|line| ids[230..].contains(&line.deployment)), "the newest");
}
