//! What the engine survives: its server's end, foreign records, other commands at the wrong moment.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};

use crate::{
    specs::Spec,
    stage::{Stage, asked, command, is_alive, within},
};

/// A nats-server that does first what the script says.
fn server_that(stage: &Stage, script: &str) -> PathBuf {
    let place = stage.path("nats-server.sh");
    let real = bus::server::find_program().unwrap();
    fs::write(&place, format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display())).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    place
}

/// Starts the engine with this server in the background and waits until it is ready.
fn up_with(stage: &Stage, server: &Path) {
    let mut up = command(&stage.path(""), &["up", "--detach"]);
    let up = up.env("CODE_NATS_SERVER", server).output().unwrap();
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
}

#[test]
fn a_server_that_dies_alone_is_started_again_where_it_was() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    let (engine, address) = (stage.pid(), stage.nats());

    stage.kill_server();

    stage.until("the server runs again", || stage.servers() == 1);
    stage.until("the engine is ready", || stage.ready().starts_with("HTTP/1.1 200"));
    assert_eq!((stage.pid(), stage.nats()), (engine, address));
    let two = stage.spec("two", &Spec::new("2.0.0"));
    stage.run(&["apply", &two, "--watch"]).exits(0).says("promoted");
}

#[test]
fn readiness_says_that_the_server_is_gone_until_it_is_back() {
    let stage = Stage::folder();
    let gate = stage.path("refuse");
    up_with(&stage, &server_that(&stage, &format!("[ -e {} ] && exit 7", gate.display())));
    fs::write(&gate, "").unwrap();

    stage.kill_server();

    stage.until("it is said", || {
        let said = stage.ready();
        said.starts_with("HTTP/1.1 503") && said.contains("nats-server ended with")
    });
    fs::remove_file(&gate).unwrap();
    stage.until("the engine is ready", || stage.ready().starts_with("HTTP/1.1 200"));
    stage.run(&["list"]).exits(0);
}

#[test]
fn an_engine_whose_server_does_not_stay_ends_and_says_why() {
    let stage = Stage::folder();
    let gate = stage.path("refuse");
    let server = server_that(&stage, &format!("[ -e {} ] && exit 7", gate.display()));
    let mut engine = command(&stage.path(""), &["up"]);
    let engine = engine.env("CODE_NATS_SERVER", server).stderr(std::process::Stdio::piped());
    let mut engine = engine.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut stderr = engine.stderr.take().unwrap();
    // Read meanwhile: it waits when the pipe is full.
    let said = thread::spawn(move || {
        let mut said = String::new();
        stderr.read_to_string(&mut said).map(|_| said)
    });
    stage.until("the engine is ready", || stage.path("engine.json").exists());
    let (health, pid) = (stage.health(), stage.pid());
    fs::write(&gate, "").unwrap();

    stage.kill_server();
    // It tries for some 32 s, and lives meanwhile.
    let live = || asked(&health, "/live");
    assert!(live().starts_with("HTTP/1.1 200"), "{}", live());
    let gives_up = || {
        let said = live();
        said.starts_with("HTTP/1.1 503") && said.contains("nats-server does not stay, gave up after")
    };
    within(Duration::from_secs(90), "/live says that it has given up", gives_up, live);
    within(Duration::from_secs(30), "the engine has ended", || !is_alive(pid), live);
    let ended = engine.wait().unwrap();

    let said = said.join().unwrap().unwrap();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(!live().starts_with("HTTP"), "nobody answers for a dead engine");
    assert!(said.contains("gave up after") && said.contains("exit status: 7"), "{said}");
    assert!(!stage.path("engine.json").exists());
}

#[test]
fn down_stops_an_engine_that_is_not_announced_and_not_just_its_server() {
    let stage = Stage::up();
    let pid = stage.pid();
    fs::remove_file(stage.path("engine.json")).unwrap();

    stage.run(&["down"]).exits(0).says(&format!("the engine, process {pid}"));

    assert!(!is_alive(pid));
    assert_eq!(stage.servers(), 0);
}

