//! The target's journal is lost, or an older copy of it, while a deployment holds the target.

use super::*;

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
