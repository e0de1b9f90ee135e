use bus::Message as _;
use model::{DeploymentId, Event, deployment::Cause, deployment::CauseKind};

use super::*;

fn heard(stream: &str, subject: &str, payload: Vec<u8>) -> Heard {
    Heard {
        stream: stream.to_owned(),
        seq: 7,
        subject: subject.to_owned(),
        at: Timestamp(5),
        by: Some("engine:experts/rep-9".parse().unwrap()),
        trace: Some("00-aa-bb-01".to_owned()),
        message_id: Some("m-1".to_owned()),
        content: String::new(),
        payload: payload.into(),
    }
}

fn journal_of(events: Vec<Event>) -> (Vec<AuditRecord>, Vec<Vec<u8>>) {
    let id = DeploymentId::derived("a");
    let record = Record {
        id: id.to_string(),
        version: 3,
        writer: "rep-1".to_owned(),
        at: Timestamp(9),
        trace: None,
        events,
    };
    let said = facts(&heard("LOG_deployment_1", &format!("code.v1.log.deployment.1.{id}"), record.encode()));
    match said.content {
        Content::Facts(facts) => (facts, said.large),
        Content::Told(_) => panic!("a journal tells no counted facts"),
    }
}

fn cause() -> Cause {
    Cause {
        kind: CauseKind::Failed,
        step: None,
        gate: None,
        text: "error rate 0.2 > 0.05".to_owned(),
        at: Timestamp(8),
    }
}

#[test]
fn each_event_of_an_entry_is_a_leaf_with_who_what_when_why_and_from_where() {
    let (by, plan) = (Principal::stated("ada").unwrap(), Digest::of_bytes(b"p"));
    let approved = Event::Approved { by, plan, signed: None };
    let (leaves, _) = journal_of(vec![approved, Event::HumanNeeded { cause: cause() }]);

    let first = &leaves[0];
    assert_eq!(
        (first.source.as_str(), first.counter, first.part, first.parts),
        ("LOG_deployment_1", 7, 1, 2)
    );
    assert_eq!((first.actor.as_str(), first.action.as_str()), ("unauthenticated:ada", "deployment.approved"));
    assert_eq!((first.at, first.outcome), (Timestamp(9), AuditOutcome::Done));
    assert_eq!(first.cause.as_deref(), Some(format!("{}:3", first.subject).as_str()));
    assert_eq!(first.trace.as_deref(), Some("00-aa-bb-01"));
    assert!(first.detail["plan"].as_str().is_some_and(|plan| plan.starts_with("sha256:")));
    let second = &leaves[1];
    assert_eq!((second.actor.as_str(), second.outcome), ("rep-1", AuditOutcome::Failed));
    assert_eq!(second.reason.as_deref(), Some("error rate 0.2 > 0.05"));
}

#[test]
fn a_large_fact_is_kept_by_digest_and_can_be_erased() {
    let large = Event::HumanNeeded { cause: Cause { text: "x".repeat(INLINE), ..cause() } };
    let (leaves, kept) = journal_of(vec![large]);

    let payload = leaves[0].payload.as_ref().unwrap();
    assert_eq!(payload.digest, Digest::of_bytes(&kept[0]));
    assert_eq!(payload.size, kept[0].len() as u64);
    assert!(leaves[0].to_leaf().len() < 2048);
}

#[test]
fn what_cannot_be_read_is_a_leaf_too() {
    for subject in ["code.v1.log.deployment.1.dep-1", "code.v1.trail.record.x", "something.else"] {
        let said = facts(&heard("LOG_deployment_1", subject, b"\xff\xff garbage".to_vec()));

        let Content::Facts(leaves) = said.content else { panic!("{subject}") };
        assert_eq!(
            (leaves[0].action.as_str(), leaves[0].outcome),
            ("message.unreadable", AuditOutcome::Failed)
        );
        assert_eq!(leaves[0].payload.as_ref().unwrap().digest, Digest::of_bytes(b"\xff\xff garbage"));
    }
}

#[test]
fn nobody_counts_for_a_stream_by_way_of_the_trail() {
    let (mut leaf, _) = journal_of(vec![Event::Paused { by: Principal::stated("eve").unwrap() }]);
    let mut record = leaf.remove(0);
    record.source = "LOG_deployment_1".to_owned();
    let said = facts(&heard("TRAIL", "code.v1.trail.record.eve", record.encode()));

    let Content::Facts(leaves) = said.content else { panic!("it was taken") };
    assert_eq!(leaves[0].action, "message.unreadable");
}

#[test]
fn no_text_of_a_message_ends_a_line() {
    let mut odd = heard("EVENTS", "code.v1.evt.deployment.changed.dep-1", Vec::new());
    odd.message_id = Some(format!("a\nb{}", "ä".repeat(300)));
    let said = facts(&odd);

    let Content::Facts(leaves) = said.content else { panic!("an event tells no counted facts") };
    let cause = leaves[0].cause.as_deref().unwrap();
    assert!(cause.starts_with("a b") && cause.len() <= 256);
    assert_eq!(leaves[0].actor, "engine:experts/rep-9");
}
