//! A stream that lost its end, or in whose place an older copy was put: what it says afterwards is kept, and said to be
//! of another life.

use bus::{Bus, subjects::target::JOURNAL};
use model::{
    Principal, Record, Timestamp,
    audit::AuditRecord,
    target::{Hold, TargetEvent},
};
use testkit::eventually;

use crate::support::*;

const TARGET: &str = "prod--docker--shop";

/// Writes so many records of one target, each held by somebody with this name.
async fn write(bus: &Bus, by: &[&str]) {
    let mut last = 0;
    for (by, version) in by.iter().zip(1..) {
        let held = TargetEvent::Held(Hold {
            by: Principal::stated(by).unwrap(),
            reason: "why".into(),
            at: Timestamp(1),
        });
        let record = Record {
            id: TARGET.into(),
            version,
            writer: "rep-1".into(),
            at: Timestamp(1_000 + version as i64),
            trace: None,
            events: vec![held],
        };
        last = bus.append(&JOURNAL, TARGET, &record, last).await.unwrap();
    }
}

/// Who stands in the log as having held the target, in order.
fn holders(records: &[AuditRecord]) -> Vec<&str> {
    records
        .iter()
        .filter(|record| record.action == "target.held")
        .filter_map(|record| record.actor.strip_prefix("unauthenticated:"))
        .collect()
}

/// A log that kept `before` of one broker meets another that has `after`.
async fn meets(before: &[&str], after: &[&str]) -> (Vec<String>, Vec<AuditRecord>) {
    let mut place = Place::new().await;
    let first = place.started().await;
    write(&place.nats.bus, before).await;
    included(&place.nats.bus, before.len() as u64).await;
    first.stop(LONG).await;
    place.nats = testkit::nats().await;
    write(&place.nats.bus, after).await;

    let second = place.started().await;
    write_one_more(&place.nats.bus, after.len() as u64).await;
    eventually("the last record is kept", LONG, || async {
        let (_, records) = checked(place.folder.path());
        let found = holders(&records).last() == Some(&"last");
        if found { Ok(()) } else { Err(format!("{:?}", holders(&records))) }
    })
    .await;
    let alarms = status(&place.nats.bus, true).await.alarms;
    second.stop(LONG).await;
    let third = place.started().await;
    let again = status(&place.nats.bus, true).await.alarms;
    third.stop(LONG).await;
    assert_eq!(alarms.is_empty(), again.is_empty(), "{alarms:?} {again:?}");

    let (_, records) = checked(place.folder.path());
    (alarms, records)
}

async fn write_one_more(bus: &Bus, version: u64) {
    let held = TargetEvent::Held(Hold {
        by: Principal::stated("last").unwrap(),
        reason: "why".into(),
        at: Timestamp(1),
    });
    let record = Record {
        id: TARGET.into(),
        version: version + 1,
        writer: "rep-1".into(),
        at: Timestamp(9_000),
        trace: None,
        events: vec![held],
    };
    let seq = bus.load(&JOURNAL, TARGET).await.unwrap().last().map_or(0, |entry| entry.seq);
    bus.append(&JOURNAL, TARGET, &record, seq).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_lost_its_end_is_kept_under_a_new_name_from_there_on() {
    let (alarms, records) = meets(&["a", "b", "c", "d", "e"], &["x", "y"]).await;

    assert_eq!(holders(&records), ["a", "b", "c", "d", "e", "x", "y", "last"]);
    assert!(alarms.iter().any(|alarm| alarm.starts_with("fork: LOG_target_")), "{alarms:?}");
    let forks: Vec<_> = records.iter().filter(|record| record.action == "audit.fork").collect();
    assert_eq!(forks.len(), 1);
    assert_eq!((&forks[0].detail["same"], &forks[0].detail["kept"]), (&0.into(), &5.into()));
}

#[tokio::test]
async fn a_stream_that_says_something_else_and_is_longer_is_noticed_too() {
    let (alarms, records) = meets(&["a", "b"], &["x", "y", "z"]).await;

    assert_eq!(holders(&records), ["a", "b", "x", "y", "z", "last"]);
    assert!(alarms.iter().any(|alarm| alarm.starts_with("fork: ")), "{alarms:?}");
}

#[tokio::test]
async fn what_both_lives_say_is_kept_once() {
    let (_, records) = meets(&["a", "b", "c", "d"], &["a", "b", "x"]).await;

    assert_eq!(holders(&records), ["a", "b", "c", "d", "x", "last"]);
    let fork = records.iter().find(|record| record.action == "audit.fork").unwrap();
    assert_eq!((&fork.detail["same"], &fork.detail["kept"]), (&2.into(), &4.into()));
}

/// Stopped in order, the broker remembers how far it counted, and counts on from there although the end of its file is
/// gone: nothing is said again, something is missing.
#[tokio::test]
async fn a_stream_that_lost_its_end_and_counts_on_is_noticed() {
    let mut place = Place::new().await;
    let first = place.started().await;
    write(&place.nats.bus, &["a", "b", "c"]).await;
    included(&place.nats.bus, 3).await;
    first.stop(LONG).await;
    place.nats.server.stop().await.unwrap();
    let block = format!("data/jetstream/CODE/streams/LOG_target_{}/msgs/1.blk", bus::shard_of(TARGET));
    let block = std::fs::OpenOptions::new().write(true).open(place.nats.folder().join(block)).unwrap();
    block.set_len(block.metadata().unwrap().len() - 10).unwrap();
    place.nats.server.restart().await.unwrap();

    let second = place.started().await;
    write_one_more(&place.nats.bus, 2).await;
    eventually("the last record is kept", LONG, || async {
        let (_, records) = checked(place.folder.path());
        let found = holders(&records).last() == Some(&"last");
        if found { Ok(()) } else { Err(format!("{:?}", holders(&records))) }
    })
    .await;

    let alarms = status(&place.nats.bus, true).await.alarms;
    assert!(alarms.iter().any(|alarm| alarm.starts_with("fork: LOG_target_")), "{alarms:?}");
    second.stop(LONG).await;
    let (_, records) = checked(place.folder.path());
    assert_eq!(holders(&records), ["a", "b", "c", "last"]);
}

#[tokio::test]
async fn a_stream_that_only_grew_is_no_fork() {
    let place = Place::new().await;
    let first = place.started().await;
    write(&place.nats.bus, &["a", "b"]).await;
    included(&place.nats.bus, 2).await;
    first.stop(LONG).await;
    write_one_more(&place.nats.bus, 2).await;

    let _second = place.started().await;
    let status = included(&place.nats.bus, 3).await;

    assert_eq!(status.alarms, Vec::<String>::new());
    let (_, records) = checked(place.folder.path());
    assert_eq!(holders(&records), ["a", "b", "last"]);
}
