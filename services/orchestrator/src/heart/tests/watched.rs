//! What is looked after while nothing changes: a trial that waits for a person, and the old set in the hold.

use super::{super::explain::explain, *};

#[test]
fn a_trial_that_dies_while_a_person_is_awaited_is_rolled_back_by_itself() {
    let mut world = World::with_v1();
    let first = world.target.snapshot.clone();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    assert!(waits_for_person(&second));

    world.bad = Some("guard-web");
    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
    let cause = second.ending.cause.as_ref().unwrap();
    assert_eq!(cause.kind, CauseKind::Failed);
    assert!(cause.step.as_ref().unwrap().as_str().ends_with("guard-web"), "{cause:?}");
    assert_eq!(world.target.snapshot, first);
    assert!(world.target.quarantined.contains_key(&second.spec_digest));
}

#[test]
fn a_trial_that_dies_while_a_person_has_paused_it_is_rolled_back_by_itself() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.until_phase(&mut second, Phase::Executing);
    while !second.all_steps().any(|step| step.kind.is_background() && second.state_of(&step.id).is_open()) {
        let events = advance(&second, world.context());
        world.fold(&mut second, events);
        for effect in effects(&second, world.context()) {
            world.perform(&mut second, effect);
        }
    }
    world.command(&mut second, Action::Pause {}).unwrap();

    world.bad = Some("guard-web");
    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack), "{:?}", second.ending);
}

/// A blue-green change that has moved all traffic and holds the old set for longer than the total deadline.
fn held() -> (World, Deployment) {
    let mut world = World::with_v1();
    let mut spec: serde_json::Value = serde_json::from_str(&CANARY.replace("VERSION", "2.0.0")).unwrap();
    spec["strategy"] = serde_json::json!({"blueGreen": {"hold": "12h"}});
    let mut second = world.submit(&spec.to_string(), "two");
    world.until_phase(&mut second, Phase::Verifying);
    for _ in 0..100 {
        if second.all_steps().any(|step| step.is_hold() && second.state_of(&step.id).is_open()) {
            return (world, second);
        }
        for effect in effects(&second, world.context()) {
            world.perform(&mut second, effect);
        }
        let events = advance(&second, world.context());
        if !events.is_empty() {
            world.fold(&mut second, events);
        }
    }
    panic!("never held: {:?}", second.phase);
}

#[test]
fn in_the_hold_the_target_is_still_held_and_an_abort_switches_back_traffic_first() {
    let (mut world, mut second) = held();
    let first = world.target.snapshot.clone();
    assert!(world.target.holds(&second.id), "nobody else gets the target");
    assert_ne!(first.as_ref().map(|first| first.deployment.clone()), Some(second.id.clone()));

    world.command(&mut second, Action::Abort { reason: "the wrong colour".to_owned() }).unwrap();
    let back: Vec<(u32, String)> =
        second.retreat.steps.iter().map(|step| (step.wave, step.describe())).collect();
    world.run(&mut second);

    assert!(back[0].1.starts_with("traffic of web to") && back[0].0 == 0, "{back:?}");
    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
    assert_eq!(world.target.snapshot, first);
    assert!(!world.target.quarantined.contains_key(&second.spec_digest), "a person took it back");
}

#[test]
fn in_the_hold_a_promotion_ends_it_and_a_newer_release_makes_it_go_back() {
    let (mut world, mut second) = held();
    world.command(&mut second, Action::Promote { full: false }).unwrap();
    world.run(&mut second);
    assert_eq!(second.ending.verdict, Some(Verdict::Promoted), "{:?}", second.ending);

    let (mut world, mut second) = held();
    let events = decide::make_way(&second, &DeploymentId::derived("newer"), world.context()).unwrap();
    world.fold(&mut second, events);
    world.run(&mut second);
    assert_eq!(second.ending.verdict, Some(Verdict::Superseded));
}

#[test]
fn a_hold_that_nobody_ends_is_promoted_at_its_end_whatever_the_total_deadline() {
    let (mut world, mut second) = held();
    let (began, hold) = (world.now, std::time::Duration::from_secs(12 * 3600));
    assert_eq!(decide::wake_at(&second), Some(began.plus(hold)));

    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::Promoted), "{:?}", second.ending);
    assert!(world.now >= began.plus(hold));
    let until = second.change.until.unwrap();
    assert!(until > began.plus(hold), "the hold does not use up the total deadline");
}

#[test]
fn what_dies_in_the_hold_is_taken_back_by_itself() {
    let (mut world, mut second) = held();

    world.bad = Some("guard-web");
    world.run(&mut second);

    assert_eq!(second.ending.verdict, Some(Verdict::RolledBack));
    assert!(world.target.quarantined.contains_key(&second.spec_digest));
}

#[test]
fn a_hold_says_until_when_and_what_ends_it() {
    let (world, second) = held();

    let said = explain(&second, &world.target, world.now);

    assert!(said.headline.contains("the old set is held for 12h"), "{}", said.headline);
    assert_eq!(said.next_deadline.unwrap().1, "it is promoted");
    for cure in ["codectl promote", "codectl abort"] {
        assert!(said.unblocked_by.iter().any(|line| line.starts_with(cure)), "{:?}", said.unblocked_by);
    }
}
