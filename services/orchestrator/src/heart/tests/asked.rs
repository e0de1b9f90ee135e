//! What a release under way asks for.

use model::asked::{Asked, Share, UnderWay};

use super::{super::asked::under_way, *};

fn seen(under_way: &UnderWay, version: &str) -> Option<(u32, u32, Share)> {
    let spec: DeploymentSpec = serde_json::from_str(&CANARY.replace("VERSION", version)).unwrap();
    let revision = spec.modules[0].revision();
    let asked: &Asked = under_way.asked.iter().find(|asked| asked.revision == revision)?;
    Some((asked.least, asked.most, asked.traffic.unwrap()))
}

/// A canary that waits for a person at half of the traffic.
fn waiting() -> (World, Deployment) {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    world.run(&mut second);
    assert!(waits_for_person(&second));
    (world, second)
}

#[test]
fn a_canary_that_waits_asks_for_both_revisions_and_their_shares() {
    let (_, second) = waiting();

    let asked = under_way(&second).unwrap();

    assert_eq!(seen(&asked, "1.0.0"), Some((4, 4, Share::exactly(50))));
    assert_eq!(seen(&asked, "2.0.0"), Some((2, 2, Share::exactly(50))));
    assert_eq!(asked.text, format!("a release is under way ({}): 50 % of web to 2.0.0", second.id));
}

#[test]
fn a_step_that_was_begun_may_have_done_all_or_nothing() {
    let (mut world, mut second) = waiting();
    world.command(&mut second, Action::Promote { full: false }).unwrap();
    let events = advance(&second, world.context());
    world.fold(&mut second, events);

    let asked = under_way(&second).unwrap();

    assert_eq!(seen(&asked, "2.0.0"), Some((2, 4, Share::exactly(50))), "all four are being started");
    assert_eq!(seen(&asked, "1.0.0"), Some((4, 4, Share::exactly(50))));
}

#[test]
fn on_the_way_back_it_is_anything_between_here_and_there_until_it_is_there() {
    let (mut world, mut second) = waiting();
    world.command(&mut second, Action::Abort { reason: "no".to_owned() }).unwrap();

    let turning = under_way(&second).unwrap();
    world.until_phase(&mut second, Phase::RolledBack);
    let back = under_way(&second).unwrap();

    assert_eq!(seen(&turning, "2.0.0"), Some((0, 2, Share { least: 0, most: 50 })));
    assert_eq!(seen(&turning, "1.0.0"), Some((4, 4, Share { least: 50, most: 100 })));
    assert!(turning.text.starts_with("a release goes back"), "{}", turning.text);
    assert_eq!((seen(&back, "1.0.0"), seen(&back, "2.0.0")), (Some((4, 4, Share::exactly(100))), None));
}

#[test]
fn before_it_holds_the_target_and_once_it_is_over_it_asks_for_nothing() {
    let mut world = World::with_v1();
    let mut second = world.submit(&CANARY.replace("VERSION", "2.0.0"), "two");
    assert_eq!(under_way(&second), None);

    world.run(&mut second);
    world.command(&mut second, Action::Promote { full: false }).unwrap();
    world.run(&mut second);

    assert!(second.is_closed());
    assert_eq!(under_way(&second), None);
}
