use bus::{subjects, subjects::audit as speech};
use ledger::{ProofFile, SignedCheckpoint};
use model::{
    Code, Principal, Record, Timestamp,
    audit::{
        AuditAwait, AuditAwaited, AuditConsistencyRequest, AuditEntriesRequest, AuditLevel, AuditOutcome,
        AuditProofRequest, AuditReportRequest, AuditSearch,
    },
    target::{Hold, TargetEvent},
};

use crate::support::{LONG, Place, append, checked, fact, included, policy, status};

fn journal(version: u64, events: Vec<TargetEvent>) -> Record<TargetEvent> {
    Record {
        id: "prod--docker--shop".to_owned(),
        version,
        writer: "rep-1".to_owned(),
        at: Timestamp(1_750_000_000_000),
        trace: Some("00-1-2-01".to_owned()),
        events,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_journal_says_can_be_proven_offline() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let held = TargetEvent::Held(Hold {
        by: Principal::stated("ada").unwrap(),
        reason: "freeze".into(),
        at: Timestamp(1),
    });
    let record = journal(1, vec![held, TargetEvent::Unheld { by: Principal::stated("bob").unwrap() }]);
    // Also what was said before the log was there.
    bus.append(&subjects::target::JOURNAL, "prod--docker--shop", &record, 0).await.unwrap();
    let _service = place.started().await;

    let request = AuditAwait {
        noun: "target".into(),
        journal: "prod--docker--shop".into(),
        version: 1,
        level: AuditLevel::Included,
    };
    let found: AuditAwaited = bus.call(&speech::AWAIT, &request, LONG).await.unwrap();
    assert_eq!(found.leaves, 2);
    let proof =
        bus.call(&speech::PROVE, &AuditProofRequest::Index { index: found.index }, LONG).await.unwrap();

    let file: ProofFile = proof.proof.parse().unwrap();
    let proven = file.check(proof.leaf.as_bytes(), &policy(place.folder.path())).unwrap();
    assert_eq!(proven.trust.log.len(), 2, "signed with both keys");
    let leaf: model::audit::AuditRecord = serde_json::from_str(&proof.leaf).unwrap();
    assert_eq!((leaf.actor.as_str(), leaf.action.as_str()), ("unauthenticated:ada", "target.held"));
    assert_eq!(
        (leaf.reason.as_deref(), leaf.cause.as_deref()),
        (Some("freeze"), Some("prod--docker--shop:1"))
    );
    assert_eq!((leaf.part, leaf.parts), (1, 2));
    assert!(file.check(proof.leaf.replace("ada", "eve").as_bytes(), &policy(place.folder.path())).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_is_kept_once_however_often_it_is_handed_over() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let service = place.started().await;
    let facts = || (1..=50).map(|counter| fact("gateway", counter)).collect::<Vec<_>>();

    let first = append(bus, facts(), AuditLevel::Included).await.unwrap();
    let again = append(bus, facts(), AuditLevel::Accepted).await.unwrap();
    let indices = |receipts: &model::audit::AuditReceipts| {
        receipts.receipts.iter().map(|receipt| receipt.index).collect::<Vec<_>>()
    };
    assert_eq!(indices(&first), indices(&again));
    assert!(again.receipts.iter().all(|receipt| receipt.repeated));

    let mut other = fact("gateway", 7);
    other.actor = "eve".into();
    let error = append(bus, vec![other], AuditLevel::Accepted).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict, "{error}");

    // A restart forgets nothing of it.
    service.stop(LONG).await;
    drop(service);
    let _service = place.started().await;
    let after = append(bus, facts(), AuditLevel::Accepted).await.unwrap();
    assert_eq!(indices(&after), indices(&first));
    let (report, records) = checked(place.folder.path());
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(records.iter().filter(|record| record.source == "gateway").count(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_pretends_to_be_another_source_is_refused() {
    let place = Place::new().await;
    let _service = place.started().await;
    for (change, why) in
        [("LOG_deployment_0", "is not a source"), ("audit", "is not a source"), ("", "is not a source")]
    {
        let error = append(&place.nats.bus, vec![fact(change, 1)], AuditLevel::Accepted).await.unwrap_err();

        assert_eq!(error.code(), Code::Invalid);
        assert!(error.to_string().contains(why), "{error}");
    }
    let mut long = fact("gateway", 1);
    long.detail = serde_json::json!("x".repeat(20_000));
    let error = append(&place.nats.bus, vec![long], AuditLevel::Accepted).await.unwrap_err();
    assert!(error.to_string().contains("keep the large part as evidence"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_count_becomes_an_alarm_and_a_leaf() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let _service = place.started().await;
    append(bus, vec![fact("gateway", 1), fact("gateway", 4)], AuditLevel::Accepted).await.unwrap();

    let status = testkit::eventually("the hole is told", LONG, || async {
        let status = status(bus, true).await;
        if status.alarms.is_empty() { Err("no alarm") } else { Ok(status) }
    })
    .await;
    assert!(status.alarms[0].contains("counts 2 to 3 of gateway did not arrive"), "{:?}", status.alarms);
    let late = append(bus, vec![fact("gateway", 2)], AuditLevel::Included).await.unwrap();
    assert!(!late.receipts[0].repeated);

    let (report, records) = checked(place.folder.path());
    assert!(report.is_clean());
    let holes: Vec<&str> = records
        .iter()
        .filter(|record| record.action == "audit.hole")
        .map(|record| record.subject.as_str())
        .collect();
    assert_eq!(holes, ["gateway"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_searched_paged_and_counted() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let _service = place.started().await;
    append(bus, (1..=300).map(|counter| fact("gateway", counter)).collect(), AuditLevel::Included)
        .await
        .unwrap();
    testkit::eventually("all is searchable", LONG, || async {
        let status = status(bus, false).await;
        if status.searchable >= 300 { Ok(()) } else { Err(status.searchable) }
    })
    .await;

    let mut search =
        AuditSearch { actor: Some("person-3".into()), limit: Some(20), ..AuditSearch::default() };
    let mut found = Vec::new();
    loop {
        let page = bus.call(&speech::SEARCH, &search, LONG).await.unwrap();
        found.extend(page.entries.iter().map(|entry| entry.record.counter));
        let Some(next) = page.next else { break };
        search.before = Some(next);
    }
    let expected: Vec<u64> = (1..=300).rev().filter(|counter| counter % 7 == 3).collect();
    assert_eq!(found, expected);

    let report = bus.call(&speech::REPORT, &AuditReportRequest::default(), LONG).await.unwrap();
    assert_eq!(report.total, 300);
    assert_eq!((report.actions[0].name.as_str(), report.actions[0].count), ("call.denied", 300));
    let entries =
        bus.call(&speech::ENTRIES, &AuditEntriesRequest { from: 250, limit: Some(100) }, LONG).await.unwrap();
    assert_eq!(entries.entries.len(), 50);
    assert_eq!(entries.entries[0].index, 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brute_force_attack_becomes_an_alert_in_the_log() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let _service = place.started().await;
    let attack = (1..=6)
        .map(|counter| {
            let mut record = fact("gateway", counter);
            (record.actor, record.outcome) = ("mallory".into(), AuditOutcome::Denied);
            record
        })
        .collect();
    append(bus, attack, AuditLevel::Accepted).await.unwrap();

    let alerts = testkit::eventually("the alert is there", LONG, || async {
        let report = bus.call(&speech::REPORT, &AuditReportRequest::default(), LONG).await.unwrap();
        if report.alerts.is_empty() { Err("no alert") } else { Ok(report.alerts) }
    })
    .await;
    assert_eq!(alerts[0].record.action, "alert.brute-force");
    assert!(alerts[0].record.reason.as_deref().unwrap_or_default().contains("mallory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_is_proven_to_be_the_beginning_of_the_newer() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let _service = place.started().await;
    append(bus, vec![fact("a", 1)], AuditLevel::Included).await.unwrap();
    let old: SignedCheckpoint = status(bus, true).await.checkpoint.parse().unwrap();
    append(bus, (1..=400).map(|counter| fact("b", counter)).collect(), AuditLevel::Included).await.unwrap();

    let old = old.unverified();
    let proof =
        bus.call(&speech::CONSISTENCY, &AuditConsistencyRequest { old: old.size }, LONG).await.unwrap();
    let new: SignedCheckpoint = proof.checkpoint.parse().unwrap();
    let hashes: Vec<ledger::Hash> =
        proof.hashes.iter().map(|hash| serde_json::from_value(serde_json::json!(hash)).unwrap()).collect();
    let proof = ledger::ConsistencyProof { old: old.size, new: new.unverified().size, hashes };
    proof.verify(&old.root, &new.unverified().root).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_the_older_one_stops() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let first = place.started().await;
    append(bus, vec![fact("a", 1)], AuditLevel::Included).await.unwrap();

    // On this machine the folder is locked.
    let error = place.start(place.config()).await.err().unwrap();
    assert!(matches!(error, audit::Error::Fenced(_)), "{error}");

    // Another machine that took over with a copy of the folder.
    first.stop(LONG).await;
    drop(first);
    let copy = tempfile::tempdir().unwrap();
    copy_all(place.folder.path(), copy.path());
    let first = place.started().await;
    let config = audit::AuditConfig { state_dir: copy.path().to_owned(), ..place.config() };
    let _second = place.start(config).await.unwrap();
    let failed = tokio::time::timeout(LONG, first.failed()).await.expect("the older one stops");
    assert!(failed.cause.contains("another writer has the log"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_log_is_not_continued() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let service = place.started().await;
    append(bus, vec![fact("a", 1)], AuditLevel::Included).await.unwrap();
    service.stop(LONG).await;
    drop(service);
    let copy = tempfile::tempdir().unwrap();
    copy_all(place.folder.path(), copy.path());
    let service = place.started().await;
    append(bus, vec![fact("a", 2)], AuditLevel::Included).await.unwrap();
    service.stop(LONG).await;
    drop(service);

    let config = audit::AuditConfig { state_dir: copy.path().to_owned(), ..place.config() };
    let error = place.start(config).await.err().unwrap();

    assert!(error.to_string().contains("is not the newest: size 2 was signed, it has 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_nats_loses_and_repeats_nothing() {
    let mut place = Place::new().await;
    let service = place.started().await;
    for counter in 1..=20 {
        let record = fact("a", counter);
        place.nats.bus.trail(&speech::TRAIL, "a", &format!("a:{counter}"), &record).await.unwrap();
        if counter == 10 {
            place.nats.server.restart().await.unwrap();
        }
    }

    included(&place.nats.bus, 20).await;
    service.stop(LONG).await;
    let (report, records) = checked(place.folder.path());
    assert!(report.is_clean(), "{report:?}");
    let counts: Vec<u64> = records.iter().map(|record| record.counter).collect();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_made_again_from_the_log() {
    let place = Place::new().await;
    let bus = &place.nats.bus;
    let service = place.started().await;
    append(bus, (1..=100).map(|counter| fact("a", counter)).collect(), AuditLevel::Included).await.unwrap();
    service.stop(LONG).await;
    drop(service);
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(place.folder.path().join(file));
    }

    let _service = place.started().await;
    testkit::eventually("all is searchable again", LONG, || async {
        let status = status(bus, false).await;
        if status.searchable == 100 { Ok(()) } else { Err(status.searchable) }
    })
    .await;
    let search = AuditSearch { subject: Some("dep-42".into()), ..AuditSearch::default() };
    let page = bus.call(&speech::SEARCH, &search, LONG).await.unwrap();
    assert_eq!(page.entries[0].record.counter, 42);
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        // The index is made again, and its files come and go.
        if path.to_string_lossy().contains("index.db") {
            continue;
        }
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
