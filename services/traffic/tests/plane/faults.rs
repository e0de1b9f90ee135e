//! Instances that are dead, slow or rude.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use hyper::{Method, StatusCode};
use model::{
    Span,
    route::{Pin, RouteTable},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::TaskTracker;

use crate::support::*;

#[tokio::test]
async fn a_dead_instance_costs_no_request_and_is_ejected_after_five() {
    let a = Instance::start("a").await;
    let dead = nobody().await;
    let (plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[&a])]), "r1", "dead", dead)).await;

    let mut sent = 0;
    while count_of(&plane, "r1").retried < 5 && sent < 1000 {
        assert_eq!(
            caller.send(Method::POST, "/", &[]).await.text,
            "a",
            "nothing was sent yet, so also POST goes on"
        );
        sent += 1;
    }
    for _ in 0..100 {
        assert_eq!(caller.get("/").await.text, "a");
    }

    let count = count_of(&plane, "r1");
    assert_eq!((count.retried, count.errors), (5, 0));
}

#[tokio::test]
async fn an_instance_that_dies_under_load_fails_no_idempotent_request() {
    let (a, b) = (Instance::start("a").await, Instance::start("b").await);
    let (plane, caller) = plane_with(table(&[("r1", 100, &[&a, &b])])).await;
    for _ in 0..200 {
        caller.get("/").await;
    }

    b.kill();
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let caller = caller.clone();
        load.spawn(async move {
            for _ in 0..50 {
                assert_eq!(caller.get("/").await.text, "a");
            }
        });
    }
    load.join_all().await;

    assert_eq!(count_of(&plane, "r1").errors, 0);
}

#[tokio::test]
async fn nobody_to_connect_to_is_a_502_that_says_so() {
    let dead = nobody().await;
    let (plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "dead", dead)).await;

    let reply = caller.get("/").await;

    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert!(reply.text.contains("no instance of revision r1 could be reached"), "{}", reply.text);
    assert_eq!(count_of(&plane, "r1").errors, 1);
}

#[tokio::test]
async fn retries_are_bounded_by_the_budget() {
    let (dead, deader) = (nobody().await, nobody().await);
    let routes = with_endpoint(table(&[("r1", 100, &[])]), "r1", "dead", dead);
    let (plane, caller) = plane_with(with_endpoint(routes, "r1", "deader", deader)).await;

    for _ in 0..100 {
        assert_eq!(caller.get("/").await.status, StatusCode::BAD_GATEWAY);
    }

    let retried = count_of(&plane, "r1").retried;
    assert!(
        (10..=30).contains(&retried),
        "100 requests were retried {retried} times, 10 and a fifth are allowed"
    );
}

/// An instance that takes each connection, reads a head and says `answer` (perhaps nothing), then closes.
async fn rude(
    answer: &'static str,
) -> (std::net::SocketAddr, TaskTracker, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, heard) = tokio::sync::mpsc::unbounded_channel();
    let tracker = TaskTracker::new();
    tracker.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 65536];
            if stream.read(&mut head).await.is_ok_and(|bytes| bytes > 0) {
                let _ = asked.send(());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    (address, tracker, heard)
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_on_is_repeated_only_if_it_is_idempotent() {
    let (address, _running, mut heard) = rude("").await;
    let (_plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "rude", address)).await;

    let post = caller.send(Method::POST, "/", &[]).await;
    let posts = std::iter::from_fn(|| heard.try_recv().ok()).count();
    let get = caller.get("/").await;
    let gets = std::iter::from_fn(|| heard.try_recv().ok()).count();

    assert_eq!((post.status, get.status), (StatusCode::BAD_GATEWAY, StatusCode::BAD_GATEWAY));
    assert_eq!((posts, gets), (1, 3));
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502_and_not_asked_for_again() {
    let (address, _running, mut heard) = rude("what?\r\n\r\n").await;
    let (_plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "rude", address)).await;

    let reply = caller.get("/").await;

    assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{}", reply.text);
    assert_eq!(std::iter::from_fn(|| heard.try_recv().ok()).count(), 1);
}

