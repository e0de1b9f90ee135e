use std::{collections::BTreeMap, time::Duration};

use bus::{AppendError, Start, subjects::target::JOURNAL};
use futures::{StreamExt, future::join_all};
use testkit::{Fault, Proxy, eventually, nats};

use crate::{LONG, record};

#[tokio::test]
async fn a_journal_reads_back_as_it_was_written() {
    let nats = nats().await;
    let first = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    let second = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 2, "b"), first).await.unwrap();

    let all = nats.bus.load(&JOURNAL, "t-1").await.unwrap();
    let rest = nats.bus.load_after(&JOURNAL, "t-1", first).await.unwrap();

    assert_eq!(
        all.iter().map(|entry| (entry.seq, entry.record.version)).collect::<Vec<_>>(),
        [(first, 1), (second, 2)]
    );
    assert_eq!(all[1..], rest);
    assert!(nats.bus.load(&JOURNAL, "t-2").await.unwrap().is_empty());
}

#[tokio::test]
async fn of_eight_writers_exactly_one_wins_each_version() {
    let nats = nats().await;
    let mut buses = Vec::new();
    for writer in 0..8 {
        buses.push(nats.connect(&format!("w-{writer}")).await);
    }

    let mut last = 0;
    for version in 1..=20 {
        let outcomes = join_all(buses.iter().enumerate().map(|(writer, bus)| async move {
            bus.append(&JOURNAL, "t-1", &record("t-1", version, &format!("w-{writer}")), last).await
        }))
        .await;

        let won: Vec<u64> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
        assert_eq!(won.len(), 1, "version {version}: {outcomes:?}");
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(AppendError::Raced))),
            "{outcomes:?}"
        );
        last = won[0];
    }
    assert_eq!(nats.bus.load(&JOURNAL, "t-1").await.unwrap().len(), 20);
}

