//! Who may do what: every user against every subject of the table, as the server decides it.

use std::{collections::BTreeSet, path::Path, time::Duration};

use bus::{
    Access, Bus, Error, NatsServer, Outsider, Role, ServerSettings, Settings, Users, access, subjects,
};
use model::{Code, Fault, Principal, ReplicaId, command::StatusReply};
use serde_json::{Value, json};
use testkit::{TestNats, eventually, nats};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::LONG;

/// Lines of NATS' own protocol by a key, so that nothing but the server says what is refused.
struct Wire(BufReader<TcpStream>);

impl Wire {
    async fn open(nats: &TestNats, key: &Path) -> Wire {
        let key = bus::Key::read(key).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", nats.server.port())).await.unwrap();
        let mut wire = Wire(BufReader::new(stream));
        let mut line = String::new();
        wire.0.read_line(&mut line).await.unwrap();
        let info: Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        let connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": false,
            "nkey": key.public(), "sig": key.sign(info["nonce"].as_str().unwrap()).unwrap(),
        });
        wire.say(&format!("CONNECT {connect}\r\n")).await;
        assert!(wire.refusals().await.is_empty());
        wire
    }

    async fn say(&mut self, lines: &str) {
        self.0.get_mut().write_all(lines.as_bytes()).await.unwrap();
    }

    /// What the server refused of all that was said before.
    async fn refusals(&mut self) -> BTreeSet<String> {
        self.say("PING\r\n").await;
        let mut refused = BTreeSet::new();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(LONG, self.0.read_line(&mut line)).await.unwrap().unwrap();
            assert!(read > 0, "the server hung up");
            if line.starts_with("PONG") {
                return refused;
            }
            if line.starts_with("-ERR") {
                let mut words = line.split('"');
                let verb = if line.contains("Publish") { "pub" } else { "sub" };
                let (subject, queue) = (words.nth(1).unwrap_or_default().to_owned(), words.nth(1));
                let queue = queue.map(|queue| format!(" {queue}")).unwrap_or_default();
                refused.insert(format!("{verb} {subject}{queue}"));
            }
        }
    }
}

/// A subject that the pattern allows: stars become a token, `>` becomes two.
fn example(pattern: &str) -> String {
    let tokens = pattern.split('.').flat_map(|token| match token {
        "*" => vec!["x"],
        ">" => vec!["y", "z"],
        token => vec![token],
    });
    tokens.collect::<Vec<_>>().join(".")
}

/// Whether the broker's rules let a pattern cover a subject.
fn covers(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

/// What only somebody who has it in the list may ask of JetStream: every request of its API that this server knows.
const API: &[&str] = &[
    "INFO",
    "ACCOUNT.PURGE.CODE",
    "STREAM.NAMES",
    "STREAM.LIST",
    "STREAM.CREATE.{s}",
    "STREAM.UPDATE.{s}",
    "STREAM.DELETE.{s}",
    "STREAM.PURGE.{s}",
    "STREAM.INFO.{s}",
    "STREAM.MSG.GET.{s}",
    "STREAM.MSG.DELETE.{s}",
    "STREAM.SNAPSHOT.{s}",
    "STREAM.RESTORE.{s}",
    "STREAM.PEER.REMOVE.{s}",
    "STREAM.LEADER.STEPDOWN.{s}",
    "STREAM.CANCEL_MOVE.{s}",
    "DIRECT.GET.{s}",
    "DIRECT.GET.{s}.code.v1.x",
    "CONSUMER.CREATE.{s}",
    "CONSUMER.CREATE.{s}.c",
    "CONSUMER.CREATE.{s}.c.code.v1.x",
    "CONSUMER.DURABLE.CREATE.{s}.c",
    "CONSUMER.NAMES.{s}",
    "CONSUMER.LIST.{s}",
    "CONSUMER.INFO.{s}.c",
    "CONSUMER.DELETE.{s}.c",
    "CONSUMER.PAUSE.{s}.c",
    "CONSUMER.RESET.{s}.c",
    "CONSUMER.UNPIN.{s}.c",
    "CONSUMER.MSG.NEXT.{s}.c",
    "CONSUMER.LEADER.STEPDOWN.{s}.c",
    "META.LEADER.STEPDOWN",
    "SERVER.REMOVE",
];

/// Every subject that anybody may publish, and what nobody may.
fn published() -> BTreeSet<String> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    for role in Role::ALL {
        all.extend(access::rights(role).publish.iter().map(|pattern| example(pattern)));
    }
    let streams: BTreeSet<String> = all
        .iter()
        .filter_map(|subject| subject.strip_prefix("$JS.API.STREAM.INFO."))
        .map(str::to_owned)
        .filter(|stream| stream != "x")
        .collect();
    for stream in streams.iter().map(String::as_str).chain(["ADVISORY"]) {
        all.extend(API.iter().map(|call| format!("$JS.API.{}", call.replace("{s}", stream))));
        // Both forms of acknowledgements, of a consumer that nobody works for.
        all.insert(format!("$JS.ACK.{stream}.other.1.1.1.1.0"));
        all.insert(format!("$JS.ACK._.hash.{stream}.other.1.1.1.1.0.x"));
    }
    for subject in [
        "$SRV.PING",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.somebody.x",
        "_R_.x.y",
        "code.v1.in.ci-1.deployment.submit",
    ] {
        all.insert(subject.to_owned());
    }
    all
}

