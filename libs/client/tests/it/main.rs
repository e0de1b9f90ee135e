//! The client against a real nats-server, with parts of the engine played by the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::{Serving, subjects};
use client::{Client, Error, Sight};
use model::{
    Code, DeploymentId, Phase, Principal,
    command::{Accepted, Action, Command, ListReply, StatusReply},
    deployment::StepProgress,
    view::{DeploymentView, Summary},
};
use parking_lot::Mutex;
use testkit::{TestNats, nats};

/// Longer than anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(30);

fn summary(name: &str, phase: Phase) -> Summary {
    Summary {
        deployment: DeploymentId::derived(name),
        target: "default.process.shop".parse().unwrap(),
        spec: model::Digest::of_bytes(b"spec"),
        initiator: Principal::stated("ann").unwrap(),
        phase,
        verdict: None,
        reason: String::new(),
        received: model::Timestamp(1),
        closed: None,
        modules: Vec::new(),
    }
}

fn view(name: &str, phase: Phase) -> DeploymentView {
    DeploymentView {
        signing: None,
        summary: summary(name, phase),
        version: 1,
        mode: model::deployment::Mode::Apply,
        owner: None,
        lock: None,
        plan: None,
        versions: model::plan::Versions::default(),
        steps: Vec::new(),
        paused: false,
        approvals: Vec::new(),
        advice: None,
        cause: None,
        explanation: model::view::Explanation::default(),
    }
}

/// Answers for the status of any deployment.
async fn status(nats: &TestNats, name: &'static str, phase: Phase) -> Serving {
    let bus = nats.connect("engine").await;
    let answer = move |_, _| std::future::ready(Ok(StatusReply { view: view(name, phase) }));
    bus.answer(&subjects::orchestrator::STATUS, 1, answer).await.unwrap()
}

async fn client(nats: &TestNats, timeout: Duration) -> Client {
    Client::over(nats.connect("ann").await, timeout)
}

