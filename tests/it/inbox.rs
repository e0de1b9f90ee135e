//! The world speaks NATS' own protocol and CloudEvents, with no library of ours: a socket and lines of text.

use std::time::Duration;

use code_tests::cluster::{Cluster, PATIENCE, Setting, at_once, told};
use model::{Code, Verdict};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const SUBJECT: &str = "code.v1.in.deployment.submit";

/// A program of someone else.
struct World(BufReader<TcpStream>);

impl World {
    async fn connect(cluster: &Cluster) -> World {
        let stream = TcpStream::connect(("127.0.0.1", cluster.nats.server.port())).await.unwrap();
        let mut world = World(BufReader::new(stream));
        assert!(world.line().await.starts_with("INFO "));
        world
            .write(
                b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nSUB _INBOX.world 1\r\n",
            )
            .await;
        world.settled().await;
        world
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(15), self.0.read_line(&mut line)).await;
        read.expect("the server says nothing").unwrap();
        line.trim_end().to_owned()
    }

    /// The server has taken everything that was written.
    async fn settled(&mut self) {
        self.write(b"PING\r\n").await;
        while self.line().await != "PONG" {}
    }

    /// Says it and expects nothing.
    async fn publish(&mut self, body: &str) {
        self.write(format!("PUB {SUBJECT} {}\r\n{body}\r\n", body.len()).as_bytes()).await;
        self.settled().await;
    }

    /// Says it and waits for the answer.
    async fn ask(&mut self, body: &str) -> Value {
        self.write(format!("PUB {SUBJECT} _INBOX.world {}\r\n{body}\r\n", body.len()).as_bytes()).await;
        loop {
            let line = self.line().await;
            if line == "PING" {
                self.write(b"PONG\r\n").await;
                continue;
            }
            // HMSG <subject> <sid> <bytes of the headers> <bytes in all>, MSG <subject> <sid> <bytes>
            let words: Vec<&str> = line.split(' ').collect();
            let (head, all) = match words[..] {
                ["HMSG", _, _, head, all] => (head.parse().unwrap(), all.parse().unwrap()),
                ["MSG", _, _, all] => (0, all.parse().unwrap()),
                _ => panic!("the server says {line:?}"),
            };
            let mut bytes: Vec<u8> = vec![0; all];
            self.0.read_exact(&mut bytes).await.unwrap();
            self.line().await;
            return serde_json::from_slice(&bytes[head..]).unwrap();
        }
    }
}

fn event(id: &str, data: Value) -> String {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/ci/shop", "type": "code.deployment.requested.v1", "data": data,
    });
    event.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_from_the_world_is_a_deployment_and_the_same_event_twice_is_the_same_one() {
    let cluster = Cluster::start().await;
    let mut world = World::connect(&cluster).await;
    let spec = cluster.shop("1.0.0", at_once());

    let answer = world.ask(&event("build-7", spec.clone())).await;
    let again = world.ask(&event("build-7", spec)).await;
    world.publish(&event("build-7", cluster.shop("9.9.9", at_once()))).await;

    assert_eq!(answer["deployment"], again["deployment"], "{answer} {again}");
    assert_eq!(again["repeated"], true, "{again}");
    let id = answer["deployment"].as_str().unwrap().parse().unwrap();
    let view = cluster.closed(&id).await;
    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    assert_eq!(view.summary.initiator, "/ci/shop");
    assert_eq!(cluster.list().await.len(), 1);
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_valid_is_answered_and_kept_with_the_reason() {
    let cluster = Cluster::start().await;
    let mut world = World::connect(&cluster).await;
    let mut spec = cluster.shop("1.0.0", at_once());
    spec["modules"][0]["replicas"] = 0.into();

    let no_event = world.ask("{\"name\": \"shop\"}").await;
    let bad_spec = world.ask(&event("build-8", spec)).await;

    assert_eq!(no_event["code"], "invalid", "{no_event}");
    assert_eq!(bad_spec["code"], "invalid", "{bad_spec}");
    assert_eq!(bad_spec["complaints"][0]["field"], "modules[0].replicas", "{bad_spec}");
    let letters = eventually("both are dead letters", PATIENCE, || async {
        let letters = cluster.nats.bus.dead_letters(10).await.unwrap();
        if letters.len() == 2 { Ok(letters) } else { Err(format!("{letters:?}")) }
    })
    .await;
    for letter in &letters {
        assert_eq!((letter.subject.as_str(), letter.fault.code), (SUBJECT, Code::Invalid));
        assert!(!letter.fault.complaints.is_empty(), "{letter:?}");
    }
    assert!(cluster.list().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_published_while_no_engine_is_up_is_done_when_one_comes() {
    let mut cluster = Cluster::with(Setting { orchestrators: 0, hands: false, ..Setting::default() }).await;
    let mut world = World::connect(&cluster).await;
    world.publish(&event("build-9", cluster.shop("1.0.0", at_once()))).await;

    cluster.start_traffic().await;
    cluster.start_agents().await;
    cluster.start_orchestrator().await;

    let line =
        eventually("it is there", PATIENCE, || async { cluster.list().await.pop().ok_or("no deployment") })
            .await;
    let view = cluster.closed(&line.deployment).await;
    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    cluster.is_back_on("process", "1.0.0").await;
}