#[test]
fn down_stops_an_engine_that_is_just_starting() {
    let stage = Stage::folder();
    let started = stage.path("started");
    let server = server_that(&stage, &format!("touch {}; sleep 5", started.display()));
    let mut engine = command(&stage.path(""), &["up"]);
    let mut engine = engine.env("CODE_NATS_SERVER", server).spawn().unwrap();
    stage.until("it starts its server", || started.exists());

    stage.run(&["down"]).exits(0).says("stopped");

    assert!(engine.wait().unwrap().success());
    stage.until("nothing of it runs", || stage.servers() == 0);
    assert!(!stage.path("engine.json").exists());
}

#[test]
fn up_waits_for_an_engine_that_is_just_ending() {
    let stage = Stage::folder();
    let lock = fs::File::create(stage.path("engine.lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    let ending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(700));
        drop(lock);
    });

    stage.start();

    ending.join().unwrap();
}

#[test]
fn an_engine_that_was_stopped_is_found_again_where_it_was() {
    let stage = Stage::up();
    let (nats, health) = (stage.nats(), stage.health());
    stage.run(&["down"]).exits(0);

    stage.start();
    assert_eq!((stage.nats(), stage.health()), (nats.clone(), health.clone()));
    stage.run(&["down"]).exits(0);

    let taken = health.rsplit(':').next().unwrap().to_owned();
    let _other = TcpListener::bind(format!("127.0.0.1:{taken}")).unwrap();
    stage
        .run(&["up", "--detach"])
        .exits(0)
        .says(&format!("port {taken}, where /metrics was before, is not free"));
    let elsewhere = stage.health();
    assert_eq!(stage.nats(), nats);
    assert_ne!(elsewhere, health);
    stage.run(&["down"]).exits(0);
    stage.start();
    assert_eq!(stage.health(), elsewhere);
}

