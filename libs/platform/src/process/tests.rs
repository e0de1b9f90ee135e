//! The engine dies between any two steps of a start; the next one makes neither none nor two.

mod output;

use std::{path::Path, time::Duration};

use model::{DeploymentId, Digest, Fence, TargetId};

use super::{ProcessPlatform, Settings, proc, world::Point};
use crate::{Error, Instance, Platform as _, StartOrder, State, scenarios::sample::keep_output};

const GRACE: Duration = Duration::from_secs(5);

fn target() -> TargetId {
    "test.process.shop".parse().unwrap()
}

fn platform(state: &Path) -> ProcessPlatform {
    keep_output();
    ProcessPlatform::new(Settings::new(state)).unwrap()
}

fn order(script: &str) -> StartOrder {
    let module = serde_json::json!({
        "name": "web",
        "run": { "command": ["/bin/sh", "-c", script] },
        "ports": [{ "name": "http" }],
    });
    let module: model::spec::Module = serde_json::from_value(module).unwrap();
    StartOrder {
        target: target(),
        deployment: DeploymentId::new(),
        revision: module.revision(),
        module,
        slot: 0,
        fence: Fence { lock: 1, epoch: 1 },
        peers: Default::default(),
        labels: Default::default(),
        secrets: Vec::new(),
    }
}

/// Processes of the instance that have become the program.
fn programs(state: &Path, instance: &Instance) -> usize {
    let state = state.canonicalize().unwrap();
    let marks = [format!("CODE_INSTANCE={}", instance.id), format!("CODE_STATE_DIR={}", state.display())];
    let found = proc::with_environment(&marks);
    found.iter().filter(|(pid, stat)| stat.group == *pid).count()
}

async fn starts_once_after_dying_at(point: Point) {
    let state = tempfile::tempdir().unwrap();
    let order = order("echo began; while :; do sleep 600; done");
    let dying = platform(state.path());
    *dying.world.dies_at.lock().unwrap() = Some(point);
    dying.start(&order).await.unwrap_err();
    drop(dying);

    let next = platform(state.path());
    let started = next.start(&order).await.unwrap();
    let again = next.start(&order).await.unwrap();

    assert!(started.is_running(), "{started:?}");
    assert_eq!(started.handle, again.handle);
    assert_eq!(programs(state.path(), &started), 1);
    let logs = testkit::eventually("its first line", Duration::from_secs(20), || async {
        Some(next.logs(&target(), &started.id, 10).await.unwrap())
            .filter(|logs| !logs.is_empty())
            .ok_or("it wrote nothing")
    })
    .await;
    assert_eq!(logs, "began", "the program began more than once");
    next.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();
    assert_eq!(programs(state.path(), &started), 0);
}

#[tokio::test]
async fn an_engine_that_dies_after_the_intent_leaves_no_second_instance() {
    starts_once_after_dying_at(Point::Intended).await;
}

#[tokio::test]
async fn an_engine_that_dies_with_the_gate_closed_leaves_no_second_instance() {
    starts_once_after_dying_at(Point::Gated).await;
}

#[tokio::test]
async fn an_engine_that_dies_after_the_record_leaves_no_second_instance() {
    starts_once_after_dying_at(Point::Recorded).await;
}

#[tokio::test]
async fn an_engine_that_dies_after_the_start_leaves_no_second_instance() {
    starts_once_after_dying_at(Point::Opened).await;
}