#[tokio::test]
async fn an_address_where_nothing_listens_is_named_at_once() {
    let settings = bus::Settings { url: "nats://127.0.0.1:1".into(), ..bus::Settings::default() };

    let error = Client::connect(&settings, LONG).await.err().unwrap();

    assert!(matches!(&error, Error::Unreachable { url, .. } if url == "nats://127.0.0.1:1"), "{error:?}");
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn nobody_who_answers_and_no_answer_in_time_are_told_apart() {
    let nats = nats().await;
    let client = Client::connect(&nats.settings(), Duration::from_millis(50)).await.unwrap();
    let wanted = DeploymentId::derived("a");

    let unserved = client.status(&wanted).await.unwrap_err();
    let mute = move |_, _| std::future::pending::<Result<StatusReply, model::Fault>>();
    let _serving = nats.bus.answer(&subjects::orchestrator::STATUS, 1, mute).await.unwrap();
    let silent = client.status(&wanted).await.unwrap_err();

    assert!(matches!(&unserved, Error::Unserved { .. }), "{unserved:?}");
    assert!(matches!(&silent, Error::Silent { .. }), "{silent:?}");
    assert_eq!((unserved.code(), silent.code()), (Code::Unavailable, Code::Timeout));
}

#[tokio::test]
async fn what_is_done_is_done_in_the_name_of_who_asks() {
    let nats = nats().await;
    let heard: Arc<Mutex<Option<(Command, Principal)>>> = Arc::default();
    let kept = Arc::clone(&heard);
    let answer = move |command, meta: bus::Meta| {
        *kept.lock() = Some((command, meta.principal));
        std::future::ready(Ok(Accepted { version: 3 }))
    };
    let _serving = nats.bus.answer(&subjects::orchestrator::COMMAND, 1, answer).await.unwrap();
    let wanted = DeploymentId::derived("a");

    let accepted = client(&nats, LONG).await.act(&wanted, Some(2), Action::Pause {}).await.unwrap();

    let (command, by) = heard.lock().take().unwrap();
    assert_eq!(accepted.version, 3);
    assert_eq!((command.deployment, command.expect), (wanted, Some(2)));
    assert_eq!(by, Principal::stated("ann").unwrap());
}

#[tokio::test]
async fn the_newest_is_the_newest_that_waits_for_this_or_the_newest() {
    let nats = nats().await;
    let all = vec![summary("new", Phase::Executing), summary("old", Phase::AwaitingApproval)];
    let known = all.clone();
    let answer = move |_, _| std::future::ready(Ok(ListReply { deployments: known.clone() }));
    let _serving = nats.bus.answer(&subjects::orchestrator::LIST, 1, answer).await.unwrap();
    let client = client(&nats, LONG).await;

    let waiting = client.newest(true, &[Phase::AwaitingApproval]).await.unwrap();
    let any = client.newest(true, &[Phase::NeedsHuman]).await.unwrap();
    let approvals = client.approvals().await.unwrap();

    assert_eq!(waiting, DeploymentId::derived("old"));
    assert_eq!(any, DeploymentId::derived("new"));
    assert_eq!(approvals, all[1..]);
}

#[tokio::test]
async fn without_a_deployment_the_newest_is_an_error_that_says_which_kind_there_is_none_of() {
    let nats = nats().await;
    let answer = move |_, _| std::future::ready(Ok(ListReply { deployments: Vec::new() }));
    let _serving = nats.bus.answer(&subjects::orchestrator::LIST, 1, answer).await.unwrap();
    let client = client(&nats, LONG).await;

    assert!(matches!(client.newest(true, &[]).await, Err(Error::NoneUnderWay)));
    assert!(matches!(client.newest(false, &[]).await, Err(Error::NoDeployment)));
}

#[tokio::test]
async fn a_watched_deployment_is_seen_until_it_is_over_with_what_its_runners_say() {
    let nats = nats().await;
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let answer = move |_, _| {
        let phase = if is_over.load(Ordering::SeqCst) { Phase::Closed } else { Phase::Executing };
        std::future::ready(Ok(StatusReply { view: view("a", phase) }))
    };
    let _serving = nats.bus.answer(&subjects::orchestrator::STATUS, 1, answer).await.unwrap();
    let wanted = DeploymentId::derived("a");
    let mut watch = client(&nats, LONG).await.watch(&wanted).await.unwrap();
    let said = StepProgress {
        deployment: wanted.clone(),
        step: "web-1".parse().unwrap(),
        text: "half way".into(),
        share: Some(0.5),
        traffic: Vec::new(),
        gates: Vec::new(),
    };

    let first = watch.next().await.unwrap().unwrap();
    nats.bus.signal(&subjects::agents::PROGRESS, wanted.as_str(), &said).await.unwrap();
    let heard = loop {
        if let Sight::Progress(heard) = watch.next().await.unwrap().unwrap() {
            break heard;
        }
    };
    over.store(true, Ordering::SeqCst);
    let mut last = None;
    while let Some(sight) = watch.next().await {
        last = Some(sight.unwrap());
    }

    assert_eq!(first, Sight::View(Box::new(view("a", Phase::Executing))));
    assert_eq!(*heard, said);
    assert_eq!(last, Some(Sight::View(Box::new(view("a", Phase::Closed)))));
}

#[tokio::test]
async fn an_engine_that_goes_away_and_comes_back_is_said_once_each_way() {
    let nats = nats().await;
    let serving = status(&nats, "a", Phase::Executing).await;
    let mut watch = client(&nats, LONG).await.watch(&DeploymentId::derived("a")).await.unwrap();
    watch.next().await.unwrap().unwrap();

    serving.stop().await;
    let gone = loop {
        let sight = watch.next().await.unwrap().unwrap();
        if !matches!(sight, Sight::View(_)) {
            break sight;
        }
    };
    let _serving = status(&nats, "a", Phase::NeedsHuman).await;
    let mut rest = Vec::new();
    while let Some(sight) = watch.next().await {
        rest.push(sight.unwrap());
    }

    assert_eq!(gone, Sight::Silent);
    assert_eq!(rest, [Sight::Back, Sight::View(Box::new(view("a", Phase::NeedsHuman)))]);
}
