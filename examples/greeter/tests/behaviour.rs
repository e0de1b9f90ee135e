//! The greeter as a process: started, asked over a socket, stopped by signal.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy does not know as tests"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running greeter on a free port. Killed when dropped.
struct Greeter {
    process: Child,
    stderr: BufReader<ChildStderr>,
    port: u16,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Greeter {
    fn spawn(settings: &[(&str, &str)]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_greeter"))
            .env_clear()
            .env("PORT", "0")
            .env("GREETER_HOST", "127.0.0.1")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Returns when it listens, by the line that says so.
    fn start(settings: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(settings);
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port in {line:?}"));
        Self { process, stderr, port }
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.port))
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let mut stream = self.connect().unwrap();
        let length = body.len();
        // A server that refuses a long body may close before all of it is written: the reply still counts.
        let _ = write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: greeter\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        Reply::read(&mut stream)
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "")
    }

    /// A POST to /echo of ten bytes whose head has reached the handler and whose body has not been sent.
    fn echo_in_flight(&self) -> TcpStream {
        let mut stream = self.connect().unwrap();
        let head =
            "POST /echo HTTP/1.1\r\nhost: greeter\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    fn terminate(&self) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
    }

    /// Waits for the end; returns what it said on the way.
    fn ended(&mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap(), said)
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Reply {
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the reply is not of interest here.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }
}

/// First word and instance of each line of the effect ledger.
fn effects(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .map(|words| format!("{} {}", words[0], words[2]))
        .collect()
}

#[test]
fn it_says_its_service_version_and_instance() {
    let greeter = Greeter::start(&[("GREETER_VERSION", "1.2.0"), ("CODE_INSTANCE", "shop-1")]);

    let reply = greeter.get("/");

    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("x-version: 1.2.0"), "{}", reply.head);
    assert_eq!(reply.body, r#"{"service":"greeter","version":"1.2.0","instance":"shop-1"}"#);
}

#[test]
fn health_is_ready_unless_told_never_to_be() {
    let ready = Greeter::start(&[]);
    let never = Greeter::start(&[("GREETER_NEVER_READY", "1")]);

    assert_eq!(ready.get("/health").status, 200);
    assert_eq!(never.get("/health").status, 503);
    assert_eq!(never.get("/").status, 200);
}

#[test]
fn the_told_share_of_requests_fails_and_health_is_not_among_them() {
    let greeter = Greeter::start(&[("GREETER_ERROR_RATE", "0.3")]);

    let failed = (0..20).filter(|_| greeter.get("/").status == 500).count();
    let healthy = (0..10).all(|_| greeter.get("/health").status == 200);

    assert_eq!(failed, 6);
    assert!(healthy);
}

#[test]
fn the_openapi_document_carries_the_version_or_comes_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, r#"{"openapi":"3.1.0","paths":{}}"#).unwrap();

    let built_in = Greeter::start(&[("GREETER_VERSION", "2.0.0")]).get("/openapi.json");
    let from_file = Greeter::start(&[("GREETER_OPENAPI", file.to_str().unwrap())]).get("/openapi.json");

    let document: serde_json::Value = serde_json::from_str(&built_in.body).unwrap();
    assert_eq!(document["info"]["version"], "2.0.0");
    assert!(document["paths"]["/echo"]["post"].is_object());
    assert_eq!(from_file.body, r#"{"openapi":"3.1.0","paths":{}}"#);
}

#[test]
fn an_openapi_file_that_is_not_there_keeps_it_from_starting() {
    let output = Greeter::spawn(&[("GREETER_OPENAPI", "/nowhere/openapi.json")]).wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/openapi.json"));
}