/// Every subject that anybody may subscribe to, with its queue and without, and what nobody may.
fn subscribed() -> BTreeSet<String> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    for role in Role::ALL {
        for pattern in access::rights(role).subscribe {
            let (subject, queue) = pattern.split_once(' ').unwrap_or((&pattern, ""));
            all.insert(subject.to_owned());
            all.insert(format!("{subject} {}", if queue.is_empty() { "q" } else { queue }));
            all.insert(format!("{subject} other"));
        }
    }
    let nobody = [
        ">",
        "*",
        "code.>",
        "_INBOX.>",
        "_INBOX.*",
        "$JS.>",
        "$SYS.>",
        "$KV.>",
        "$O.>",
        "code.v1.log.>",
        "_R_.>",
    ];
    all.extend(nobody.map(str::to_owned));
    all
}

fn may_publish(rights: &bus::Rights, subject: &str) -> bool {
    rights.publish.iter().any(|pattern| covers(pattern, subject))
}

/// Whether a subscription lies within what is allowed. A list with a queue allows that queue only.
fn may_subscribe(rights: &bus::Rights, subscription: &str) -> bool {
    let (subject, queue) = subscription.split_once(' ').unwrap_or((subscription, ""));
    // What is subscribed to may hold stars itself; as tokens they are covered by a star or by themselves.
    rights.subscribe.iter().any(|pattern| {
        let (allowed, only) = pattern.split_once(' ').unwrap_or((pattern, ""));
        let within = !subject.contains('>') || allowed.contains('>');
        within && covers(allowed, subject) && (only.is_empty() || only == queue)
    })
}

#[tokio::test]
async fn every_user_may_do_exactly_what_the_table_says() {
    let nats = nats().await;
    nats.expects_refusals();
    let (published, subscribed) = (published(), subscribed());
    let mut tried = 0;

    for role in Role::ALL.into_iter().filter(|role| *role != Role::System) {
        let rights = access::rights(role);
        let mut wire = Wire::open(&nats, &nats.settings_of(role, "x").key.unwrap()).await;
        for subject in &published {
            wire.say(&format!("PUB {subject} 0\r\n\r\n")).await;
        }
        let refused = wire.refusals().await;
        for subject in &published {
            let is_refused = refused.contains(&format!("pub {subject}"));
            assert_eq!(!is_refused, may_publish(&rights, subject), "{role} publishes {subject}");
        }
        for (number, subscription) in subscribed.iter().enumerate() {
            wire.say(&format!("SUB {subscription} {}\r\n", number + 1)).await;
        }
        let refused = wire.refusals().await;
        for subscription in &subscribed {
            let is_refused = refused.contains(&format!("sub {subscription}"));
            assert_eq!(
                !is_refused,
                may_subscribe(&rights, subscription),
                "{role} subscribes to {subscription}"
            );
        }
        tried += published.len() + subscribed.len();
    }

    assert!(tried > 5000, "only {tried} were tried");
}

#[tokio::test]
async fn a_client_without_a_key_or_with_an_unknown_one_is_refused() {
    let nats = nats().await;
    nats.expects_refusals();
    let folder = tempfile::tempdir().unwrap();
    let unknown = folder.path().join("x.nk");
    bus::Key::generate().write(&unknown).unwrap();

    for key in [None, Some(unknown)] {
        let settings = Settings { key, ..nats.settings_of(Role::Operator, "x") };
        let error = Bus::connect(&settings).await.err().unwrap();

        assert!(matches!(&error, Error::Stranger { user, .. } if user == "operator"), "{error:?}");
        assert_eq!(error.code(), Code::Denied);
    }
}

