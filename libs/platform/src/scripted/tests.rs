//! The script is followed, and the ledger tells what happened.

use std::time::Duration;

use model::{Code, DeploymentId, Fence, TargetId, Timestamp, Token};

use super::{Effect, ScriptedPlatform, WriteKind};
use crate::{Platform as _, StartOrder, State};

fn target() -> TargetId {
    "test.scripted.shop".parse().unwrap()
}

fn web() -> Token {
    "web".parse().unwrap()
}

fn order(slot: u32) -> StartOrder {
    let module: model::spec::Module =
        serde_json::from_str(r#"{"name":"web","run":{"command":["web"]},"ports":[{"name":"http"}]}"#)
            .unwrap();
    StartOrder {
        target: target(),
        deployment: DeploymentId::derived("x"),
        revision: module.revision(),
        module,
        slot,
        fence: Fence { lock: 1, epoch: 1 },
        peers: Default::default(),
        labels: Default::default(),
        secrets: Vec::new(),
    }
}

#[tokio::test]
async fn starts_fail_as_often_as_the_script_says() {
    let platform = ScriptedPlatform::new();
    platform.script(|script| script.fail_next_starts(&web(), None, 2));

    let codes = [
        platform.start(&order(0)).await.map_err(|error| error.code()).err(),
        platform.start(&order(0)).await.map_err(|error| error.code()).err(),
        platform.start(&order(0)).await.map_err(|error| error.code()).err(),
    ];

    assert_eq!(codes, [Some(Code::Unavailable), Some(Code::Unavailable), None]);
    assert_eq!(platform.ledger().done(WriteKind::Start), 1);
}

#[tokio::test]
async fn a_full_disk_a_missing_image_and_a_lost_engine_have_their_codes() {
    let platform = ScriptedPlatform::new();
    let start = async || platform.start(&order(0)).await.unwrap_err().code();

    platform.script(|script| script.disk_full = true);
    assert_eq!(start().await, Code::Overloaded);
    platform.script(|script| (script.disk_full, script.lost) = (false, true));
    assert_eq!(start().await, Code::Unavailable);
    assert_eq!(platform.observe(&target()).await.unwrap_err().code(), Code::Unavailable);
    platform.script(|script| {
        script.lost = false;
        script.set_image_missing(&web(), Some(&order(0).revision), true);
    });
    assert_eq!(start().await, Code::NotFound);
    platform.script(|script| script.set_image_missing(&web(), Some(&order(0).revision), false));
    assert!(platform.start(&order(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_instance_crashes_when_the_script_says_by_the_worlds_clock() {
    let platform = ScriptedPlatform::new();
    platform.script(|script| script.set_crash(&web(), None, Some((Duration::from_secs(60), 3))));
    platform.start(&order(0)).await.unwrap();

    tokio::time::advance(Duration::from_secs(59)).await;
    let before = platform.observe(&target()).await.unwrap();
    tokio::time::advance(Duration::from_secs(59)).await;
    let after = platform.observe(&target()).await.unwrap();

    assert!(before[0].is_running());
    assert_eq!(after[0].state, State::Exited { code: Some(3), at: Timestamp(60_000), oom: false });
}

#[tokio::test(start_paused = true)]
async fn a_slow_platform_takes_its_time() {
    let platform = ScriptedPlatform::new();
    platform.script(|script| script.slow = Duration::from_secs(5));
    let begin = tokio::time::Instant::now();

    platform.observe(&target()).await.unwrap();

    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn the_ledger_finds_what_was_started_twice_and_what_was_refused() {
    let platform = ScriptedPlatform::new();
    let id = order(0).id();
    platform.start(&order(0)).await.unwrap();
    platform.start(&order(0)).await.unwrap();
    assert_eq!(platform.ledger().duplicates(), Vec::<String>::new());

    platform.lose(&target(), &id);
    let mut again = order(0);
    again.fence.lock = 2;
    platform.start(&again).await.unwrap();
    platform.start(&order(0)).await.unwrap_err();

    let ledger = platform.ledger();
    assert_eq!(ledger.duplicates(), [id]);
    assert_eq!(ledger.refused(), 1);
    assert!(ledger.out_of_order().is_empty());
    let effects: Vec<Effect> = ledger.writes.iter().map(|write| write.effect).collect();
    assert_eq!(effects, [Effect::Done, Effect::AlreadyThere, Effect::Done, Effect::Refused]);
}

#[tokio::test]
async fn a_given_address_is_used_and_others_are_all_different() {
    let platform = ScriptedPlatform::new();
    platform.script(|script| script.set_address(&web(), None, "http", "127.0.0.1:9"));
    let given = platform.start(&order(0)).await.unwrap();
    let fresh = ScriptedPlatform::new();

    let (one, two) = (fresh.start(&order(0)).await.unwrap(), fresh.start(&order(1)).await.unwrap());

    assert_eq!(given.address(None), Some("127.0.0.1:9"));
    assert_ne!(one.address(None), two.address(None));
}
