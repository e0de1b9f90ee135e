//! Bounds: memory, sizes, connections, and the time a stop takes.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use model::{Span, route::RouteTable};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use traffic::proxy::Settings;

use crate::support::*;

const FIFTY_MB: u64 = 50 << 20;
/// What the system's socket buffers hold on the way, with room; far less than what is sent.
const ON_THE_WAY: u64 = 30 << 20;

/// Sends bytes as they are and gives what comes back until the other side closes.
async fn raw(caller: &Caller, request: &str) -> String {
    let mut stream = TcpStream::connect(caller.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_large_answer_streams_at_the_pace_of_the_client() {
    let a = Instance::start("a").await;
    let (_plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;

    let answer = caller.open(Method::GET, &format!("/bytes/{FIFTY_MB}"), &[], nothing()).await;
    let made = settled(&a.made).await;
    let mut body = answer.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
    }

    assert!(made < ON_THE_WAY, "{made} bytes were taken from the instance while the client read nothing");
    assert_eq!(received, FIFTY_MB);
}

#[tokio::test]
async fn a_large_request_streams_at_the_pace_of_the_instance() {
    let a = Instance::start("a").await;
    let (_plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;
    let body = Chunks { left: FIFTY_MB, made: Arc::default() };
    let made = Arc::clone(&body.made);
    let mut sending = JoinSet::new();
    sending.spawn(async move { caller.upload("/count", body).await });

    let taken = settled(&made).await;
    a.gate.add_permits(1);
    let reply = sending.join_next().await.unwrap().unwrap();

    assert!(taken < ON_THE_WAY, "{taken} bytes were taken from the client while the instance read nothing");
    assert_eq!(reply.text, FIFTY_MB.to_string());
}

#[tokio::test]
async fn both_directions_stream_at_once() {
    let a = Instance::start("a").await;
    let (_plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;

    let reply = caller.upload("/echo", Chunks { left: FIFTY_MB, made: Arc::default() }).await;

    assert_eq!(reply.text.len() as u64, FIFTY_MB);
    assert_eq!(caller.get("/").await.text, "a");
}

#[tokio::test]
async fn requests_that_are_not_http_or_not_allowed_are_refused() {
    let a = Instance::start("a").await;
    let settings = Settings { max_body: 1000, max_head: 8192, ..Settings::default() };
    let (_plane, caller) = plane_of(settings, table(&[("r1", 100, &[&a])])).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(10_000));
    let end = "connection: close\r\n\r\n";

    for (request, status) in [
        ("this is not http\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{end}"), "400"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n{end}"), "400"),
        (format!("CONNECT x:1 HTTP/1.1\r\nhost: x\r\n{end}"), "501"),
        (long, "431"),
        (format!("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n{end}"), "413"),
    ] {
        let answer = raw(&caller, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:.60} was answered {answer}");
    }
    assert_eq!(a.requests.load(SeqCst), 0);
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_at_the_limit() {
    let a = Instance::start("a").await;
    a.gate.add_permits(1);
    let settings = Settings { max_body: 100_000, ..Settings::default() };
    let (plane, caller) = plane_of(settings, table(&[("r1", 100, &[&a])])).await;
    let body = Chunks { left: 200_000, made: Arc::default() };

    let reply = caller.upload("/count", body).await;

    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", reply.text);
    assert_eq!(count_of(&plane, "r1").errors, 0, "it is the client's error");
}

#[tokio::test]
async fn too_many_connections_are_refused_with_when_to_come_again() {
    let a = Instance::start("a").await;
    let settings = Settings { max_connections: 2, ..Settings::default() };
    let (plane, caller) = plane_of(settings, table(&[("r1", 100, &[&a])])).await;
    let held = [
        TcpStream::connect(caller.address).await.unwrap(),
        TcpStream::connect(caller.address).await.unwrap(),
    ];
    eventually("both are served", || plane.connections() == 2).await;

    let refused = raw(&caller, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;

    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert_eq!(plane.refused(), 1);
    drop(held);
    eventually("both are gone", || plane.connections() == 0).await;
    assert_eq!(caller.get("/").await.text, "a");
}

/// Clients that connect and say nothing.
async fn idle(address: std::net::SocketAddr, number: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..number {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    clients
}

#[tokio::test]
async fn clients_that_come_in_great_numbers_leave_the_engine_its_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 1024, hard).unwrap();
    let a = Instance::start("a").await;
    let settings = Settings::default().within(chassis::files::for_connections().unwrap());
    let (plane, caller) = plane_of(settings, table(&[("r1", 100, &[&a])])).await;

    let clients = idle(caller.address, 450).await;
    eventually("all are admitted or refused", || plane.connections() as u64 + plane.refused() >= 450).await;

    assert_eq!(plane.connections(), 256);
    // The clients of this test are open files of this process too.
    let needed: Vec<std::fs::File> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    drop((clients, needed));
    eventually("the clients are gone", || plane.connections() == 0).await;
    assert_eq!(caller.get("/").await.text, "a");
}

#[tokio::test]
async fn connections_to_instances_have_a_bound_and_idle_ones_do_not_use_it_up() {
    let (slow, other) = (Instance::start("slow").await, Instance::start("other").await);
    let settings = Settings { max_instance_connections: 4, ..Settings::default() };
    let (plane, caller) = plane_of(settings, table(&[("r1", 100, &[&slow])])).await;
    let mut stuck = JoinSet::new();
    for _ in 0..4 {
        let caller = caller.clone();
        stuck.spawn(async move { caller.get("/slow").await });
    }
    eventually("all are stuck", || slow.requests.load(SeqCst) == 4).await;

    let one_more = caller.get("/").await;
    slow.gate.add_permits(4);
    assert!(stuck.join_all().await.iter().all(|reply| reply.text == "slow"));
    // They could all be kept as idle; another instance gets its connection nevertheless.
    plane.apply(RouteTable { version: 2, ..table(&[("r2", 100, &[&other]), ("r1", 0, &[&slow])]) }).unwrap();

    assert_eq!(one_more.status, StatusCode::SERVICE_UNAVAILABLE, "{}", one_more.text);
    assert_eq!(caller.get("/").await.text, "other");
    assert_eq!(count_of(&plane, "r1").errors, 0, "the bound is ours");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let a = Instance::start("a").await;
    let settings = Settings { client_idle: Duration::from_millis(50), ..Settings::default() };
    let (_plane, caller) = plane_of(settings, table(&[("r1", 100, &[&a])])).await;

    let nothing = raw(&caller, "").await;
    let half = raw(&caller, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;

    assert_eq!(nothing, "");
    assert!(half.starts_with("HTTP/1.1 200"), "{half}");
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_end() {
    let a = Instance::start("a").await;
    let (plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;
    let mut waiting = JoinSet::new();
    let (slow, address) = (caller.clone(), caller.address);
    waiting.spawn(async move { slow.get("/slow").await });
    eventually("it is in flight", || a.requests.load(SeqCst) == 1).await;
    let mut stopping = JoinSet::new();
    let stopped = plane.clone();
    stopping.spawn(async move { stopped.stop(Duration::from_secs(20)).await });
    closed(address).await;

    a.gate.add_permits(1);

    assert_eq!(waiting.join_next().await.unwrap().unwrap().text, "a");
    assert!(stopping.join_next().await.unwrap().unwrap(), "nothing was cut off");
}

#[tokio::test]
async fn a_stop_is_bounded() {
    let a = Instance::start("a").await;
    let (plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;
    let mut stream = TcpStream::connect(caller.address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    eventually("it is in flight", || a.requests.load(SeqCst) == 1).await;

    assert!(!plane.stop(Duration::from_millis(50)).await, "something had to be cut off");

    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(plane.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_at_the_timeout() {
    let a = Instance::start("a").await;
    let routes = RouteTable { request_timeout: Span::millis(200), ..table(&[("r1", 100, &[&a])]) };
    let (plane, caller) = plane_with(routes).await;

    // The echo never ends because the request never does.
    let mut stream = TcpStream::connect(caller.address).await.unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;

    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("abc"), "{answer}");
    eventually("the error is counted", || count_of(&plane, "r1").errors == 1).await;
}
