//! Journals that hold what this engine cannot read: foreign bytes, events of a newer version.

use bus::{Meta, subjects};
use model::{
    DeploymentId, Fence, Outcome, Principal, Record, Timestamp, Verdict,
    command::{Action, HoldingsReply, HoldingsRequest},
    target::TargetEvent,
};
use testkit::{eventually, nats};

use crate::world::*;

#[tokio::test]
async fn one_foreign_byte_keeps_no_orchestrator_from_starting() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    for subject in [
        subject("deployment", "dep-zzz"),
        "code.v1.log.deployment.0.dep-zzz".to_owned(),
        "code.v1.log.deployment.1.Not.A.Name".to_owned(),
        subject("target", "default--scripted--other"),
        "code.v1.log.target.3.x".to_owned(),
    ] {
        nats.publish(&subject, b"x").await;
    }

    let _one = orchestrator(&nats).await;
    let id = ask(&nats.bus, &submit(small("shop"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let named: Vec<_> = set_aside(&nats.bus).await.into_iter().map(|found| (found.log, found.id)).collect();
    for (log, id) in [("deployment", "dep-zzz"), ("target", "default--scripted--other")] {
        assert!(named.contains(&(log.to_owned(), id.to_owned())), "{named:?}");
    }
}

#[tokio::test]
async fn a_deployment_with_a_foreign_record_waits_for_a_person_while_others_go_on() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);
    let held = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &held, "the canary pauses", waits_in_pause).await;
    let before = history(&nats.bus, &held).await;
    nats.publish(&subject("deployment", held.as_str()), b"x").await;
    one.crash();
    let _two = orchestrator(&nats).await;

    // It holds its target, and is named; nobody else is held up.
    let other = ask(&nats.bus, &submit(small("other"))).await;
    assert_eq!(verdict(&nats.bus, &other).await, Verdict::Promoted);
    let found = set_aside(&nats.bus).await;
    assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), [held.as_str()]);
    let error = view(&nats.bus, &held).await.unwrap_err().to_string();
    let words = format!("sequence {}", found[0].seq);
    assert!(error.contains(&words) && error.contains("codectl journal show"), "{error}");
    assert!(command(&nats.bus, &held, Action::Promote { full: false }).await.is_err());
    assert!(skip(&nats.bus, first.as_str(), &found).await.is_err(), "nothing of it is to be passed over");

    skip(&nats.bus, held.as_str(), &found).await.unwrap();
    assert_eq!(set_aside(&nats.bus).await, []);
    until(&nats.bus, &held, "it goes on where it was", waits_in_pause).await;
    command(&nats.bus, &held, Action::Promote { full: false }).await.unwrap();

    assert_eq!(verdict(&nats.bus, &held).await, Verdict::Promoted);
    let after = history(&nats.bus, &held).await;
    assert_eq!(after[..before.len()], before[..]);
    let repair = after[before.len()].events[0].name();
    assert_eq!(repair, "record_skipped");
    assert!(skip(&nats.bus, held.as_str(), &found).await.is_err(), "a second time");
}

/// Nobody asks for it and nothing grows: what a disk did to it is found all the same.
#[tokio::test]
async fn a_record_that_cannot_be_read_in_the_journal_of_what_has_ended_is_found_by_itself() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let id = ask(&nats.bus, &submit(small("shop"))).await;
    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    one.crash();
    // In the middle: the last record is sound, and says that the deployment is over.
    nats.publish(&subject("deployment", id.as_str()), b"x").await;
    let journal = &subjects::deployment::JOURNAL;
    let found = nats.bus.examine(journal, id.as_str()).await.unwrap();
    let last = found.entries.last().unwrap().record.clone();
    let again = Record { version: last.version + 1, ..last };
    nats.bus.append(journal, id.as_str(), &again, found.last_seq).await.unwrap();

    let _two = orchestrator(&nats).await;

    let named = eventually("it is named", PATIENCE, || async {
        let named = set_aside(&nats.bus).await;
        if named.is_empty() { Err("nothing is named") } else { Ok(named) }
    })
    .await;
    assert_eq!((named[0].id.as_str(), named[0].seq), (id.as_str(), found.unreadable[0].seq));
}

/// An engine that can read a record folded it; one that cannot had it passed over, by a person.
#[tokio::test]
async fn what_was_folded_and_is_passed_over_since_is_folded_anew() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _newer = orchestrator(&nats).await;
    let first = ask(&nats.bus, &submit(shop("1.0.0"))).await;
    assert_eq!(verdict(&nats.bus, &first).await, Verdict::Promoted);
    let id = ask(&nats.bus, &submit(shop("2.0.0"))).await;
    until(&nats.bus, &id, "the canary pauses", waits_in_pause).await;
    command(&nats.bus, &id, Action::Pause {}).await.unwrap();
    let paused = until(&nats.bus, &id, "it is paused", |view| view.paused).await;

    let journal = &subjects::deployment::JOURNAL;
    let found = nats.bus.examine(journal, id.as_str()).await.unwrap();
    let last = found.entries.last().unwrap();
    assert_eq!(last.record.events[0].name(), "paused");
    let digest = model::Digest::of_bytes(&bus::Message::encode(&last.record));
    let by = model::Principal::stated("ann").unwrap();
    let skip = model::journal::Skip { seq: last.seq, digest, by, reason: "of a newer engine".into() };
    let events = vec![model::Event::RecordSkipped(skip)];
    let passed_over = Record { writer: "older".into(), events, ..last.record.clone() };
    nats.bus.append(journal, id.as_str(), &passed_over, found.last_seq).await.unwrap();

    until(&nats.bus, &id, "the pause is passed over", |view| !view.paused).await;
    assert_eq!(view(&nats.bus, &id).await.unwrap().version, paused.version);
    command(&nats.bus, &id, Action::Promote { full: false }).await.unwrap();
    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
}

