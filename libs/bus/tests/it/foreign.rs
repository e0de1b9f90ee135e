//! Messages on journals' subjects that no journal can hold.

use bus::{AppendError, Error, subjects::target::JOURNAL};
use model::{Digest, Principal, Record, journal::Skip, target::TargetEvent};
use testkit::nats;

use crate::record;

fn subject(id: &str) -> String {
    format!("code.v1.log.target.{}.{id}", bus::shard_of(id))
}

/// A record whose event no version so far knows: the same bytes as a real one, with another name of the event.
fn newer(id: &str, version: u64) -> Vec<u8> {
    use bus::Message;
    let text = record(id, version, "newer").encode();
    let at = text.windows(4).rposition(|word| word == b"left").unwrap();
    let mut text = text;
    text[at..at + 4].copy_from_slice(b"lift");
    text
}

#[tokio::test]
async fn what_cannot_be_read_is_listed_beside_what_can() {
    let nats = nats().await;
    for id in ["t-1", "t-2", "t-3"] {
        nats.bus.append(&JOURNAL, id, &record(id, 1, "a"), 0).await.unwrap();
    }
    nats.publish(&subject("t-2"), b"x").await;
    nats.publish(&subject("t-3"), &newer("t-3", 2)).await;
    nats.publish(&subject("nobody"), b"").await;
    // In another shard than its name belongs to, and below the name of another.
    let elsewhere = (bus::shard_of("astray") + 1) % bus::SHARDS;
    nats.publish(&format!("code.v1.log.target.{elsewhere}.astray"), b"x").await;
    nats.publish(&format!("{}.deeper", subject("t-1")), b"x").await;

    let last = nats.bus.last_of_each(&JOURNAL).await.unwrap();

    let read: Vec<_> = last.entries.iter().map(|entry| entry.record.id.as_str()).collect();
    let mut bad: Vec<_> = last.unreadable.iter().map(|bad| (bad.id.as_str(), bad.holds_up)).collect();
    bad.sort_unstable();
    assert_eq!(read, ["t-1"]);
    assert_eq!(
        bad,
        [("astray", false), ("nobody", true), ("t-1.deeper", false), ("t-2", true), ("t-3", true)]
    );
    assert_eq!(nats.bus.load(&JOURNAL, "t-1").await.unwrap().len(), 1);
    let again = nats.bus.last_of_each_since(&JOURNAL, last.since).await.unwrap();
    assert!(again.entries.is_empty() && again.unreadable.is_empty(), "{again:?}");
}

#[tokio::test]
async fn nothing_is_written_on_top_of_what_cannot_be_read() {
    let nats = nats().await;
    let first = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    nats.publish(&subject("t-1"), &newer("t-1", 2)).await;

    let written = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 2, "a"), first).await;
    let loaded = nats.bus.load_after(&JOURNAL, "t-1", first).await;

    assert!(matches!(written, Err(AppendError::Raced)), "{written:?}");
    let Err(Error::Unreadable(found)) = loaded else { panic!("{loaded:?}") };
    assert_eq!((found.id.as_str(), found.seq), ("t-1", first + 1));
    assert!(found.why.contains("lift"), "{}", found.why);
}

#[tokio::test]
async fn a_journal_is_whole_again_once_it_says_what_to_pass_over() {
    let nats = nats().await;
    let first = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    nats.publish(&subject("t-1"), b"x").await;
    // One that can be read and does not follow: a version that is newer than this engine may have written it.
    nats.publish(&subject("t-1"), &bus::Message::encode(&record("t-1", 2, "other"))).await;
    nats.publish(&subject("t-1"), &bus::Message::encode(&record("t-1", 9, "other"))).await;
    let found = nats.bus.examine(&JOURNAL, "t-1").await.unwrap();
    let bad: Vec<u64> = found.unreadable.iter().map(|bad| bad.seq).collect();
    assert_eq!(bad, [first + 1, first + 3]);

    let skip = |seq: u64, digest: Digest| {
        TargetEvent::RecordSkipped(Skip {
            seq,
            digest,
            by: Principal::stated("ann").unwrap(),
            reason: "foreign".into(),
        })
    };
    let skips = found.unreadable.iter().map(|bad| skip(bad.seq, bad.digest.clone())).collect();
    let repair = Record { version: 3, events: skips, ..record("t-1", 3, "a") };
    nats.bus.append(&JOURNAL, "t-1", &repair, found.last_seq).await.unwrap();

    let versions = |entries: Vec<bus::Entry<TargetEvent>>| {
        entries.iter().map(|entry| entry.record.version).collect::<Vec<_>>()
    };
    assert_eq!(versions(nats.bus.load(&JOURNAL, "t-1").await.unwrap()), [1, 2, 3]);
    assert_eq!(versions(nats.bus.load_after(&JOURNAL, "t-1", first).await.unwrap()), [2, 3]);
}

#[tokio::test]
async fn one_record_is_not_passed_over_in_the_place_of_another() {
    let nats = nats().await;
    let first = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    nats.publish(&subject("t-1"), b"x").await;
    let digest = Digest::of_bytes(b"y");
    let skip =
        Skip { seq: first + 1, digest, by: Principal::stated("ann").unwrap(), reason: "foreign".into() };
    let repair = Record { events: vec![TargetEvent::RecordSkipped(skip)], ..record("t-1", 2, "a") };
    nats.bus.append(&JOURNAL, "t-1", &repair, first + 1).await.unwrap();

    let loaded = nats.bus.load(&JOURNAL, "t-1").await;

    assert!(matches!(loaded, Err(Error::Unreadable(_))), "{loaded:?}");
}

#[tokio::test]
async fn a_foreign_value_in_a_bucket_is_left_out_of_the_list() {
    let nats = nats().await;
    let bucket = nats.bus.bucket(&bus::subjects::buckets::MEASUREMENTS);
    bucket.create("mine", &serde_json::json!(1)).await.unwrap();
    nats.publish("$KV.measurements.foreign", b"x").await;

    let all = bucket.all().await.unwrap();

    assert_eq!(all.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["mine"]);
}
