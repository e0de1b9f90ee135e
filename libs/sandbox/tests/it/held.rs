//! What a program is held to: time, output, processors.

use std::{future::pending, path::Path, time::Duration};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use sandbox::{End, Limit, Limits, Profile};
use testkit::eventually;

use crate::{KEPT, LONG, launch, shell};

#[tokio::test]
async fn a_program_whose_time_is_over_ends_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();

    let ended = shell(folder.path(), "sleep 1000 & echo $!; wait", Duration::from_millis(300)).await;

    assert_eq!(ended.end, End::Late);
    let started = Pid::from_raw(ended.output.trim().parse().unwrap());
    eventually("what it started is gone", LONG, async || match kill(started, None) {
        Err(Errno::ESRCH) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_no_longer_wanted_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path(), Path::new("/bin/sleep"), &["1000"], Profile::guarded());

    let ended = launch.run("code-test", KEPT).unwrap().wait(LONG, std::future::ready(())).await.unwrap();

    assert_eq!(ended.end, End::Stopped);
}

#[tokio::test]
async fn of_endless_output_the_end_is_kept() {
    let folder = tempfile::tempdir().unwrap();

    let ended = shell(folder.path(), "seq 1 100000; echo last; exit 3", LONG).await;

    assert_eq!(ended.end, End::Exited(3));
    assert_eq!(ended.output.len(), KEPT);
    assert!(ended.output.ends_with("100000\nlast\n"), "{}", ended.output);
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit_status() {
    let folder = tempfile::tempdir().unwrap();

    assert_eq!(shell(folder.path(), "kill -9 $$", LONG).await.end, End::Signalled(9));
}

#[tokio::test]
async fn a_share_of_the_processors_is_held_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let script = ["-c", "while :; do :; done"];
    let mut launch = launch(folder.path(), Path::new("/bin/sh"), &script, Profile::guarded());
    launch.limits = Limits { cpu_millis: Some(100), ..Limits::default() };

    let running = launch.run(&format!("code-test-{}", std::process::id()), KEPT).unwrap();
    let named = running.unenforced.iter().any(|one| one.what == Limit::Cpu);
    let stat = running.groups().folders.first().map(|folder| folder.join("cpu.stat"));

    assert_eq!(running.groups().holds_cpu, !named, "{:?}", running.unenforced);
    let Some(stat) = stat else { return };
    let throttled = eventually("the kernel holds it back", LONG, async || {
        let text = std::fs::read_to_string(&stat).map_err(|error| error.to_string())?;
        let times = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
        if times.is_some_and(|times| times > 0) { Ok(()) } else { Err(text) }
    });
    tokio::select! {
        ended = running.wait(LONG, pending()) => panic!("it ended by itself: {ended:?}"),
        () = throttled => {}
    }
}