#[tokio::test]
async fn connections_that_instances_close_without_a_word_are_not_noticed() {
    let (address, _running, _heard) = rude("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "rude", address)).await;

    for _ in 0..200 {
        assert_eq!(caller.get("/").await.text, "ok");
    }

    let count = count_of(&plane, "r1");
    assert_eq!((count.errors, count.retried), (0, 0), "a connection closed while idle is no failure");
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_at_the_client_and_counts_as_an_error() {
    let (address, _running, _heard) = rude("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf").await;
    let (plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "rude", address)).await;

    let mut stream = TcpStream::connect(caller.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;

    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.ends_with("half"), "the client could take this for whole: {answer}");
    eventually("the error is counted", || count_of(&plane, "r1").errors == 1).await;
}

#[tokio::test]
async fn a_slow_instance_holds_no_other_request_hostage() {
    let (slow, fast) = (Instance::start("slow").await, Instance::start("fast").await);
    let pin = Pin { source: "x-lane".into(), value: "slow".into(), revision: revision("r1") };
    let routes = RouteTable { pins: vec![pin], ..table(&[("r2", 100, &[&fast]), ("r1", 0, &[&slow])]) };
    let (plane, caller) = plane_with(routes).await;
    let mut stuck = JoinSet::new();
    for _ in 0..200 {
        let caller = caller.clone();
        stuck.spawn(async move { caller.get_with("/slow", &[("x-lane", "slow")]).await });
    }
    eventually("all are stuck", || slow.requests.load(SeqCst) == 200).await;

    for _ in 0..100 {
        assert_eq!(caller.get("/").await.text, "fast");
    }

    assert_eq!(count_of(&plane, "r1").in_flight, 200);
    slow.gate.add_permits(200);
    assert!(stuck.join_all().await.iter().all(|reply| reply.text == "slow"));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_a_504() {
    let a = Instance::start("a").await;
    let routes = RouteTable { request_timeout: Span::millis(100), ..table(&[("r1", 100, &[&a])]) };
    let (plane, caller) = plane_with(routes).await;

    let reply = caller.get("/slow").await;

    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(reply.text.contains("did not answer in time"), "{}", reply.text);
    eventually("the error is counted", || count_of(&plane, "r1").errors == 1).await;
    assert_eq!(caller.get("/").await.text, "a", "the plane goes on");
}

#[tokio::test]
async fn errors_of_instances_are_passed_on_counted_and_not_retried() {
    let a = Instance::start("a").await;
    let (plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;

    let reply = caller.get("/status/500").await;

    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "/status/500"));
    eventually("it is counted", || count_of(&plane, "r1").errors == 1).await;
    assert_eq!(a.requests.load(SeqCst), 1);
}

#[tokio::test]
async fn upgraded_connections_pass_through_and_count_as_in_flight() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tracker = TaskTracker::new();
    tracker.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let bytes = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..bytes]).to_lowercase();
        assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: shout\r\n"), "{head}");
        let switch =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\nHELLO";
        stream.write_all(switch).await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said.to_ascii_uppercase()).await.unwrap();
    });
    let (plane, caller) =
        plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "shouter", address)).await;
    let mut stream = TcpStream::connect(caller.address).await.unwrap();

    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: shout\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    while !answer.ends_with("HELLO") {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "closed after {answer}");
        answer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(count_of(&plane, "r1").in_flight, 1);
    stream.write_all(b"shh!").await.unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).await.unwrap();

    assert_eq!(&said, b"SHH!");
    drop(stream);
    eventually("it has drained", || count_of(&plane, "r1").in_flight == 0).await;
}

#[tokio::test]
async fn a_client_that_gives_up_is_counted_with_the_time_it_waited() {
    let a = Instance::start("a").await;
    let (plane, caller) = plane_with(table(&[("r1", 100, &[&a])])).await;
    let mut stream = TcpStream::connect(caller.address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    eventually("it is in flight", || a.requests.load(SeqCst) == 1).await;

    drop(stream);

    eventually("it is counted", || count_of(&plane, "r1").requests == 1).await;
    let count = count_of(&plane, "r1");
    assert_eq!((count.errors, count.in_flight), (0, 0));
    assert!(plane.stop(Duration::from_secs(20)).await);
}