#[test]
fn echo_returns_the_body_up_to_its_limit() {
    let greeter = Greeter::start(&[]);

    assert_eq!(greeter.ask("POST", "/echo", "hello").body, "hello");
    assert_eq!(greeter.ask("POST", "/echo", &"x".repeat(1024 * 1024 + 1)).status, 413);
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let greeter = Greeter::start(&[]);

    assert_eq!(greeter.get("/nowhere").status, 404);
    let refused = greeter.ask("DELETE", "/", "");
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("allow: GET, HEAD"), "{}", refused.head);
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("effects");
    let mut greeter =
        Greeter::start(&[("CODE_EFFECT_LEDGER", ledger.to_str().unwrap()), ("CODE_INSTANCE", "shop-1")]);
    let mut in_flight = greeter.echo_in_flight();
    let _idle = greeter.connect().unwrap();

    greeter.terminate();
    while greeter.connect().is_ok() {
        std::thread::yield_now();
    }
    in_flight.write_all(b"0123456789").unwrap();
    let reply = Reply::read(&mut in_flight);
    let (status, said) = greeter.ended();

    assert_eq!((reply.status, reply.body.as_str()), (200, "0123456789"));
    assert_eq!(status.code(), Some(0));
    assert_eq!(said, "", "nothing was cut off");
    assert_eq!(effects(&ledger), ["start shop-1", "stop shop-1"]);
}

#[test]
fn a_request_that_never_ends_is_cut_off_and_the_stop_is_still_clean() {
    let mut greeter = Greeter::start(&[]);
    let _in_flight = greeter.echo_in_flight();

    greeter.terminate();
    let (status, said) = greeter.ended();

    assert_eq!(status.code(), Some(0));
    assert!(said.contains("cut off"), "{said:?}");
}

#[test]
fn a_crash_has_the_told_exit_code_and_is_no_clean_stop() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("effects");
    let settings = [
        ("CODE_EFFECT_LEDGER", ledger.to_str().unwrap()),
        ("GREETER_CRASH_AFTER", "20ms"),
        ("GREETER_EXIT_CODE", "7"),
    ];

    let output = Greeter::spawn(&settings).wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(7));
    assert_eq!(effects(&ledger), ["start local"]);
}

#[test]
fn exit_code_zero_is_a_job_that_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("effects");
    let settings = [("CODE_EFFECT_LEDGER", ledger.to_str().unwrap()), ("GREETER_EXIT_CODE", "0")];

    let output = Greeter::spawn(&settings).wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(effects(&ledger), ["start local", "stop local"]);
}

#[test]
fn a_stop_during_the_start_delay_is_clean() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("effects");
    let settings = [("CODE_EFFECT_LEDGER", ledger.to_str().unwrap()), ("GREETER_START_DELAY", "10m")];
    let mut process = Greeter::spawn(&settings);
    // The start is recorded once signals are handled.
    while !ledger.exists() {
        assert!(process.try_wait().unwrap().is_none(), "it ended before it started");
        std::thread::yield_now();
    }

    kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM).unwrap();
    let status = process.wait().unwrap();

    assert_eq!(status.code(), Some(0));
    assert_eq!(effects(&ledger), ["start local", "stop local"]);
}

#[test]
fn many_starts_at_once_each_leave_one_whole_line() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("effects");
    let settings = [("CODE_EFFECT_LEDGER", ledger.to_str().unwrap()), ("GREETER_EXIT_CODE", "3")];

    let processes: Vec<Child> = (0..16).map(|_| Greeter::spawn(&settings)).collect();
    for mut process in processes {
        assert_eq!(process.wait().unwrap().code(), Some(3));
    }

    assert_eq!(effects(&ledger), vec!["start local"; 16]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_leak_grows_with_every_request() {
    let greeter = Greeter::start(&[("GREETER_LEAK", "1MiB")]);
    let before = greeter.resident_kib();

    for _ in 0..32 {
        greeter.get("/");
    }

    let grown = greeter.resident_kib() - before;
    assert!(grown > 24 * 1024, "grew by {grown} KiB");
}

#[test]
fn a_setting_that_does_not_parse_keeps_it_from_starting() {
    let output = Greeter::spawn(&[("GREETER_LATENCY", "soon")]).wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "greeter: GREETER_LATENCY is \"soon\", not a duration such as 20ms, 1.5s or 2m\n");
}
