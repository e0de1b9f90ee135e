//! What an instance writes is bounded where it is written, whoever lives.

use std::path::PathBuf;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sandbox::output::{self, keeper};

use super::*;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(20);
/// On the disk at most.
const MOST: u64 = 20_000;
const ENDLESS: &str = "while :; do echo 0123456789012345678901234567890123456789; done";

/// The engine; another one with the same folder comes later.
fn engine(state: &Path) -> ProcessPlatform {
    keep_output();
    ProcessPlatform::new(Settings { log_bytes: MOST, ..Settings::new(state) }).unwrap()
}

/// The instance's folder.
fn folder(state: &Path, instance: &Instance) -> PathBuf {
    state.canonicalize().unwrap().join("targets").join(target().token()).join(&instance.id)
}

fn size(folder: &Path) -> u64 {
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    size(keeper::LOG) + size(keeper::LOG_BEFORE)
}

/// Bytes that the keeper has read so far.
fn read_by(keeper: Pid) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{keeper}/io")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap_or(0)
}

/// Watches until the keeper has read so much more, and that no more than the most is on the disk meanwhile.
async fn stays_within(folder: &Path, keeper: Pid, bytes: u64) {
    let begun = read_by(keeper);
    testkit::eventually("the keeper reads on", LONG, || async {
        assert!(size(folder) <= MOST, "{} bytes", size(folder));
        let read = read_by(keeper) - begun;
        if read >= bytes { Ok(()) } else { Err(format!("{read} of {bytes} bytes")) }
    })
    .await;
    assert!(size(folder) > MOST / 4, "the end is kept");
}

async fn holds(what: &str, check: impl Fn() -> bool) {
    testkit::eventually(what, LONG, || async { check().then_some(()).ok_or("not yet") }).await;
}

async fn keeper_of(folder: &Path) -> Pid {
    testkit::eventually("a keeper", LONG, || async { output::find(folder).ok_or("none is there") }).await
}

#[tokio::test]
async fn endless_output_is_bounded_with_nobody_looking_and_no_engine() {
    let state = tempfile::tempdir().unwrap();
    let order = order(ENDLESS);
    let platform = engine(state.path());
    let started = platform.start(&order).await.unwrap();
    let folder = folder(state.path(), &started);
    let keeper = keeper_of(&folder).await;

    stays_within(&folder, keeper, 50 * MOST).await;
    drop(platform);
    stays_within(&folder, keeper, 50 * MOST).await;

    let next = engine(state.path());
    assert!(next.observe(&target()).await.unwrap()[0].is_running());
    next.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();
    assert_eq!(output::find(&folder), None, "a keeper is left");
}

#[tokio::test]
async fn the_end_of_what_was_written_is_kept() {
    let state = tempfile::tempdir().unwrap();
    let order = order("i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo line $i; done; echo last >&2");
    let platform = engine(state.path());
    let started = platform.start(&order).await.unwrap();
    let pid: i32 = started.handle.parse().unwrap();
    holds("the program has ended", || proc::stat(pid).is_none_or(|stat| stat.has_ended())).await;

    let logs = platform.logs(&target(), &started.id, 3).await.unwrap();

    assert_eq!(logs, "line 4999\nline 5000\nlast");
    assert!(size(&folder(state.path(), &started)) <= MOST);
    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();
}

#[tokio::test]
async fn an_instance_outlives_its_keeper_and_gets_another() {
    let state = tempfile::tempdir().unwrap();
    let order = order(ENDLESS);
    let platform = engine(state.path());
    let started = platform.start(&order).await.unwrap();
    let folder = folder(state.path(), &started);
    let first = keeper_of(&folder).await;

    kill(first, Signal::SIGKILL).unwrap();
    holds("its keeper is gone", || output::is_forsaken(&folder)).await;
    platform.tend().await.unwrap();

    let second = keeper_of(&folder).await;
    assert_ne!(first, second);
    stays_within(&folder, second, 10 * MOST).await;
    let seen = platform.observe(&target()).await.unwrap();
    assert_eq!((&seen[0].handle, seen[0].restarts), (&started.handle, 0));
    // Nobody is started for one that has its keeper.
    platform.tend().await.unwrap();
    assert_eq!(output::find(&folder), Some(second));
    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();
    assert_eq!(output::find(&folder), None, "a keeper is left");
}

#[tokio::test]
async fn a_process_that_slipped_away_keeps_no_keeper() {
    let state = tempfile::tempdir().unwrap();
    let order = order("env -i /bin/sh -c 'setsid sleep 600 &'; exec sleep 600");
    let platform = engine(state.path());
    let started = platform.start(&order).await.unwrap();
    let folder = folder(state.path(), &started);
    let keeper = keeper_of(&folder).await;
    let holders = || {
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let pipe = folder.join("output.pipe");
        let holds = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|to| to == pipe);
        pids.filter(holds)
            .filter(|pid| !proc::environment(*pid).unwrap_or_default().contains_key("CODE_INSTANCE"))
            .collect::<Vec<_>>()
    };
    holds("a process slipped away", || {
        proc::command_line(holders().first().copied().unwrap_or(0)).first().is_some_and(|it| it == "sleep")
    })
    .await;
    let slipped = holders();

    platform.stop(&target(), &started.id, order.fence, GRACE).await.unwrap();

    assert!(proc::stat(keeper.as_raw()).is_none_or(|stat| stat.has_ended()));
    assert!(slipped.iter().all(|pid| proc::stat(*pid).is_some()), "it is not the engine's to kill");
    for pid in slipped {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
}
