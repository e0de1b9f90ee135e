//! The data plane is a process of its own: whoever uses what was deployed notices nothing of the engine's end, restart and
//! upgrade.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    specs::Spec,
    stage::{Answer, Stage, command, command_of, is_alive},
};

/// Clients that ask without a pause: some on connections that they keep, some on a new one each time.
struct Clients {
    over: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    fn of(port: u16) -> Clients {
        let (over, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |keeps: bool| {
            let (over, good) = (Arc::clone(&over), Arc::clone(&good));
            thread::spawn(move || {
                let (mut failed, mut connection) = (Vec::new(), None);
                while !over.load(SeqCst) {
                    match ask(port, connection.take()) {
                        Ok(kept) => {
                            connection = kept.filter(|_| keeps);
                            good.fetch_add(1, SeqCst);
                        }
                        Err(error) => failed.push(error.to_string()),
                    }
                    thread::sleep(Duration::from_millis(3));
                }
                failed
            })
        };
        let threads = [true, true, false, false].map(client).into();
        Clients { over, good, threads }
    }

    /// Waits for so many more good answers.
    fn ask(&self, stage: &Stage, more: u64) {
        let until = self.good.load(SeqCst) + more;
        stage.until("clients are answered", || self.good.load(SeqCst) >= until);
    }

    #[track_caller]
    fn end_well(self) {
        self.over.store(true, SeqCst);
        let failed: Vec<String> =
            self.threads.into_iter().flat_map(|client| client.join().unwrap()).collect();
        let good = self.good.load(SeqCst);
        assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), good + failed.len() as u64);
    }
}

type Connection = BufReader<TcpStream>;

/// One request; gives the connection back if it may carry another one.
fn ask(port: u16, kept: Option<Connection>) -> std::io::Result<Option<Connection>> {
    let mut connection = match kept {
        Some(kept) => kept,
        None => {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            BufReader::new(stream)
        }
    };
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n")?;
    let (mut length, mut stays, mut status) = (0, true, String::new());
    connection.read_line(&mut status)?;
    if !status.starts_with("HTTP/1.1 200") {
        return Err(std::io::Error::other(format!("answered {status:?}")));
    }
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            Some(("content-length", text)) => length = text.parse().unwrap(),
            Some(("connection", "close")) => stays = false,
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    connection.read_exact(&mut vec![0; length])?;
    Ok(stays.then_some(connection))
}

fn kill9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

impl Stage {
    /// The data plane's process.
    fn plane(&self) -> i32 {
        let said: Value =
            serde_json::from_slice(&fs::read(self.path("traffic/plane.json")).unwrap()).unwrap();
        said["pid"].as_i64().unwrap() as i32
    }

    fn serves(&self) -> bool {
        ask(self.port(), None).is_ok()
    }
}

#[test]
fn no_request_fails_while_the_engine_is_killed_started_stopped_and_started_again() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0").switched()), "--watch"]).exits(0);
    let (plane, clients) = (stage.plane(), Clients::of(stage.port()));
    clients.ask(&stage, 100);

    stage.kill_engine();
    clients.ask(&stage, 100);
    stage.start();
    stage.run(&["apply", &stage.spec("two", &Spec::new("2.0.0").switched()), "--watch"]).exits(0);
    let down = stage.run(&["down"]).exits(0);
    clients.ask(&stage, 100);
    stage.start();
    stage.run(&["apply", &stage.spec("three", &Spec::new("3.0.0").switched()), "--watch"]).exits(0);
    clients.ask(&stage, 100);

    clients.end_well();
    down.says("stopped the engine").says(&format!("serves on, process {plane}, at port {}", stage.port()));
    assert_eq!(stage.plane(), plane, "the data plane was started anew");
    stage.run(&["doctor"]).exits(0).says(&format!("process {plane}, serves at {}", stage.port()));
}

#[test]
fn a_data_plane_with_other_settings_takes_the_ports_and_no_request_fails() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let (before, clients) = (stage.plane(), Clients::of(stage.port()));
    clients.ask(&stage, 100);

    stage.run(&["down"]).exits(0);
    fs::write(stage.path("code.toml"), "[traffic]\nretries = 1\n").unwrap();
    stage.run(&["up", "--detach", "--config", "code.toml"]).exits(0);
    clients.ask(&stage, 500);
    stage.until("the one before has ended", || !is_alive(before));
    clients.ask(&stage, 100);

    clients.end_well();
    assert_ne!(stage.plane(), before);
    stage.until("the engine is ready", || stage.ready().starts_with("HTTP/1.1 200"));
}

