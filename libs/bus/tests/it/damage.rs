//! Records that a disk has changed, at the end of journals, where nothing that can be read shows it.

use async_nats::jetstream::{self, message::PublishMessage};
use bus::{Aggregate, AppendError, Error, Examined, State, subjects::target::JOURNAL};
use model::{Principal, Record, journal::Skip, target::TargetEvent};
use testkit::{TestNats, eventually, forget_index, nats, spoil};

use crate::{LONG, foreign, record};

fn subject(id: &str) -> String {
    format!("code.v1.log.target.{}.{id}", bus::shard_of(id))
}

fn stream(id: &str) -> String {
    format!("LOG_target_{}", bus::shard_of(id))
}

/// Names that stand in one stream.
fn neighbours() -> [String; 3] {
    let mut names = (0..).map(|number| format!("t-{number}")).filter(|name| bus::shard_of(name) == 0);
    std::array::from_fn(|_| names.next().unwrap())
}

async fn write(nats: &TestNats, id: &str, versions: std::ops::RangeInclusive<u64>) {
    for version in versions {
        let found = nats.bus.examine(&JOURNAL, id).await.unwrap();
        nats.bus.append(&JOURNAL, id, &record(id, version, "a"), found.last_seq).await.unwrap();
    }
}

/// Stops the server, damages the newest records of a journal, and starts it again.
async fn damage(nats: &mut TestNats, id: &str, count: usize, keeps_index: bool) -> Vec<u64> {
    nats.server.stop().await.unwrap();
    let damaged = spoil(nats.folder(), &stream(id), &subject(id), count);
    if !keeps_index {
        forget_index(nats.folder(), &stream(id));
    }
    nats.server.restart().await.unwrap();
    eventually("the server is there again", LONG, || async { nats.bus.examine(&JOURNAL, "nobody").await })
        .await;
    damaged
}

fn repair(id: &str, found: &Examined<TargetEvent>) -> Record<TargetEvent> {
    let skip = |bad: &model::journal::Unreadable| {
        TargetEvent::RecordSkipped(Skip {
            seq: bad.seq,
            digest: bad.digest.clone(),
            by: Principal::stated("ann").unwrap(),
            reason: "damaged".into(),
        })
    };
    let version = found.entries.last().map_or(1, |last| last.record.version + 1);
    Record { events: found.unreadable.iter().map(skip).collect(), ..record(id, version, "repair") }
}

fn versions(entries: &[bus::Entry<TargetEvent>]) -> Vec<u64> {
    entries.iter().map(|entry| entry.record.version).collect()
}

/// What is built on: should a newer server answer otherwise, this says so.
#[tokio::test]
async fn the_server_counts_a_damaged_newest_record_and_says_that_there_is_none() {
    let mut nats = nats().await;
    let [id, ..] = neighbours();
    write(&nats, &id, 1..=3).await;
    let damaged = damage(&mut nats, &id, 1, true).await;
    let jetstream = jetstream::new(foreign(&nats).await);
    let there = jetstream.get_stream(stream(&id)).await.unwrap();

    let last = there.get_last_raw_message_by_subject(&subject(&id)).await;
    let at = there.get_raw_message(damaged[0]).await;
    let append = async |expected: u64| {
        let message = PublishMessage::build().expected_last_subject_sequence(expected).payload("x".into());
        jetstream.send_publish(subject(&id), message).await.unwrap().await
    };

    assert!(last.is_err() && at.is_err(), "{last:?} {at:?}");
    for expected in [damaged[0] - 1, damaged[0], damaged[0] + 1] {
        let refused = append(expected).await.unwrap_err().to_string();
        assert!(refused.contains("wrong last sequence: 0"), "{refused}");
    }
    assert_eq!(append(0).await.unwrap().sequence, damaged[0] + 1);
}

#[tokio::test]
async fn a_journal_whose_newest_record_is_damaged_is_neither_read_nor_written() {
    let mut nats = nats().await;
    let [id, other, _] = neighbours();
    write(&nats, &id, 1..=3).await;
    write(&nats, &other, 1..=2).await;
    let damaged = damage(&mut nats, &id, 1, true).await;

    let loaded = nats.bus.load(&JOURNAL, &id).await;
    let after = nats.bus.load_after(&JOURNAL, &id, damaged[0]).await;
    let mut written = Vec::new();
    for expected in [damaged[0] - 1, damaged[0]] {
        written.push(nats.bus.append(&JOURNAL, &id, &record(&id, 4, "a"), expected).await);
    }

    let Err(Error::Unreadable(found)) = loaded else { panic!("{loaded:?}") };
    assert_eq!((found.id.as_str(), found.seq, found.holds_up), (id.as_str(), damaged[0], true));
    assert!(found.why.contains("3 records") && found.why.contains("2 can be read"), "{}", found.why);
    assert!(matches!(&after, Err(Error::Unreadable(again)) if *again == found), "{after:?}");
    for written in written {
        let Err(AppendError::Unavailable(Error::Unreadable(again))) = written else { panic!("{written:?}") };
        assert_eq!(again, found);
    }
    write(&nats, &other, 3..=3).await;
    assert_eq!(versions(&nats.bus.load(&JOURNAL, &other).await.unwrap()), [1, 2, 3]);
}