#[tokio::test]
async fn a_target_held_by_a_deployment_that_has_no_journal_any_more_is_free_for_the_next() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let token = "default--scripted--shop";
    let gone = DeploymentId::derived("gone");
    let at = Timestamp(1);
    let record = Record {
        id: token.to_owned(),
        version: 1,
        writer: "rep-1".into(),
        at,
        trace: None,
        events: vec![
            TargetEvent::Queued { deployment: gone.clone(), at },
            TargetEvent::Granted { deployment: gone, token: 1, at, expires: Timestamp(i64::MAX) },
        ],
    };
    nats.bus.append(&subjects::target::JOURNAL, token, &record, 0).await.unwrap();
    let _one = orchestrator(&nats).await;

    let id = ask(&nats.bus, &submit(small("shop"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
}

#[tokio::test]
async fn a_foreign_record_of_a_target_holds_up_this_target_alone() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let one = orchestrator(&nats).await;
    let id = ask(&nats.bus, &submit(small("shop"))).await;
    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let token = "default--scripted--shop";
    nats.publish(&subject("target", token), b"x").await;
    one.crash();
    let _two = orchestrator(&nats).await;

    let refused = nats.bus.call(&subjects::orchestrator::SUBMIT, &submit(small("shop")), ASK).await;
    let other = ask(&nats.bus, &submit(small("other"))).await;
    assert_eq!(verdict(&nats.bus, &other).await, Verdict::Promoted);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(&format!("codectl journal show {token}")), "{refused}");

    let found = set_aside(&nats.bus).await;
    skip(&nats.bus, token, &found).await.unwrap();

    let again = eventually("it takes deployments again", PATIENCE, || async {
        nats.bus.call(&subjects::orchestrator::SUBMIT, &submit(small("shop")), ASK).await
    })
    .await;
    assert_eq!(verdict(&nats.bus, &again.deployment).await, Verdict::Promoted);
}

/// What is lost in the middle of a journal shows only when all of it is read.
#[tokio::test]
async fn a_targets_journal_that_has_a_hole_is_named_once_somebody_asks_for_the_target() {
    let nats = nats().await;
    let _agents = agents(&nats.bus, None).await;
    let _one = orchestrator(&nats).await;
    let token = "default--scripted--shop";
    let events = vec![TargetEvent::Unheld { by: Principal::stated("ann").unwrap() }];
    let (at, writer) = (Timestamp(1), "rep-1".to_owned());
    let second = Record { id: token.to_owned(), version: 2, writer, at, trace: None, events };
    nats.bus.append(&subjects::target::JOURNAL, token, &second, 0).await.unwrap();

    let refused = nats.bus.call(&subjects::orchestrator::SUBMIT, &submit(small("shop")), ASK).await;

    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("its version is 2 after 0"), "{refused}");
    let found = set_aside(&nats.bus).await;
    assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), [token]);
    skip(&nats.bus, token, &found).await.unwrap();
    let again = eventually("it takes deployments again", PATIENCE, || async {
        nats.bus.call(&subjects::orchestrator::SUBMIT, &submit(small("shop")), ASK).await
    })
    .await;
    assert_eq!(verdict(&nats.bus, &again.deployment).await, Verdict::Promoted);
}

#[tokio::test]
async fn a_lock_is_above_every_fence_that_agents_have_seen_although_the_journal_was_lost() {
    let nats = nats().await;
    let fences = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = fences.clone();
    let _agents = agents_that(&nats.bus, move |job, _| {
        seen.lock().unwrap().push(job.fence.lock);
        Does::Ends(Outcome::Succeeded)
    })
    .await;
    let holdings = |_: HoldingsRequest, _: Meta| async {
        let highest = Fence { lock: 7, epoch: 3 };
        Ok(HoldingsReply { instances: Vec::new(), highest, at: Timestamp(1) })
    };
    let _holdings = nats.bus.answer(&subjects::agents::HOLDINGS, 4, holdings).await.unwrap();
    let _one = orchestrator(&nats).await;

    let id = ask(&nats.bus, &submit(small("shop"))).await;

    assert_eq!(verdict(&nats.bus, &id).await, Verdict::Promoted);
    let fences = fences.lock().unwrap();
    assert!(fences.iter().all(|lock| *lock == 0 || *lock == 8) && fences.contains(&8), "{fences:?}");
}
