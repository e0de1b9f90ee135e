//! Journals whose newest records a disk has changed while everything was down.

use model::{Span, Verdict, command::Action};
use orchestrator::Config;
use testkit::{TestNats, eventually, nats, spoil};

use crate::world::*;

/// Stops the server, damages the newest records of a journal, and starts it again.
async fn damage(nats: &mut TestNats, log: &str, id: &str, count: usize) -> Vec<u64> {
    nats.server.stop().await.unwrap();
    let stream = format!("LOG_{log}_{}", bus::shard_of(id));
    let damaged = spoil(nats.folder(), &stream, &subject(log, id), count);
    nats.server.restart().await.unwrap();
    eventually("the server is there again", PATIENCE, || nats.bus.durable_writes()).await;
    damaged
}

/// It is named, and is all that is.
async fn named(nats: &TestNats, id: &str) -> Vec<model::journal::Unreadable> {
    eventually("it is named", PATIENCE, || async {
        let found = set_aside(&nats.bus).await;
        let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
        if ids == [id] { Ok(found) } else { Err(format!("{ids:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_deployment_whose_newest_records_are_damaged_waits_for_a_person_while_others_go_on() {
    let mut nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);
    let held = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &held, "the canary pauses", waits_in_pause).await;
    one.crash();
    damage(&mut nats, "deployment", held.as_str(), 2).await;
    let _two = orchestrator(&nats).await;

    let other = ask(&nats.bus, &submit(small("other"))).await;
    assert_eq!(verdict(&nats.bus, &other).await, Verdict::Promoted);
    let found = named(&nats, held.as_str()).await;
    let error = view(&nats.bus, &held).await.unwrap_err().to_string();
    assert!(error.contains("is set aside") && error.contains("codectl journal show"), "{error}");
    let error = command(&nats.bus, &held, Action::Promote { full: false }).await.unwrap_err().to_string();
    assert!(error.contains("is set aside"), "{error}");

    skip(&nats.bus, held.as_str(), &found).await.unwrap();
    assert_eq!(set_aside(&nats.bus).await, []);
    until(&nats.bus, &held, "it goes on where it was", waits_in_pause).await;
    command(&nats.bus, &held, Action::Promote { full: false }).await.unwrap();

    assert_eq!(verdict(&nats.bus, &held).await, Verdict::Promoted);
    let all = history(&nats.bus, &held).await;
    assert!(all.iter().any(|record| record.events[0].name() == "record_skipped"), "{all:?}");
}

/// The orchestrator has folded what is damaged now.
#[tokio::test]
async fn a_deployment_under_way_says_that_its_journal_is_set_aside_and_goes_on_after_the_repair() {
    let mut nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);
    let held = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &held, "the canary pauses", waits_in_pause).await;
    damage(&mut nats, "deployment", held.as_str(), 1).await;

    let promote = || command(&nats.bus, &held, Action::Promote { full: false });
    let error = eventually("it is refused", PATIENCE, || async {
        let error = promote().await.err().map(|error| error.to_string()).unwrap_or_default();
        if error.contains("is set aside") { Ok(error) } else { Err(error) }
    })
    .await;
    assert!(error.contains("codectl journal show"), "{error}");
    let found = named(&nats, held.as_str()).await;
    let shown = view(&nats.bus, &held).await.unwrap();
    assert!(shown.explanation.details[0].contains("is set aside"), "{:?}", shown.explanation);
    skip(&nats.bus, held.as_str(), &found).await.unwrap();

    until(&nats.bus, &held, "it goes on where it was", waits_in_pause).await;
    eventually("it is promoted", PATIENCE, promote).await;
    assert_eq!(verdict(&nats.bus, &held).await, Verdict::Promoted);
}

#[tokio::test]
async fn a_target_whose_newest_record_is_damaged_holds_up_this_target_alone() {
    let mut nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let id = ask(&nats.bus, &submit(small("shop"))).await;
    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let token = "default--scripted--shop";
    one.crash();
    damage(&mut nats, "target", token, 1).await;
    // What is lost is that the target was given back: a sweep finds that its holder is over.
    let _two = orchestrator_with(&nats, Config { sweep: Span::millis(500), ..Config::default() }).await;

    let shop = submit(small("shop"));
    let submit_again = || nats.bus.call(&bus::subjects::orchestrator::SUBMIT, &shop, ASK);
    let refused = submit_again().await.unwrap_err().to_string();
    let other = ask(&nats.bus, &submit(small("other"))).await;
    assert_eq!(verdict(&nats.bus, &other).await, Verdict::Promoted);
    assert!(refused.contains(&format!("codectl journal show {token}")), "{refused}");

    let found = named(&nats, token).await;
    skip(&nats.bus, token, &found).await.unwrap();
    let again = eventually("it takes deployments again", PATIENCE, submit_again).await;

    assert_eq!(verdict(&nats.bus, &again.deployment).await, Verdict::Promoted);
}