#[tokio::test]
async fn damaged_journals_are_listed_beside_all_that_are_sound() {
    let mut nats = nats().await;
    let [first, second, third] = neighbours();
    // The first that is listed is damaged, and all of the second.
    write(&nats, &first, 1..=2).await;
    write(&nats, &second, 1..=2).await;
    write(&nats, &third, 1..=2).await;
    damage(&mut nats, &first, 1, true).await;
    damage(&mut nats, &second, 2, true).await;

    let last = nats.bus.last_of_each(&JOURNAL).await.unwrap();
    let again = nats.bus.last_of_each_since(&JOURNAL, last.since).await.unwrap();

    let read: Vec<_> = last.entries.iter().map(|entry| entry.record.id.as_str()).collect();
    let mut bad: Vec<_> = last.unreadable.iter().map(|bad| bad.id.as_str()).collect();
    bad.sort_unstable();
    assert_eq!(read, [third.as_str()]);
    assert_eq!(bad, [first.as_str(), second.as_str()]);
    assert!(again.entries.is_empty() && again.unreadable.is_empty(), "{again:?}");
}

#[tokio::test]
async fn a_journal_goes_on_once_it_says_that_its_damaged_end_is_passed_over() {
    for count in 1..=3 {
        let mut nats = nats().await;
        let [id, ..] = neighbours();
        write(&nats, &id, 1..=3).await;
        let names = Aggregate::<Count>::new(nats.bus.clone(), &id, "b");
        assert_eq!(names.fresh().await.unwrap().version, 3);
        damage(&mut nats, &id, count, true).await;
        let failure = names.fresh().await.unwrap_err();
        assert!(failure.unreadable().is_some(), "{failure:?}");
        let found = nats.bus.examine(&JOURNAL, &id).await.unwrap();
        assert_eq!((found.entries.len(), found.unreadable.len()), (3 - count, 1));

        let repair = repair(&id, &found);
        nats.bus.append_over(&JOURNAL, &id, &repair, &found).await.unwrap();
        let other = Record { writer: "other".into(), ..repair };
        let twice = nats.bus.append_over(&JOURNAL, &id, &other, &found).await;

        let left = 3 - count as u64;
        assert!(matches!(twice, Err(AppendError::Raced)), "{twice:?}");
        assert_eq!(
            versions(&nats.bus.load(&JOURNAL, &id).await.unwrap()),
            (1..=left + 1).collect::<Vec<_>>()
        );
        assert_eq!(names.fresh().await.unwrap().version, left + 1);
        write(&nats, &id, left + 2..=left + 2).await;
        assert_eq!(names.fresh().await.unwrap().version, left + 2);
    }
}

/// The server reads all records when it has no index: it cuts off what is damaged, and counts it no longer.
#[tokio::test]
async fn a_journal_that_the_server_has_cut_goes_on_where_it_was_cut() {
    let mut nats = nats().await;
    let [id, ..] = neighbours();
    write(&nats, &id, 1..=3).await;

    damage(&mut nats, &id, 1, false).await;

    assert_eq!(versions(&nats.bus.load(&JOURNAL, &id).await.unwrap()), [1, 2]);
    write(&nats, &id, 3..=3).await;
    assert_eq!(versions(&nats.bus.load(&JOURNAL, &id).await.unwrap()), [1, 2, 3]);
}

/// Counts records.
#[derive(Clone, Debug, Default)]
struct Count {
    version: u64,
    seq: u64,
}

impl State for Count {
    type Event = TargetEvent;
    type Bad = std::convert::Infallible;

    const JOURNAL: &'static bus::Log<TargetEvent> = &JOURNAL;

    fn version(&self) -> u64 {
        self.version
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn fold(&mut self, record: &Record<TargetEvent>, seq: u64) -> Result<(), Self::Bad> {
        (self.version, self.seq) = (record.version, seq);
        Ok(())
    }
}