#[tokio::test]
async fn a_service_without_a_right_does_not_start_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Access::of(folder.path().join("access"));
    let mut users = Users::default();
    keys.prepare().unwrap();
    let public = |role: Role| bus::Key::read(&keys.key(role.as_str())).unwrap().public();
    let mut less = access::rights(Role::Traffic);
    assert!(less.publish.remove("code.v1.sig.traffic.count.*"));
    users.admit("traffic", &public(Role::Traffic), less);
    let mut more = access::rights(Role::Consensus);
    more.publish.insert("$KV.routes.>".to_owned());
    users.admit("consensus", &public(Role::Consensus), more);
    let server =
        NatsServer::start(ServerSettings { users, ..ServerSettings::new(folder.path().join("nats")) })
            .await
            .unwrap();
    let connect = async |role: Role| {
        let (user, key) = (role.to_string(), Some(keys.key(role.as_str())));
        Bus::connect(&Settings { url: server.url(), user, key, ..Settings::default() }).await.unwrap()
    };

    let missing = connect(Role::Traffic).await.check().await.unwrap_err().to_string();
    let extra = connect(Role::Consensus).await.check().await.unwrap_err().to_string();

    assert!(missing.contains("it may not publish to code.v1.sig.traffic.count.*"), "{missing}");
    assert!(extra.contains("it may publish to $KV.routes.>, which it does not need"), "{extra}");
}

