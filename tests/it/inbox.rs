//! The world speaks NATS' own protocol and CloudEvents, with no library of ours: a socket and lines of text.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bus::{Key, Outsider};
use code_tests::cluster::{Cluster, PATIENCE, Setting, at_once, submit, told};
use model::{Code, Verdict};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const SUBJECT: &str = "code.v1.in.ci-1.deployment.submit";
const INBOX: &str = "_INBOX.publisher-ci-1.world";

/// A program of someone else.
struct World(BufReader<TcpStream>);

impl World {
    async fn connect(cluster: &mut Cluster) -> World {
        let invited = cluster.nats.invite(Outsider::Publisher, "ci-1").await;
        let key = Key::read(&invited.key.unwrap()).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", cluster.nats.server.port())).await.unwrap();
        let mut world = World(BufReader::new(stream));
        let greeting = world.line().await;
        let info: Value = serde_json::from_str(greeting.strip_prefix("INFO ").unwrap()).unwrap();
        let connect = json!({
            "verbose": false, "pedantic": false, "headers": true,
            "nkey": key.public(), "sig": key.sign(info["nonce"].as_str().unwrap()).unwrap(),
        });
        world.write(format!("CONNECT {connect}\r\nSUB {INBOX} 1\r\n").as_bytes()).await;
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
        self.write(format!("PUB {SUBJECT} {INBOX} {}\r\n{body}\r\n", body.len()).as_bytes()).await;
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
    let mut cluster = Cluster::start().await;
    let mut world = World::connect(&mut cluster).await;
    let spec = cluster.shop("1.0.0", at_once());

    let answer = world.ask(&event("build-7", spec.clone())).await;
    let again = world.ask(&event("build-7", spec)).await;
    world.publish(&event("build-7", cluster.shop("9.9.9", at_once()))).await;

    assert_eq!(answer["deployment"], again["deployment"], "{answer} {again}");
    assert_eq!(again["repeated"], true, "{again}");
    let id = answer["deployment"].as_str().unwrap().parse().unwrap();
    let view = cluster.closed(&id).await;
    assert_eq!(view.summary.verdict, Some(Verdict::Promoted), "{}", told(&view));
    assert_eq!(view.summary.initiator.to_string(), "ci-1 (publisher)");
    assert_eq!(cluster.list().await.len(), 1);
    cluster.is_back_on("process", "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_valid_is_answered_and_kept_with_the_reason() {
    let mut cluster = Cluster::start().await;
    let mut world = World::connect(&mut cluster).await;
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
    let mut world = World::connect(&mut cluster).await;
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

/// Every file below the folder that holds one of these texts.
fn files_with(folder: &Path, texts: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let holds = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            found.extend(texts.iter().any(holds).then_some(path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plaintext_secret_of_a_refused_spec_is_in_no_stream_no_bucket_and_no_file() {
    let mut cluster = Cluster::start().await;
    let bus = cluster.nats.connect_service("audit").await;
    let config = audit::AuditConfig { state_dir: cluster.folder().join("audit"), ..Default::default() };
    let _audit = Box::pin(chassis::start_in_process(config, bus, audit::start)).await.unwrap();
    let mut world = World::connect(&mut cluster).await;
    let secret = "hunter2hunter2";
    let mut spec = cluster.shop("1.0.0", at_once());
    spec["labels"] = json!({"note": format!("db_password={secret}")});
    let encoded = BASE64.encode(spec.to_string());
    let mut in_base64: Value = serde_json::from_str(&event("build-12", json!({}))).unwrap();
    in_base64.as_object_mut().unwrap().remove("data");
    in_base64["data_base64"] = encoded.clone().into();
    let mut broken = spec.clone();
    broken["modules"][0]["replicas"] = 0.into();

    let called = cluster.try_submit(&submit(spec.to_string())).await;
    let answers = [
        world.ask(&event("build-10", spec.clone())).await,
        world.ask(&event("build-11", broken)).await,
        world.ask(&in_base64.to_string()).await,
    ];
    world.publish(&event("build-13", spec)).await;

    assert!(called.is_err(), "{called:?}");
    assert!(answers.iter().all(|answer| answer["code"] == "invalid"), "{answers:?}");
    let letters = eventually("all four are dead letters", PATIENCE, || async {
        let letters = cluster.nats.bus.dead_letters(10).await.unwrap();
        if letters.len() == 4 { Ok(letters) } else { Err(format!("{letters:?}")) }
    })
    .await;
    for letter in &letters {
        assert!(letter.scrubbed && letter.payload.is_empty(), "{letter:?}");
        assert!(!format!("{letter:?}").contains(secret), "{letter:?}");
        let again = cluster.nats.bus.resend(letter.seq).await;
        assert!(again.is_err(), "there is nothing left to send again");
    }
    let texts = [secret.to_owned(), encoded[..40].to_owned()];
    eventually("nothing holds the secret", PATIENCE, || async {
        let mut found = files_with(cluster.folder(), &texts);
        found.extend(files_with(cluster.nats.folder(), &texts));
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}
