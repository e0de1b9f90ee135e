use std::time::Duration;

use bus::{Bus, Outbox, Said, subjects::orchestrator};
use futures::StreamExt;
use model::{
    Code, DeploymentId, Fault, Timestamp,
    audit::{AuditOutcome, AuditRecord},
    command::{HistoryReply, HistoryRequest},
};
use testkit::nats;
use wire::Message;

use crate::LONG;

fn fact(subject: &str) -> AuditRecord {
    AuditRecord {
        detail: serde_json::json!({}),
        ..AuditRecord::new(Timestamp(1), "ada", "key.revoked", subject, AuditOutcome::Done)
    }
}

/// What stands on the trail, the first so many.
async fn trail(bus: &Bus, count: usize) -> Vec<AuditRecord> {
    let heard =
        bus.hear_all("TRAIL", 0).take(count).map(|heard| AuditRecord::decode(&heard.payload).unwrap());
    // Thousands of durable publishes, one after the other.
    tokio::time::timeout(4 * LONG, heard.collect()).await.expect("facts are missing on the trail")
}

/// Nothing stands on the trail but these, each once.
async fn subjects(bus: &Bus, outbox: &Outbox, expected: &[String]) {
    // One more, so that what was said twice shows.
    assert_eq!(outbox.say(fact("last"), LONG).await.unwrap(), Said::Stored);
    let found: Vec<String> =
        trail(bus, expected.len() + 1).await.into_iter().map(|record| record.subject).collect();
    assert_eq!(found[..expected.len()], *expected);
    assert_eq!(found[expected.len()], "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_denied_is_on_the_trail_before_they_hear_it() {
    let nats = nats().await;
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, |_, _| {
            std::future::ready(Err::<HistoryReply, _>(Fault::new(Code::Denied, "mallory may\nnot")))
        })
        .await
        .unwrap();

    let question = HistoryRequest { deployment: DeploymentId::derived("q") };
    let asker = nats.connect("asker").await;
    let error = asker.call(&orchestrator::HISTORY, &question, LONG).await.unwrap_err();
    assert_eq!(error.code(), Code::Denied);

    let found = trail(&nats.bus, 1).await.remove(0);
    assert_eq!((found.actor.as_str(), found.action.as_str()), ("unauthenticated:asker", "call.denied"));
    assert_eq!((found.subject.as_str(), found.outcome), ("orchestrator.history", AuditOutcome::Denied));
    assert_eq!(found.reason.as_deref(), Some("mallory may not"));
    assert!(found.source.starts_with("calls-test-") && found.counter == 1, "{}", found.source);
    assert!(found.trace.unwrap().starts_with("00-") && found.at > Timestamp(1_700_000_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_while_nats_is_gone_is_there_once_when_it_is_back() {
    let mut nats = nats().await;
    let outbox = nats.bus.outbox("gateway").unwrap();
    let all: Vec<String> = (1..=30).map(|number| format!("key-{number}")).collect();
    for subject in &all[..10] {
        assert_eq!(outbox.say(fact(subject), LONG).await.unwrap(), Said::Stored);
    }

    nats.server.kill9().await.unwrap();
    for subject in &all[10..] {
        assert_eq!(outbox.say(fact(subject), Duration::ZERO).await.unwrap(), Said::Waiting);
    }
    assert_eq!(outbox.waiting(), 20);
    nats.server.restart().await.unwrap();

    subjects(&nats.bus, &outbox, &all).await;
    assert_eq!(outbox.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_is_bounded_and_says_how_much_it_did_not_take() {
    let mut nats = nats().await;
    let outbox = nats.bus.outbox("gateway").unwrap();
    nats.server.kill9().await.unwrap();
    for _ in 0..2000 {
        outbox.say(fact("key"), Duration::ZERO).await.unwrap();
    }

    for _ in 0..3 {
        let error = outbox.say(fact("key"), Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code(), Code::Overloaded, "{error}");
    }
    nats.server.restart().await.unwrap();
    testkit::eventually("there is room", LONG, || async {
        if outbox.waiting() < 1900 { Ok(()) } else { Err(outbox.waiting()) }
    })
    .await;
    outbox.say(fact("after"), Duration::ZERO).await.unwrap();

    let after = trail(&nats.bus, 2001).await.pop().unwrap();
    assert_eq!((after.counter, after.detail), (2001, serde_json::json!({ "unrecorded": 3 })));
}