#[tokio::test]
async fn streams_that_are_missing_are_named_with_what_makes_them() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Access::of(folder.path().join("access"));
    let users = keys.prepare().unwrap();
    let server =
        NatsServer::start(ServerSettings { users, ..ServerSettings::new(folder.path().join("nats")) })
            .await
            .unwrap();
    let settings = |role: Role| Settings {
        url: server.url(),
        user: role.to_string(),
        key: Some(keys.key(role.as_str())),
        patience: model::Span::seconds(1),
        limits: bus::StreamLimits::small(),
        ..Settings::default()
    };
    let service = Bus::connect(&settings(Role::Orchestrator)).await.unwrap();

    let before = service.check().await.unwrap_err();
    Bus::connect(&settings(Role::Provisioner)).await.unwrap().ensure().await.unwrap();

    assert!(matches!(&before, Error::Unprovisioned { .. }), "{before:?}");
    assert!(before.to_string().contains("codectl access provision"), "{before}");
    service.check().await.unwrap();
    for role in Role::ALL.into_iter().filter(|role| role.service().is_some()) {
        Bus::connect(&settings(role)).await.unwrap().check().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_counted_and_told_to_who_waits() {
    let nats = nats().await;
    nats.expects_refusals();
    let operator = nats.connect_operator("ann").await;

    let level = model::audit::AuditLevel::Accepted;
    let asked =
        model::audit::AuditAwait { noun: "deployment".into(), journal: "dep-1".into(), version: 1, level };
    let error = operator.call(&subjects::audit::AWAIT, &asked, Duration::from_secs(2)).await.unwrap_err();

    assert!(
        matches!(&error, Error::Refused { user, subject } if user == "operator" && subject == "code.v1.rpc.audit.await"),
        "{error:?}"
    );
    assert_eq!(operator.counts().violations, 1);
    assert_eq!(operator.refused().await.as_deref(), Some("code.v1.rpc.audit.await"));
}

/// Answers that a deployment is not known, as the orchestrator.
async fn orchestrator(nats: &TestNats) -> (Bus, bus::Serving) {
    let bus = nats.connect_service("orchestrator").await;
    let answer = |_, _| std::future::ready(Err::<StatusReply, _>(Fault::new(Code::NotFound, "not here")));
    let serving = bus.answer(&subjects::orchestrator::STATUS, 1, answer).await.unwrap();
    (bus, serving)
}

#[tokio::test]
async fn an_answer_goes_to_no_job_no_key_and_no_journal() {
    let nats = nats().await;
    nats.expects_refusals();
    let (_bus, _serving) = orchestrator(&nats).await;
    let writes = nats.bus.durable_writes().await.unwrap();
    let mut wire = Wire::open(&nats, &nats.settings_of(Role::Operator, "x").key.unwrap()).await;

    // What the orchestrator itself may write, and what it may not.
    for reply in [
        "code.v1.job.experts.advise",
        "code.v1.log.deployment.0.dep-1",
        "code.v1.evt.deployment.closed.dep-1",
        "code.v1.rpc.agents.review",
        "code.v1.trail.record.x",
        "$KV.routes.x",
        "$JS.API.STREAM.MSG.GET.LOG_deployment_0",
    ] {
        wire.say(&format!("PUB code.v1.rpc.orchestrator.status {reply} 0\r\n\r\n")).await;
    }
    assert!(wire.refusals().await.is_empty(), "the questions themselves are allowed");

    // The orchestrator has heard all of them when it answers a later one.
    let ann = nats.connect_operator("ann").await;
    let asked = model::command::StatusRequest { deployment: model::DeploymentId::derived("x") };
    let answer = ann.call(&subjects::orchestrator::STATUS, &asked, LONG).await.unwrap_err();
    assert_eq!(answer.code(), Code::NotFound);
    assert_eq!(nats.bus.durable_writes().await.unwrap(), writes, "something was stored");
    assert!(!nats.refused().iter().any(|line| line.contains("CODE/")), "{:?}", nats.refused());
}

#[tokio::test]
async fn an_operator_who_says_to_be_the_engine_is_refused_and_on_record() {
    let nats = nats().await;
    let (_bus, _serving) = orchestrator(&nats).await;
    let forged = Principal::Engine { service: "agents".parse().unwrap(), replica: ReplicaId::new() };
    let settings = Settings { principal: Some(forged.clone()), ..nats.settings_of(Role::Operator, "x") };
    let mallory = Bus::connect(&settings).await.unwrap();

    let asked = model::command::StatusRequest { deployment: model::DeploymentId::derived("x") };
    let error = mallory.call(&subjects::orchestrator::STATUS, &asked, LONG).await.unwrap_err();

    assert_eq!(error.code(), Code::Denied, "{error}");
    assert!(error.to_string().contains("is for operator to ask"), "{error}");
    eventually("the refusal is on the trail", LONG, || async {
        let end = nats.bus.end_of("TRAIL").await.unwrap();
        let heard = nats.bus.heard_at("TRAIL", end).await.ok().flatten().ok_or("nothing")?;
        let text = String::from_utf8_lossy(&heard.payload).into_owned();
        if text.contains(&forged.as_text()) { Ok(()) } else { Err("another") }
    })
    .await;
}

#[tokio::test]
async fn a_publisher_speaks_under_its_own_name_and_hears_its_own_answers_only() {
    let mut nats = nats().await;
    nats.expects_refusals();
    let one = nats.invite(Outsider::Publisher, "ci-1").await;
    let two = nats.invite(Outsider::Publisher, "ci-2").await;
    let mut wire = Wire::open(&nats, &one.key.unwrap()).await;

    wire.say("PUB code.v1.in.ci-1.deployment.submit 0\r\n\r\nSUB _INBOX.publisher-ci-1.> 1\r\n").await;
    assert!(wire.refusals().await.is_empty());

    let mut forbidden: BTreeSet<String> = published();
    forbidden.remove("code.v1.in.ci-1.deployment.submit");
    forbidden.extend(
        [
            "code.v1.in.ci-2.deployment.submit",
            "code.v1.in.deployment.submit",
            "code.v1.in.ci-1.deployment.other",
            "_INBOX.publisher-ci-2.x",
            "$SYS.REQ.USER.INFO",
            "code.v1.ext.expert.x",
        ]
        .map(str::to_owned),
    );
    for subject in &forbidden {
        wire.say(&format!("PUB {subject} 0\r\n\r\n")).await;
    }
    let refused = wire.refusals().await;
    let through: Vec<&String> =
        forbidden.iter().filter(|subject| !refused.contains(&format!("pub {subject}"))).collect();
    assert!(through.is_empty(), "{through:?}");
    for (number, subject) in subscribed().iter().enumerate() {
        wire.say(&format!("SUB {subject} {}\r\n", number + 10)).await;
        assert!(!wire.refusals().await.is_empty(), "it hears {subject}");
    }
    // Questions of one and answers to the other do not meet.
    assert_ne!(one.user, two.user);
}

#[tokio::test]
async fn a_publisher_cannot_have_an_answer_written_anywhere_and_is_who_its_key_says() {
    let mut nats = nats().await;
    let orchestrator = nats.connect_service("orchestrator").await;
    let heard: std::sync::Arc<parking_lot::Mutex<Vec<Principal>>> = std::sync::Arc::default();
    let keep = heard.clone();
    let _serving = orchestrator
        .inbox(&subjects::inbox::SUBMIT, move |_, meta: bus::Meta| {
            keep.lock().push(meta.principal);
            std::future::ready(Ok(json!({})))
        })
        .await
        .unwrap();
    let invited = nats.invite(Outsider::Publisher, "ci-1").await;
    let mut wire = Wire::open(&nats, &invited.key.unwrap()).await;
    let writes = nats.bus.durable_writes().await.unwrap();
    let event =
        json!({"specversion": "1.0", "id": "1", "source": "/not/ci-1", "type": "t", "data": {}}).to_string();
    let headers = "NATS/1.0\r\nContent-Type: application/cloudevents+json\r\n\
                   Code-Principal: engine:orchestrator/rep-x\r\nNats-Request-Info: {\"acc\":\"CODE\"}\r\n\r\n";

    for reply in ["code.v1.job.experts.advise", "$KV.routes.x", "$JS.API.INFO"] {
        let (head, all) = (headers.len(), headers.len() + event.len());
        wire.say(&format!(
            "HPUB code.v1.in.ci-1.deployment.submit {reply} {head} {all}\r\n{headers}{event}\r\n"
        ))
        .await;
    }
    assert!(wire.refusals().await.is_empty());

    // Each is answered at once and handled from the store.
    eventually("all are handled", LONG, || async {
        let count = heard.lock().len();
        if count >= 6 { Ok(()) } else { Err(format!("{count} of 6")) }
    })
    .await;
    let name: Principal = "publisher:ci-1".parse().unwrap();
    assert!(heard.lock().iter().all(|by| *by == name), "{:?}", heard.lock());
    // The events themselves, which the inbox has given out again, and nothing else.
    let stored = nats.bus.durable_writes().await.unwrap() - writes;
    assert_eq!(stored, 3, "more than the events was stored");
}

#[tokio::test]
async fn an_expert_of_somebody_else_answers_under_its_own_name() {
    let mut nats = nats().await;
    let oracle = nats.invite(Outsider::Expert, "oracle").await;
    let oracle = Bus::connect(&oracle).await.unwrap();
    let experts = nats.connect_service("experts").await;
    let name = "oracle".parse().unwrap();

    let _standing = oracle
        .stand_behind(
            &subjects::experts::PLUG_IN,
            &name,
            |asked| async move { Some(json!({"heard": asked})) },
        )
        .await
        .unwrap();
    let answer = experts.knock(&subjects::experts::PLUG_IN, &name, &json!(1), LONG).await.unwrap();
    let nobody = experts.knock(&subjects::experts::PLUG_IN, &"other".parse().unwrap(), &json!(1), LONG).await;

    assert_eq!(answer, json!({"heard": 1}));
    assert!(matches!(nobody, Err(Error::NoResponders { .. })), "{nobody:?}");
}

#[tokio::test]
async fn who_is_dismissed_is_cut_off() {
    let mut nats = nats().await;
    nats.expects_refusals();
    let settings = nats.invite(Outsider::Publisher, "ci-1").await;

    nats.dismiss(Outsider::Publisher, "ci-1");

    eventually("it is not known any more", LONG, || async {
        match Bus::connect(&settings).await {
            Err(Error::Stranger { .. }) => Ok(()),
            other => Err(format!("{:?}", other.map(|_| ()))),
        }
    })
    .await;
}

#[tokio::test]
async fn streams_of_before_there_were_accounts_are_found_again() {
    let mut nats = nats().await;
    let record = crate::record("t-1", 1, "a");
    nats.bus.append(&subjects::target::JOURNAL, "t-1", &record, 0).await.unwrap();
    nats.server.stop().await.unwrap();
    let accounts = nats.folder().join("data/jetstream");
    std::fs::rename(accounts.join("CODE"), accounts.join("$G")).unwrap();

    nats.server.restart().await.unwrap();

    let found =
        eventually("the journal is read", LONG, || nats.bus.load(&subjects::target::JOURNAL, "t-1")).await;
    assert_eq!(found.len(), 1);
}
