//! The target's journal is lost, or an older copy of it, while a deployment holds the target.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::heart::replica::{Ask, Input, Moment, Output, Replica, Rules};

/// One is promoted and the second waits for a person in its canary.
fn second_under_way() -> (World, Deployment) {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    assert_eq!(second.phase, Phase::Executing);
    (world, second)
}

#[test]
fn a_deployment_whose_lock_was_forgotten_holds_it_again_and_is_promoted() {
    let (mut world, mut second) = second_under_way();

    world.target = Target::default();
    world.command(&mut second, Action::Promote { full: true }).unwrap();
    world.run(&mut second);

    assert_eq!((second.phase, second.ending.verdict), (Phase::Closed, Some(Verdict::Promoted)));
    assert_eq!(world.target.snapshot.unwrap().deployment, second.id);
    assert_eq!((world.target.holder, world.target.grants), (None, 2));
}

#[test]
fn a_deployment_whose_lock_was_forgotten_is_rolled_back_and_over() {
    let (mut world, mut second) = second_under_way();

    world.target = Target::default();
    world.command(&mut second, Action::Abort { reason: "looks odd".into() }).unwrap();
    world.run(&mut second);

    assert_eq!((second.phase, second.ending.verdict), (Phase::Closed, Some(Verdict::RolledBack)));
    assert_eq!(world.target.holder, None);
}

#[test]
fn a_promoted_one_that_somebody_else_followed_since_ends_and_says_nothing_of_what_runs() {
    let (mut world, mut second) = second_under_way();
    let third = DeploymentId::derived("three");

    // Forgotten, granted to another one and given back.
    world.target = Target { grants: 3, holder: Some((third, 3)), ..Target::default() };
    world.command(&mut second, Action::Promote { full: true }).unwrap();
    world.run(&mut second);

    assert_eq!(second.phase, Phase::Closed);
    assert_eq!(world.target.snapshot, None);
    assert!(world.target.holder.is_some());
}

/// Its journal cannot be read, and is tried again later and later: whoever asks does not wait for that.
#[test]
fn whoever_asks_does_not_wait_for_the_next_try_to_read_the_journal() {
    let (world, second) = second_under_way();
    let rules = Rules {
        me: ReplicaId::derived("another"),
        policy: world.policy,
        approvals: None,
        resend: Duration::from_secs(1),
    };
    let mut replica = Replica::new(rules, second, Arc::new(world.target));
    let at =
        |second| Moment { wall: Timestamp(2_000_000), mono: Duration::from_secs(second), draining: false };
    let loads = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Load(_)));
    let set_aside = || Input::Loaded(Err(model::Fault::new(model::Code::Unavailable, "it is set aside")));
    let later = Record {
        id: replica.state().id.to_string(),
        version: replica.state().version + 2,
        writer: "another".to_owned(),
        at: Timestamp(2_000_000),
        trace: None,
        events: Vec::new(),
    };
    // A record whose predecessor it never saw.
    let heard = replica.hear(Input::Record(Box::new(later.clone()), 99), at(1));
    assert!(loads(&heard), "{heard:?}");
    for _ in 0..8 {
        replica.hear(set_aside(), at(1));
        replica.hear(Input::Woke, at(1));
    }
    assert!(replica.wake(at(1)).1 > Duration::from_millis(10), "it is tried again later");

    assert!(loads(&replica.hear(Input::Asked(1, Ask::Show), at(1))));
    let answered = replica.hear(set_aside(), at(1));
    assert!(answered.iter().any(|output| matches!(output, Output::Answer(1, Ok(_)))), "{answered:?}");
    assert!(loads(&replica.hear(Input::Record(Box::new(later), 100), at(1))), "the journal grew");
}