/// An upgrade: the program file is another one, and nothing else.
#[test]
fn a_data_plane_of_another_program_takes_the_ports_and_no_request_fails() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let newer = stage.path("codectl-newer");
    fs::copy(env!("CARGO_BIN_EXE_codectl"), &newer).unwrap();
    fs::OpenOptions::new().append(true).open(&newer).unwrap().write_all(b"newer").unwrap();
    let (before, clients) = (stage.plane(), Clients::of(stage.port()));
    clients.ask(&stage, 100);

    stage.run(&["down"]).exits(0);
    let up = ["up", "--detach"];
    Answer::of(command_of(&newer, &stage.path(""), &up), &up).exits(0).says("ready");
    clients.ask(&stage, 500);
    stage.until("the one before has ended", || !is_alive(before));
    clients.ask(&stage, 100);

    clients.end_well();
    let (now, program) = (stage.plane(), newer.canonicalize().unwrap());
    assert_ne!(now, before);
    assert_eq!(fs::read_link(format!("/proc/{now}/exe")).unwrap(), program);
}

/// The engine was killed first, the machine was off, or somebody ended both.
#[test]
fn a_data_plane_that_was_killed_while_no_engine_ran_is_started_by_the_next_one_with_what_was_in_force() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    stage.run(&["apply", &stage.spec("two", &Spec::new("2.0.0")), "--watch"]).exits(0);
    let before = stage.plane();
    stage.kill_engine();
    kill9(before);
    stage.until("it is gone", || !is_alive(before) && !stage.serves());

    stage.start();

    assert!(stage.serves(), "the engine says that it is ready");
    assert_ne!(stage.plane(), before);
    stage.until("the engine is ready", || stage.ready().starts_with("HTTP/1.1 200"));
    let clients = Clients::of(stage.port());
    clients.ask(&stage, 200);
    clients.end_well();
    stage.run(&["drift", &stage.target()]).exits(0).says("no drift");
}

#[test]
fn a_data_plane_that_dies_is_started_again_and_readiness_tells() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let first = stage.plane();
    // None can be started while a folder stands where its log goes.
    let (log, aside) = (stage.path("traffic/plane.log"), stage.path("traffic/aside"));
    fs::rename(&log, &aside).unwrap();
    fs::create_dir(&log).unwrap();

    kill9(first);
    stage.until("it is said", || {
        let said = stage.ready();
        said.starts_with("HTTP/1.1 503")
            && said.contains("data plane: ")
            && said.contains("starting the data plane")
    });
    assert!(stage.ready().starts_with("HTTP/1.1 503"), "it stays so while none serves");
    assert!(stage.live().starts_with("HTTP/1.1 200"), "the engine itself lives");
    fs::remove_dir(&log).unwrap();
    fs::rename(&aside, &log).unwrap();

    stage.until("another one serves", || stage.plane() != first && stage.serves());
    stage.until("the engine is ready", || stage.ready().starts_with("HTTP/1.1 200"));
}

#[test]
fn with_neither_engine_nor_nats_the_last_routes_are_served_from_the_disk() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let plane = stage.plane();
    stage.run(&["down"]).exits(0);
    kill9(plane);
    stage.until("it is gone", || !is_alive(plane) && !stage.serves());
    stage.run(&["doctor"]).exits(1).says(&format!("nobody serves at {}", stage.port()));
    stage.run(&["down"]).exits(0).says("nobody reaches it until codectl up");

    let mut alone = command(&stage.path(""), &["plane", "--nats", "nats://127.0.0.1:1"]).spawn().unwrap();
    stage.until("it serves", || stage.serves());

    stage.run(&["down", "--all"]).exits(0).says(&format!("the data plane, process {}", alone.id()));
    alone.wait().unwrap();
}

#[test]
fn down_all_ends_what_was_deployed_and_says_what() {
    let stage = Stage::up();
    stage.run(&["apply", &stage.spec("one", &Spec::new("1.0.0")), "--watch"]).exits(0);
    let plane = stage.plane();

    let down = stage.run(&["down", "--all"]).exits(0);

    down.says("stopped the engine")
        .says(&format!("stopped the data plane, process {plane}, at port {}", stage.port()))
        .says(&format!("stopped {}: 1 of greeter", stage.target()));
    assert!(!is_alive(plane) && !stage.serves());
    assert_eq!((stage.instances(), stage.servers()), (Vec::new(), 0));
    stage.run(&["down", "--all"]).exits(0).says("nothing that was deployed from here runs");
}

#[test]
fn a_data_plane_that_serves_nothing_ends_with_its_engine_and_one_whose_home_is_gone_by_itself() {
    let stage = Stage::up();
    let idle = stage.plane();
    stage.run(&["down"]).exits(0);
    assert!(!is_alive(idle));

    stage.start();
    let lost = stage.plane();
    stage.kill_engine();
    fs::remove_file(stage.path("traffic/plane.lock")).unwrap();
    stage.until("it has ended", || !is_alive(lost));
}
