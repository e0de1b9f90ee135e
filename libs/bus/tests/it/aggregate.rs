use std::collections::BTreeSet;

use bus::{Aggregate, Failure, State, subjects::target::JOURNAL};
use futures::future::join_all;
use model::{Code, DeploymentId, Digest, Principal, Record, Timestamp, journal::Skip, target::TargetEvent};
use testkit::nats;

use crate::record;

/// Who has written, in order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Names {
    version: u64,
    seq: u64,
    said: Vec<DeploymentId>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0} was said twice")]
struct Twice(DeploymentId);

impl State for Names {
    type Event = TargetEvent;
    type Bad = Twice;

    const JOURNAL: &'static bus::Log<TargetEvent> = &JOURNAL;

    fn version(&self) -> u64 {
        self.version
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn fold(&mut self, record: &Record<TargetEvent>, seq: u64) -> Result<(), Twice> {
        for event in &record.events {
            if let TargetEvent::Left { deployment } = event {
                if self.said.contains(deployment) {
                    return Err(Twice(deployment.clone()));
                }
                self.said.push(deployment.clone());
            }
        }
        (self.version, self.seq) = (record.version, seq);
        Ok(())
    }
}

fn name(text: &str) -> DeploymentId {
    DeploymentId::derived(text)
}

#[tokio::test]
async fn what_was_folded_and_is_passed_over_since_is_folded_anew() {
    let nats = nats().await;
    let names = Aggregate::<Names>::new(nats.bus.clone(), "t-1", "newer");
    assert!(say(&names, "one").await.unwrap() && say(&names, "two").await.unwrap());
    let found = nats.bus.examine(&JOURNAL, "t-1").await.unwrap();
    let last = found.entries.last().unwrap();
    let skip = Skip {
        seq: last.seq,
        digest: Digest::of_bytes(&bus::Message::encode(&last.record)),
        by: Principal::stated("ann").unwrap(),
        reason: "of a newer engine".into(),
    };
    // The older engine that cannot read it counts on from before it.
    let passed_over = Record { events: vec![TargetEvent::RecordSkipped(skip)], ..last.record.clone() };
    nats.bus.append(&JOURNAL, "t-1", &passed_over, last.seq).await.unwrap();

    assert!(say(&names, "three").await.unwrap());

    assert_eq!(names.state().said, [name("one"), name("three")]);
    assert_eq!(names.fresh().await.unwrap().version, 3);
}

/// Says a name unless it was said.
async fn say(names: &Aggregate<Names>, text: &str) -> Result<bool, Failure> {
    let event = TargetEvent::Left { deployment: name(text) };
    let once = |state: &Names| {
        Ok::<_, Failure>(if state.said.contains(&name(text)) { Vec::new() } else { vec![event.clone()] })
    };
    names.change(Timestamp(1), None, once).await
}

#[tokio::test]
async fn of_many_writers_at_once_each_is_appended_exactly_once() {
    let nats = nats().await;
    let mut replicas = Vec::new();
    for replica in ["a", "b", "c"] {
        replicas.push(Aggregate::<Names>::new(nats.connect(replica).await, "t-1", replica));
    }

    // Every name is said by two tasks of each replica.
    let texts: Vec<String> = (0..8).map(|number| format!("n-{number}")).collect();
    let all = replicas.iter().flat_map(|one| texts.iter().chain(&texts).map(move |text| say(one, text)));
    let outcomes = join_all(all).await;

    let written = outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap()).count();
    assert_eq!(written, 8);
    for replica in &replicas {
        let state = replica.fresh().await.unwrap();
        assert_eq!(state.version, 8);
        assert_eq!(state.said.iter().collect::<BTreeSet<_>>().len(), 8);
    }
}

#[tokio::test]
async fn nothing_is_left_undone_because_of_what_the_journal_no_longer_says() {
    let nats = nats().await;
    let (ours, theirs) = (
        Aggregate::<Names>::new(nats.bus.clone(), "t-1", "a"),
        Aggregate::<Names>::new(nats.bus.clone(), "t-1", "b"),
    );
    assert_eq!(ours.loaded().await.unwrap().version, 0);
    say(&theirs, "first").await.unwrap();

    // On what was folded there is nothing to do; the journal says otherwise.
    let follow = |state: &Names| {
        let has_first = state.said.contains(&name("first"));
        Ok::<_, Failure>(if has_first {
            vec![TargetEvent::Left { deployment: name("second") }]
        } else {
            Vec::new()
        })
    };
    let written = ours.change(Timestamp(2), None, follow).await.unwrap();

    assert!(written);
    assert_eq!(ours.state().said, [name("first"), name("second")]);
}

#[tokio::test]
async fn what_was_heard_with_a_gap_is_read_from_the_journal_and_shown_to_those_who_watch() {
    let nats = nats().await;
    let mut last = 0;
    for (version, writer) in (1..).zip(["a", "b", "c"]) {
        last = nats.bus.append(&JOURNAL, "t-1", &record("t-1", version, writer), last).await.unwrap();
    }
    let entries = nats.bus.load(&JOURNAL, "t-1").await.unwrap();
    let names = Aggregate::<Names>::new(nats.bus.clone(), "t-1", "me");
    let seen = names.watch();

    names.heard(&entries[2]).await.unwrap();
    names.heard(&entries[0]).await.unwrap();

    assert_eq!(seen.borrow().said.len(), 3);
    assert_eq!(names.state().seq, last);
}

#[tokio::test]
async fn a_journal_that_cannot_be_folded_is_an_error_that_says_where_it_breaks() {
    let nats = nats().await;
    let first = nats.bus.append(&JOURNAL, "t-1", &record("t-1", 1, "a"), 0).await.unwrap();
    nats.bus.append(&JOURNAL, "t-1", &record("t-1", 2, "a"), first).await.unwrap();

    let failure = Aggregate::<Names>::new(nats.bus.clone(), "t-1", "me").loaded().await.unwrap_err();

    assert_eq!(failure.code(), Code::Internal);
    let said = model::Fault::from(failure).message;
    let expected =
        format!("fold the journal of t-1: the journal of t-1 cannot be folded: {} was said twice", name("a"));
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_refusal_writes_nothing_and_is_handed_on() {
    let nats = nats().await;
    let names = Aggregate::<Names>::new(nats.bus.clone(), "t-1", "me");

    let mut asked = 0;
    let refused = names
        .change(Timestamp(1), None, |_| {
            asked += 1;
            Err::<Vec<TargetEvent>, _>(model::Fault::new(Code::Denied, "not today"))
        })
        .await;

    assert_eq!(refused.unwrap_err().message, "not today");
    assert_eq!(asked, 1, "the journal was read before it was asked");
    assert!(nats.bus.load(&JOURNAL, "t-1").await.unwrap().is_empty());
}
