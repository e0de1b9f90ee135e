//! The broker goes away and comes back.

use std::time::Duration;

use bus::Bus;
use model::{Verdict, command::Action};
use orchestrator::Config;
use testkit::{Proxy, eventually, nats};

use crate::world::*;

const LONGER_THAN_SILENCE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_broker_that_was_killed_and_comes_back_costs_time_and_no_deployment() {
    let mut nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _replicas = [orchestrator(&nats).await, orchestrator(&nats).await];
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    let paused = until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    let mut others = Vec::new();
    for number in 0..10 {
        others.push(ask(&nats.bus, &submit(small(&format!("other-{number}")))).await);
    }

    nats.server.kill9().await.unwrap();
    tokio::time::sleep(LONGER_THAN_SILENCE).await;
    nats.server.restart().await.unwrap();

    for id in &others {
        assert_eq!(verdict(&nats.bus, id).await, Verdict::Promoted);
    }
    let after = until(&nats.bus, &second, "it still pauses", waits_in_pause).await;
    assert_eq!(after.owner, paused.owner, "nobody died, so nobody is replaced");
    eventually("the promotion is taken", PATIENCE, || async {
        let outcome = command(&nats.bus, &second, Action::Promote { full: false }).await;
        outcome.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(verdict(&nats.bus, &second).await, Verdict::Promoted);
}

#[tokio::test]
async fn an_owner_that_is_cut_off_is_replaced_and_leaves_it_at_that_when_it_is_back() {
    let nats = nats().await;
    let agents = agents(&nats.bus, None).await;
    let proxy = Proxy::before(&nats.server.url()).await;
    let far = Bus::connect(&nats.settings_for(&proxy.url(), "far")).await.unwrap();
    let _one = orchestrator_on(far, Config::default()).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    verdict(&nats.bus, &first).await;
    let second = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &second, "the canary pauses", waits_in_pause).await;
    let two = orchestrator(&nats).await;

    proxy.cut();
    let owner = two.replica.to_string();
    let taken = eventually("the other takes over", PATIENCE, || async {
        let view = view(&nats.bus, &second).await.map_err(|error| error.to_string())?;
        let taken = view.owner.as_ref().is_some_and(|(own, _)| *own == owner);
        if taken { Ok(view) } else { Err(format!("{:?}", view.owner)) }
    })
    .await;
    proxy.heal();
    command(&nats.bus, &second, Action::Promote { full: false }).await.unwrap();

    assert_eq!(verdict(&nats.bus, &second).await, Verdict::Promoted);
    let owner = |view: &model::view::DeploymentView| view.owner.clone().map(|(owner, _)| owner);
    assert_eq!(owner(&view(&nats.bus, &second).await.unwrap()), owner(&taken));
    let seen = agents.seen.lock().unwrap().clone();
    let repeated: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}
