//! What no journal holds: calls that were refused, and facts that wait in an outbox.

use std::time::Duration;

use bus::{Said, subjects::audit as speech, subjects::orchestrator};
use model::{
    Code, DeploymentId, Fault,
    audit::{AuditOutcome, AuditSearch},
    command::{HistoryReply, HistoryRequest},
};

use crate::support::{LONG, Place, checked, fact, included, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_call_ends_as_a_leaf_that_is_found() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let _service = place.started().await;
    let _answering = bus
        .answer(&orchestrator::HISTORY, 1, |_, _| {
            std::future::ready(Err::<HistoryReply, _>(Fault::new(Code::Denied, "mallory may not look")))
        })
        .await
        .unwrap();

    let question = HistoryRequest { deployment: DeploymentId::derived("q") };
    let mallory = place.nats.connect("mallory").await;
    for _ in 0..3 {
        let error = mallory.call(&orchestrator::HISTORY, &question, LONG).await.unwrap_err();
        assert_eq!(error.code(), Code::Denied);
    }

    let search = AuditSearch {
        action: Some("call.denied".into()),
        outcome: Some(AuditOutcome::Denied),
        actor: Some("unauthenticated:mallory".into()),
        ..AuditSearch::default()
    };
    let found = testkit::eventually("the refusals are found", LONG, || async {
        let page = bus.call(&speech::SEARCH, &search, LONG).await.unwrap();
        if page.entries.len() >= 3 { Ok(page.entries) } else { Err(page.entries.len()) }
    })
    .await;
    let counts: Vec<u64> = found.iter().rev().map(|entry| entry.record.counter).collect();
    assert_eq!(counts, [1, 2, 3], "each once");
    assert_eq!(found[0].record.subject, "orchestrator.history");
    assert_eq!(found[0].record.reason.as_deref(), Some("mallory may not look"));
    assert!(found[0].record.trace.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_in_an_outbox_survive_a_kill_of_nats_without_a_hole_or_a_double() {
    let mut place = Place::new().await;
    let service = place.started().await;
    let outbox = place.nats.bus.outbox("gateway").unwrap();
    for counter in 1..=60 {
        let said = outbox.say(fact("", counter), Duration::ZERO).await.unwrap();
        assert!(matches!(said, Said::Stored | Said::Waiting));
        match counter {
            15 | 45 => place.nats.server.kill9().await.unwrap(),
            20 | 50 => place.nats.server.restart().await.unwrap(),
            _ => {}
        }
    }

    included(&place.nats.bus, 60).await;
    assert_eq!(status(&place.nats.bus, false).await.alarms, Vec::<String>::new());
    service.stop(LONG).await;
    let (report, records) = checked(place.folder.path());
    assert!(report.is_clean(), "{report:?}");
    let counts: Vec<u64> = records.iter().map(|record| record.counter).collect();
    assert_eq!(counts, (1..=60).collect::<Vec<_>>());
}
