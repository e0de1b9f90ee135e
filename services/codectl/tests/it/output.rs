//! What instances write is bounded where it is written, also with no engine.

use std::{fs, path::PathBuf};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getpgid, getsid},
};

use crate::stage::{Stage, command, is_alive};

/// What the engine lets an instance have on the disk.
const MOST: u64 = 20 << 20;

/// A program that writes as fast as it can.
fn endless(stage: &Stage) -> String {
    let file = stage.path("endless.yaml");
    let text = "apiVersion: code/v1
name: greeter
target: process
modules:
  - name: writer
    version: 1.0.0
    run: {command: [/usr/bin/yes, a line of some forty letters to be kept in a file]}
    replicas: 1
    strategy: recreate
";
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

/// The instance's folder and its keeper.
fn kept(stage: &Stage) -> (PathBuf, Pid) {
    let target = stage.path("agents/process/targets/default--process--greeter").canonicalize().unwrap();
    let folder = fs::read_dir(target).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap().path();
    stage.until("its output is kept", || agents::output::find(&folder).is_some());
    let keeper = agents::output::find(&folder).unwrap();
    (folder, keeper)
}

fn line_of(keeper: Pid, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{keeper}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Until so many more bytes were written no more than the most is on the disk.
fn stays_within(stage: &Stage, (folder, keeper): &(PathBuf, Pid), more: u64) {
    let begun = line_of(*keeper, "io", "rchar:");
    let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    stage.until("much more was written", || {
        let on_disk = size("output.log") + size("output.log.1");
        assert!(on_disk <= MOST, "{on_disk} bytes");
        line_of(*keeper, "io", "rchar:") > begun + more
    });
}

#[test]
fn an_endless_writer_is_bounded_and_goes_on_whoever_dies() {
    let stage = Stage::folder();
    let mut up = command(&stage.path(""), &["up"]);
    let up = up.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut engine = std::os::unix::process::CommandExt::process_group(up, 0).spawn().unwrap();
    stage.until("the engine is ready", || stage.path("engine.json").exists());
    stage.run(&["apply", &endless(&stage), "--watch"]).exits(0).says("promoted");
    let first = kept(&stage);
    let keeper = first.1;
    assert_eq!(getsid(Some(keeper)), Ok(keeper), "a session of its own");
    assert_ne!(getpgid(Some(keeper)), getpgid(Some(Pid::from_raw(stage.pid()))));
    stays_within(&stage, &first, 4 * MOST);
    let memory = line_of(keeper, "status", "VmRSS:") - line_of(keeper, "status", "RssFile:");
    assert!(memory < 4096, "{memory} KiB of its own");

    // As Ctrl-C on the engine's terminal, and a crash.
    killpg(Pid::from_raw(stage.pid()), Signal::SIGINT).unwrap();
    engine.wait().unwrap();
    assert!(is_alive(keeper.as_raw()));
    stays_within(&stage, &first, 4 * MOST);
    stage.start();
    stage.kill_engine();
    stays_within(&stage, &first, 4 * MOST);

    kill(keeper, Signal::SIGKILL).unwrap();
    stage.until("it is gone", || !is_alive(keeper.as_raw()));
    stage.start();
    let second = kept(&stage);
    assert_ne!(second.1, keeper);
    stays_within(&stage, &second, 4 * MOST);
    stage.run(&["drift", &stage.target()]).exits(0).says("no drift");
    stage.run(&["down", "--all"]).exits(0).says("1 of writer");
    assert!(!is_alive(second.1.as_raw()), "a keeper is left");
    assert!(!second.0.exists());
}