#[tokio::test]
async fn two_tasks_of_one_replica_do_not_both_win() {
    let nats = nats().await;
    let mut other = record("t-1", 1, "same");
    other.at = model::Timestamp(2);
    let one = record("t-1", 1, "same");

    let (first, second) =
        tokio::join!(nats.bus.append(&JOURNAL, "t-1", &one, 0), nats.bus.append(&JOURNAL, "t-1", &other, 0));

    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn appending_the_same_record_again_finds_it() {
    let nats = nats().await;
    let first = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    nats.bus.append(&JOURNAL, "t-1", &record("t-1", 2, "b"), first).await.unwrap();

    let again = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();

    assert_eq!(again, first);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_and_not_written_twice() {
    let nats = nats().await;
    let proxy = Proxy::before(&nats.server.url()).await;
    let behind = bus::Bus::connect(&nats.settings_for(&proxy.url(), "behind")).await.unwrap();
    let first = behind.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();

    proxy.set(Fault::Mute);
    let healing = async {
        // Only when the record is there has its answer been lost.
        eventually("the record is written", LONG, || async {
            let count = nats.bus.load(&JOURNAL, "t-1").await.unwrap().len();
            if count == 2 { Ok(()) } else { Err(format!("{count} records")) }
        })
        .await;
        proxy.cut();
        proxy.heal();
    };
    let mine = record("t-1", 2, "a");
    let (written, ()) = tokio::join!(behind.append(&JOURNAL, "t-1", &mine, first), healing);

    let entries = nats.bus.load(&JOURNAL, "t-1").await.unwrap();
    assert_eq!((written.unwrap(), entries.len()), (entries[1].seq, 2));
}

#[tokio::test]
async fn a_lost_answer_and_another_writer_after_us_still_tell_that_we_won() {
    let nats = nats().await;
    let proxy = Proxy::before(&nats.server.url()).await;
    let behind = bus::Bus::connect(&nats.settings_for(&proxy.url(), "behind")).await.unwrap();

    proxy.set(Fault::Mute);
    let other = async {
        let first = eventually("the record is written", LONG, || async {
            nats.bus.load(&JOURNAL, "t-1").await.unwrap().pop().ok_or("none")
        })
        .await;
        nats.bus.append(&JOURNAL, "t-1", &record("t-1", 2, "b"), first.seq).await.unwrap();
        proxy.cut();
        proxy.heal();
        first.seq
    };
    let mine = record("t-1", 1, "a");
    let (written, seq) = tokio::join!(behind.append(&JOURNAL, "t-1", &mine, 0), other);

    assert_eq!(written.unwrap(), seq);
}

#[tokio::test]
async fn a_broker_that_stays_silent_is_unavailable_and_not_raced() {
    let nats = nats().await;
    let proxy = Proxy::before(&nats.server.url()).await;
    let mut short = nats.settings_for(&proxy.url(), "behind");
    short.broker_timeout = model::Span::millis(200);
    let behind = bus::Bus::connect(&short).await.unwrap();

    proxy.set(Fault::Silence);
    let error = behind.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap_err();

    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_hole_in_the_versions_is_an_error() {
    let nats = nats().await;
    let first = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    nats.bus.append(&JOURNAL, "t-1", &record("t-1", 3, "a"), first).await.unwrap();

    let error = nats.bus.load(&JOURNAL, "t-1").await.unwrap_err();

    let bus::Error::Unreadable(found) = error else { panic!("{error:?}") };
    assert_eq!((found.seq, found.why.as_str()), (first + 1, "its version is 3 after 1"));
}

#[tokio::test]
async fn the_last_entry_of_each_journal_is_listed() {
    let nats = nats().await;
    for id in 0..30 {
        let id = format!("t-{id}");
        let first = nats.bus.append(&JOURNAL, &id, &record(&id, 1, "a"), 0).await.unwrap();
        nats.bus.append(&JOURNAL, &id, &record(&id, 2, "a"), first).await.unwrap();
    }

    let entries = nats.bus.last_of_each(&JOURNAL).await.unwrap().entries;

    assert_eq!(entries.len(), 30);
    assert!(entries.iter().all(|entry| entry.record.version == 2));
}

#[tokio::test]
async fn only_journals_that_grew_since_are_listed_each_once() {
    let nats = nats().await;
    let mut last = Vec::new();
    for id in 0..10 {
        let id = format!("t-{id}");
        last.push(nats.bus.append(&JOURNAL, &id, &record(&id, 1, "a"), 0).await.unwrap());
    }
    let all = nats.bus.last_of_each_since(&JOURNAL, bus::Since::default()).await.unwrap();
    let second = nats.bus.append(&JOURNAL, "t-3", &record("t-3", 2, "a"), last[3]).await.unwrap();
    nats.bus.append(&JOURNAL, "t-3", &record("t-3", 3, "a"), second).await.unwrap();

    let grown = nats.bus.last_of_each_since(&JOURNAL, all.since).await.unwrap();
    let none = nats.bus.last_of_each_since(&JOURNAL, grown.since).await.unwrap();

    assert_eq!(all.entries.len(), 10);
    let grown: Vec<_> =
        grown.entries.iter().map(|entry| (entry.record.id.as_str(), entry.record.version)).collect();
    assert_eq!(grown, [("t-3", 3)]);
    assert!(none.entries.is_empty());
}

#[tokio::test]
async fn following_loses_and_repeats_nothing_when_the_server_is_killed() {
    let mut nats = nats().await;
    let writer = nats.connect("writer").await;
    nats.bus.append(&JOURNAL, "before", &record("before", 1, "a"), 0).await.unwrap();
    let mut all = nats.bus.follow(&JOURNAL, Start::All).await.unwrap();
    let mut new = nats.bus.follow(&JOURNAL, Start::Now).await.unwrap();

    let mut last = BTreeMap::new();
    for version in 1..=30 {
        if version == 15 {
            nats.server.restart().await.unwrap();
        }
        for id in ["t-1", "t-2", "t-3"] {
            let expected = last.get(id).copied().unwrap_or(0);
            let record = record(id, version, "a");
            let seq = eventually("the append", LONG, || async {
                writer.append(&JOURNAL, id, &record, expected).await
            })
            .await;
            last.insert(id, seq);
        }
    }

    for (follow, wanted) in [(&mut all, 91), (&mut new, 90)] {
        let mut next = BTreeMap::new();
        for _ in 0..wanted {
            let entry = tokio::time::timeout(LONG, follow.next()).await.expect("an entry was lost").unwrap();
            let version = next.entry(entry.record.id.clone()).or_insert(1);
            assert_eq!(entry.record.version, *version, "{}", entry.record.id);
            *version += 1;
        }
        assert!(
            tokio::time::timeout(Duration::from_millis(200), follow.next()).await.is_err(),
            "one was repeated"
        );
    }
}