#[test]
fn the_log_of_an_engine_that_crashed_is_still_there_after_the_next_start() {
    let stage = Stage::folder();
    fs::write(stage.path("engine.log"), "the reason for the crash\n").unwrap();

    stage.start();

    let log = fs::read_to_string(stage.path("engine.log")).unwrap();
    assert!(log.starts_with("the reason for the crash\n") && log.contains("ready in"), "{log}");
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_anything_is_started() {
    let stage = Stage::folder();
    fs::write(stage.path("code.toml"), "[common.nats_limits]\nevidence = 4611686018427387904\n").unwrap();

    for arguments in [&["up", "--config", "code.toml"][..], &["up", "--detach", "--config", "code.toml"]] {
        stage.run(arguments).exits(1).says("MiB free, the engine needs").says("make room");
    }

    assert!(!stage.path("nats").exists());
}

#[test]
fn a_foreign_record_is_named_by_doctor_and_passed_over_on_a_persons_word() {
    let stage = Stage::up();
    let one = stage.spec("one", &Spec::new("1.0.0"));
    stage.run(&["apply", &one, "--watch"]).exits(0);
    let id = stage.json(&["list"])[0]["deployment"].as_str().unwrap().to_owned();
    let token = "default--process--greeter";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (log, id) in [("deployment", id.as_str()), ("target", token)] {
        let subject = format!("code.v1.log.{log}.{}.{id}", bus::shard_of(id));
        let key = stage.path("access/keys/orchestrator.nk");
        runtime.block_on(testkit::publish(&stage.nats(), &key, &subject, b"x")).unwrap();
    }

    stage.kill_engine();
    stage.start();

    let found = stage.json_of(&["journal", "list"], 1);
    let found = found["unreadable"].as_array().unwrap().clone();
    let names: Vec<&str> = found.iter().map(|found| found["id"].as_str().unwrap()).collect();
    assert_eq!(names, [id.as_str(), token]);
    stage.run(&["doctor"]).exits(1).says("2 journals are set aside").says(&id);
    stage.run(&["status", &id]).exits(1).says("codectl journal show");
    stage.run(&["apply", &one]).exits(1).says("codectl journal show");
    for found in &found {
        let (id, seq) = (found["id"].as_str().unwrap(), found["seq"].as_u64().unwrap());
        let (seq, wrong) = (seq.to_string(), (seq + 1).to_string());
        stage.run(&["journal", "show", id]).exits(1).says("begin with \"x\"").says(&seq);
        let reason = ["--reason", "a stranger"];
        stage.run(&[&["journal", "skip", id, "--seq", &wrong], &reason[..]].concat()).exits(1).says(&seq);
        stage.run(&[&["journal", "skip", id, "--seq", &seq], &reason[..]].concat()).exits(0);
        stage.run(&["journal", "show", id]).exits(0).says("can be read");
    }

    stage.run(&["journal", "list"]).exits(0).says("no journal is set aside");
    stage.run(&["status", &id]).exits(0);
    stage.run(&["apply", &one, "--watch"]).exits(0);
    stage.until("the repair stands in the audit log", || {
        let found = stage.run(&["audit", "search", "--action", "target.record_skipped"]).out;
        found.contains("tester")
    });
}

#[test]
fn a_damaged_newest_record_is_named_and_passed_over_on_a_persons_word() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let id = stage.json(&["list"])[0]["deployment"].as_str().unwrap().to_owned();
    let token = "default--process--greeter";
    stage.run(&["down"]).exits(0);
    for (log, id, count) in [("deployment", id.as_str(), 2), ("target", token, 1)] {
        let (shard, folder) = (bus::shard_of(id), stage.path("nats"));
        testkit::spoil(
            &folder,
            &format!("LOG_{log}_{shard}"),
            &format!("code.v1.log.{log}.{shard}.{id}"),
            count,
        );
    }
    stage.start();

    let found = stage.json_of(&["journal", "list"], 1);
    let found = found["unreadable"].as_array().unwrap().clone();
    let names: Vec<&str> = found.iter().map(|found| found["id"].as_str().unwrap()).collect();
    assert_eq!(names, [id.as_str(), token]);
    stage.run(&["doctor"]).exits(1).says("2 journals are set aside").says(&id);
    stage.run(&["status", &id]).exits(1).says("codectl journal show");
    stage.run(&["watch", &id]).exits(1).says("codectl journal show");
    let two = stage.spec("two", &Spec::new("2.0.0"));
    stage.run(&["apply", &two]).exits(1).says("codectl journal show");
    for found in &found {
        let (id, seq) = (found["id"].as_str().unwrap(), found["seq"].as_u64().unwrap().to_string());
        stage.run(&["journal", "show", id]).exits(1).says("its bytes are damaged").says(&seq);
        stage.run(&["journal", "skip", id, "--seq", &seq, "--reason", "a disk"]).exits(0);
    }

    stage.run(&["journal", "list"]).exits(0).says("no journal is set aside");
    stage.until("it ends again", || stage.run(&["status", &id]).code == 0);
    stage.run(&["apply", &two, "--watch"]).exits(0).says("promoted");
}

/// A release fails behind a hook that cannot be undone, and a person closes it.
fn closed_by_a_person(stage: &Stage, version: &str) {
    let spec = stage.spec(version, &Spec::new(version).never_ready().irreversible());
    stage.run(&["apply", &spec, "--watch"]).exits(12);
    stage.run(&["abort", "--close", "--reason", "looked at it"]).exits(0);
    stage.until("the target is free", || stage.run(&["lock", "show", &stage.target()]).out.contains("free"));
}

#[test]
fn what_a_closed_deployment_left_is_shown_and_taken_away_and_blocks_nobody() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    stage.run(&["target", "show", &stage.target()]).exits(0).says("asked for");

    closed_by_a_person(&stage, "2.0.0");
    stage.run(&["target", "show", &stage.target()]).exits(1).says("left over");
    stage.run(&["target", "clear", &stage.target()]).exits(0).says("taken away");
    stage.run(&["target", "show", &stage.target()]).exits(0);
    stage.run(&["lock", "show", &stage.target()]).exits(0).says("free");

    closed_by_a_person(&stage, "3.0.0");
    let four = stage.spec("four", &Spec::new("4.0.0"));
    stage.run(&["apply", &four, "--watch"]).exits(0).says("promoted");
    stage.run(&["target", "show", &stage.target()]).exits(0);
    stage.run(&["drift", &stage.target()]).exits(0);
    assert_eq!(stage.instances().len(), 1);
}