#[tokio::test]
async fn a_process_whose_record_lost_its_pid_is_adopted() {
    let state = tempfile::tempdir().unwrap();
    let order = order("exec sleep 600");
    let platform = platform(state.path());
    let started = platform.start(&order).await.unwrap();
    let file = state.path().join("targets").join(target().token()).join(&started.id).join("instance.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["pid"] = 0.into();
    std::fs::write(&file, record.to_string()).unwrap();

    let seen = platform.observe(&target()).await.unwrap();

    assert_eq!(seen[0].handle, started.handle);
    assert_eq!(seen[0].addresses, started.addresses);
    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_process_whose_record_is_lost_is_replaced_not_doubled() {
    let state = tempfile::tempdir().unwrap();
    let order = order("while :; do sleep 600; done");
    let platform = platform(state.path());
    let lost = platform.start(&order).await.unwrap();
    std::fs::remove_dir_all(state.path().join("targets").join(target().token())).unwrap();

    let started = platform.start(&order).await.unwrap();

    assert_ne!(started.handle, lost.handle);
    assert_eq!(programs(state.path(), &started), 1);
    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_reused_pid_is_not_taken_for_the_instance_and_not_killed() {
    let state = tempfile::tempdir().unwrap();
    let order = order("exec sleep 600");
    let platform = platform(state.path());
    let started = platform.start(&order).await.unwrap();
    let file = state.path().join("targets").join(target().token()).join(&started.id).join("instance.json");
    platform.world.signal(&target(), &started.id, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(platform.gone(&target(), &started.id, GRACE).await.unwrap());
    // The record now names this test's own process, as if the kernel had given the number away.
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["pid"] = std::process::id().into();
    std::fs::write(&file, record.to_string()).unwrap();

    let seen = platform.observe(&target()).await.unwrap();
    platform.stop(&target(), &started.id, order.fence, Duration::ZERO).await.unwrap();

    assert!(matches!(seen[0].state, State::Exited { code: None, .. }), "{:?}", seen[0].state);
}

/// It has the name that we want, and belongs to somebody else.
#[tokio::test]
async fn a_process_of_the_same_name_in_another_world_is_left_alone() {
    let (state, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let order = order("exec sleep 600");
    let mut other = std::process::Command::new("/bin/sleep");
    other.arg("600").env("CODE_INSTANCE", order.id()).env("CODE_TARGET", target().to_string());
    other.env("CODE_STATE_DIR", foreign.path().canonicalize().unwrap());
    let mut other = other.spawn().unwrap();
    let platform = platform(state.path());

    let before = platform.observe(&target()).await.unwrap();
    let started = platform.start(&order).await.unwrap();
    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();

    assert_eq!(before, [], "it is nobody's instance here");
    assert_ne!(started.handle, other.id().to_string());
    assert!(other.try_wait().unwrap().is_none(), "it was killed");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_program_with_another_digest_is_not_started() {
    let state = tempfile::tempdir().unwrap();
    let mut order = order("exec sleep 600");
    order.module.run.digest = Some(Digest::of_bytes(b"something else"));

    let refused = platform(state.path()).start(&order).await.unwrap_err();

    assert!(matches!(refused, Error::WrongDigest { .. }), "{refused}");
}

#[tokio::test]
async fn a_module_without_a_command_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let mut order = order("x");
    order.module.run.command.clear();
    order.module.run.image = Some("web:1".to_owned());

    let refused = platform(state.path()).start(&order).await.unwrap_err();

    assert_eq!(refused.to_string(), "module web has no program, which the process platform needs");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let state = tempfile::tempdir().unwrap();
    let order = order("exec sleep 600");
    let platform = platform(state.path());
    let started = platform.start(&order).await.unwrap();
    let command = ["/bin/sh".to_owned(), "-c".to_owned(), "sleep 600 & wait".to_owned()];

    let late = platform.exec(&target(), &started.id, &command, Duration::from_millis(100)).await.unwrap_err();

    assert!(matches!(late, Error::Timeout { .. }), "{late}");
    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();
}

#[tokio::test]
async fn an_instance_id_cannot_be_a_path() {
    let state = tempfile::tempdir().unwrap();

    let refused = platform(state.path()).logs(&target(), "../../etc", 1).await.unwrap_err();

    assert_eq!(refused.code(), model::Code::Invalid);
}

#[tokio::test]
async fn one_record_that_cannot_be_read_blocks_neither_its_target_nor_another() {
    let state = tempfile::tempdir().unwrap();
    let order = order("while :; do sleep 600; done");
    let mut other = order.clone();
    other.target.name = "other".parse().unwrap();
    let platform = platform(state.path());
    let started = platform.start(&order).await.unwrap();
    let file = state.path().join("targets").join(target().token()).join(&started.id).join("instance.json");
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();

    let beside = platform.start(&other).await.unwrap();
    let capacity = platform.capacity().await;
    let seen = platform.observe(&target()).await.unwrap();
    let again = platform.start(&order).await.unwrap();

    assert!(capacity.is_ok(), "{capacity:?}");
    assert_eq!((seen.len(), &seen[0].id, &seen[0].module), (1, &started.id, &started.module));
    assert_eq!((&seen[0].revision, seen[0].slot), (&started.revision, started.slot));
    assert!(matches!(seen[0].state, State::Exited { code: None, .. }), "{:?}", seen[0].state);
    assert_ne!(again.handle, started.handle);
    assert_eq!(programs(state.path(), &again), 1);
    platform.stop(&target(), &again.id, order.fence, GRACE).await.unwrap();
    platform.stop(&other.target, &beside.id, other.fence, GRACE).await.unwrap();
}

#[tokio::test]
async fn an_instance_whose_record_cannot_be_read_can_be_taken_away() {
    let state = tempfile::tempdir().unwrap();
    let order = order("while :; do sleep 600; done");
    let platform = platform(state.path());
    let started = platform.start(&order).await.unwrap();
    let folder = state.path().join("targets").join(target().token()).join(&started.id);
    std::fs::write(folder.join("instance.json"), "").unwrap();

    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();

    assert_eq!(programs(state.path(), &started), 0);
    assert!(platform.observe(&target()).await.unwrap().is_empty());
}
