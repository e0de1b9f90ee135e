use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{
    Beat,
    subjects::{deployment::CLOSED, orchestrator::BEAT},
};
use futures::StreamExt;
use model::{DeploymentId, Digest, Fault, Phase, Principal, ReplicaId, Timestamp, view::Summary};
use testkit::{eventually, nats};

use crate::LONG;

fn summary(reason: &str) -> Summary {
    Summary {
        deployment: DeploymentId::derived("a"),
        target: "prod.docker.shop".parse().unwrap(),
        spec: Digest::of_bytes(b"spec"),
        initiator: Principal::stated("me").unwrap(),
        phase: Phase::Closed,
        verdict: None,
        reason: reason.into(),
        received: Timestamp(1),
        closed: None,
        modules: vec![],
    }
}

#[tokio::test]
async fn an_event_reaches_every_name_once_also_when_said_before_anyone_heard() {
    let nats = nats().await;
    for name in ["audit", "lists"] {
        nats.bus.ensure_event(&CLOSED, name).await.unwrap();
    }
    let id = summary("x").deployment;
    nats.bus.say(&CLOSED, id.as_str(), &summary("early"), "m-1").await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let mut serving = Vec::new();
    for name in ["audit", "lists"] {
        let heard = heard.clone();
        let on_closed = move |summary: Summary, _| {
            heard.lock().unwrap().push((name, summary.reason));
            std::future::ready(Ok::<(), Fault>(()))
        };
        serving.push(nats.bus.hear(&CLOSED, name, on_closed).await.unwrap());
    }

    nats.bus.say(&CLOSED, id.as_str(), &summary("late"), "m-2").await.unwrap();
    nats.bus.say(&CLOSED, id.as_str(), &summary("late"), "m-2").await.unwrap();

    eventually("both hear both", LONG, || async {
        let count = heard.lock().unwrap().len();
        if count >= 4 { Ok(()) } else { Err(format!("{count} of 4")) }
    })
    .await;
    for serving in serving {
        serving.stop().await;
    }
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    assert_eq!(
        heard.iter().map(|(name, reason)| (*name, reason.as_str())).collect::<Vec<_>>(),
        [("audit", "early"), ("audit", "late"), ("lists", "early"), ("lists", "late")]
    );
}

#[tokio::test]
async fn a_signal_reaches_those_who_listen_to_its_id() {
    let nats = nats().await;
    let beat = |replica: &ReplicaId| Beat {
        replica: replica.clone(),
        service: "orchestrator".parse().unwrap(),
        at: Timestamp(5),
        draining: false,
        ready: true,
    };
    let (one, two) = (ReplicaId::new(), ReplicaId::new());
    let mut all = nats.bus.listen(&BEAT, None).await.unwrap();
    let mut of_two = nats.bus.listen(&BEAT, Some(two.as_str())).await.unwrap();

    for replica in [&one, &two] {
        nats.bus.signal(&BEAT, replica.as_str(), &beat(replica)).await.unwrap();
    }

    let said = |heard: Option<bus::Signalled<Beat>>| heard.map(|heard| (heard.id, heard.message)).unwrap();
    assert_eq!(said(all.next().await), (one.to_string(), beat(&one)));
    assert_eq!(said(all.next().await), (two.to_string(), beat(&two)));
    assert_eq!(said(of_two.next().await), (two.to_string(), beat(&two)));
}

#[tokio::test]
async fn listening_goes_on_after_the_server_was_killed() {
    let mut nats = nats().await;
    let replica = ReplicaId::new();
    let beat = Beat {
        replica: replica.clone(),
        service: "orchestrator".parse().unwrap(),
        at: Timestamp(5),
        draining: false,
        ready: true,
    };
    let mut heard = nats.bus.listen(&BEAT, None).await.unwrap();

    nats.server.restart().await.unwrap();

    let said = eventually("a beat is heard", LONG, || async {
        let _ = nats.bus.signal(&BEAT, replica.as_str(), &beat).await;
        Err::<(), _>("nothing heard")
    });
    tokio::select! {
        () = said => {}
        heard = heard.next() => assert_eq!(heard.unwrap().message, beat),
    }
}

#[tokio::test]
async fn an_id_that_would_break_a_subject_is_refused() {
    let nats = nats().await;

    let error = nats.bus.say(&CLOSED, "a.>", &summary("x"), "m").await.unwrap_err();

    assert_eq!(error.code(), model::Code::Invalid);
}

#[tokio::test]
async fn evidence_is_found_by_its_digest_only() {
    let nats = nats().await;
    let bytes = vec![7; 3 * 1024 * 1024];

    let digest = nats.bus.put_evidence(&bytes).await.unwrap();
    let again = nats.bus.put_evidence(&bytes).await.unwrap();
    let missing = nats.bus.get_evidence(&Digest::of_bytes(b"other")).await.unwrap_err();

    assert_eq!(digest, again);
    assert_eq!(nats.bus.get_evidence(&digest).await.unwrap(), bytes);
    assert!(matches!(missing, bus::Error::Missing(_)), "{missing:?}");
}

#[tokio::test]
async fn a_slow_broker_is_a_timeout_of_ours_and_not_for_ever() {
    let nats = nats().await;
    let proxy = testkit::Proxy::before(&nats.server.url()).await;
    let mut short = nats.settings_for(&proxy.url(), "behind");
    short.broker_timeout = model::Span::millis(100);
    let behind = bus::Bus::connect(&short).await.unwrap();

    proxy.delay(Duration::from_secs(60));
    let summary = summary("x");
    let said = behind.say(&CLOSED, "dep-1", &summary, "m");
    let error = tokio::time::timeout(LONG, said).await.expect("it hung").unwrap_err();

    assert_eq!(error.code(), model::Code::Unavailable);
}
