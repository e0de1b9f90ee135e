//! What the engine says of a disk on which it cannot go on.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    specs::scratch,
    stage::{Answer, asked, codectl, command, within},
};

/// A home on a disk of 40 MiB, on which an engine was before: such a one needs 16 MiB.
struct Small(TempDir);

impl Small {
    /// `None`, loudly, where the test may not mount anything.
    fn mount() -> Option<Small> {
        let small = Small::mount_of("40m")?;
        fs::create_dir_all(small.home().join("nats/data/jetstream")).unwrap();
        Some(small)
    }

    /// A disk of this size, on which nothing was before.
    fn mount_of(size: &str) -> Option<Small> {
        let folder = scratch();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let size = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "code-test"]).arg(&home).output();
        if mount.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Small(folder));
        }
        testkit::skip(&format!("a small disk could not be mounted: {mount:?}"), "run the tests as root");
        None
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.home().join("filler")).unwrap();
        let filled = std::io::copy(&mut std::io::repeat(0), &mut filler);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    /// A nats-server, from another disk, that fills this one before it starts.
    fn filling_server(&self) -> PathBuf {
        let place = self.0.path().join("nats-server.sh");
        let (real, filler) = (bus::server::find_program().unwrap(), self.home().join("filler"));
        let script = format!(
            "#!/bin/sh\ncat /dev/zero 2>/dev/null > {}\nexec {} \"$@\"\n",
            filler.display(),
            real.display()
        );
        fs::write(&place, script).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        place
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        codectl(&self.home(), &["down", "--all"]);
        let _ = Command::new("umount").arg("--lazy").arg(self.home()).status();
    }
}

fn up_with(home: &Path, server: &Path, arguments: &[&str]) -> Answer {
    let mut up = command(home, arguments);
    up.env("CODE_NATS_SERVER", server);
    Answer::of(up, arguments)
}

#[test]
fn a_full_disk_is_named_by_up_and_by_doctor() {
    let Some(small) = Small::mount() else { return };
    codectl(&small.home(), &["doctor"]).exits(0).says("MiB free below");

    small.fill();

    for arguments in [&["up"][..], &["up", "--detach"]] {
        codectl(&small.home(), arguments).exits(1).says("has 0 MiB free, the engine needs 16 MiB");
    }
    codectl(&small.home(), &["doctor"])
        .exits(1)
        .says("✗ room on the disk of the engine's home")
        .says("has 0 MiB free, the engine needs 16 MiB")
        .says("make room");
}

#[test]
fn a_disk_that_fills_up_while_the_engine_starts_is_named_although_no_log_can_be_written() {
    let Some(small) = Small::mount() else { return };
    let server = small.filling_server();

    for arguments in [&["up"][..], &["up", "--detach"]] {
        let said = up_with(&small.home(), &server, arguments).exits(1);
        said.says("has 0 MiB free");
        fs::remove_file(small.home().join("filler")).unwrap();
    }
}

#[test]
fn a_server_whose_disk_was_full_is_started_again_once_there_is_room() {
    let Some(small) = Small::mount_of("620m") else { return };
    let config = small.0.path().join("small.toml");
    let limits = "log = 16777216\njobs = 16777216\nevents = 16777216\ninbox = 8388608\ndead = 8388608\n\
                  advisories = 8388608\nbucket = 8388608\nevidence = 16777216\n";
    fs::write(&config, format!("[common.nats_limits]\n{limits}")).unwrap();
    codectl(&small.home(), &["up", "--detach", "--config", &config.to_string_lossy()]).exits(0);
    let engine: serde_json::Value =
        serde_json::from_slice(&fs::read(small.home().join("engine.json")).unwrap()).unwrap();
    let health = engine["health"].as_str().unwrap();
    let ready = || asked(health, "/ready");
    let until = |what: &str, words: &str| {
        within(Duration::from_secs(30), what, || ready().contains(words), ready);
    };

    small.fill();
    until("it says that the disk is full", "nats-server takes nothing");
    fs::remove_file(small.home().join("filler")).unwrap();

    until("it is ready again", "HTTP/1.1 200");
    let log = fs::read_to_string(small.home().join("engine.log")).unwrap();
    assert!(log.contains("its disk was full and has room again"), "{log}");
    codectl(&small.home(), &["list"]).exits(0);
}

#[test]
fn doctor_says_that_a_disk_is_smaller_than_what_is_reserved() {
    let home = scratch();
    let doctor = |arguments: &[&str]| {
        let mut doctor = command(home.path(), arguments);
        doctor.env("CODE_NATS_LIMITS__EVIDENCE", (1u64 << 62).to_string());
        Answer::of(doctor, arguments)
    };

    doctor(&["doctor"]).exits(1).says("MiB free, the engine needs").says("make room").says("not ready");
    let told = doctor(&["doctor", "--output", "json"]).exits(1);
    let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    let room = told.as_array().unwrap().iter().find(|one| one["name"].as_str().unwrap().starts_with("room"));
    let room = room.unwrap();
    assert!(room["found"].is_null() && room["cure"].as_str().unwrap().contains("the engine needs"), "{room}");
}
