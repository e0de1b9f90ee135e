use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus::{Error, subjects::orchestrator};
use model::{
    Code, DeploymentId, Fault, Principal,
    command::{Accepted, Action, Command, HistoryReply, HistoryRequest},
    fault::Complaint,
};
use testkit::{eventually, nats};

use crate::LONG;

fn question() -> HistoryRequest {
    HistoryRequest { deployment: DeploymentId::derived("q") }
}

#[tokio::test]
async fn a_call_is_answered_and_says_who_asks() {
    let nats = nats().await;
    let _serving = nats
        .bus
        .answer(&orchestrator::COMMAND, 2, |_, meta| async move {
            assert_eq!(meta.principal, Principal::stated("asker").unwrap());
            assert!(meta.trace.unwrap().starts_with("00-"));
            Ok(Accepted { version: 7 })
        })
        .await
        .unwrap();

    let command = Command { deployment: DeploymentId::new(), expect: None, action: Action::Pause {} };
    let reply = nats.connect("asker").await.call(&orchestrator::COMMAND, &command, LONG).await.unwrap();

    assert_eq!(reply, Accepted { version: 7 });
}

#[tokio::test]
async fn a_call_that_does_not_say_who_asks_is_refused_and_never_handled() {
    let nats = nats().await;
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, |_, _| async { Ok(HistoryReply { records: Vec::new() }) })
        .await
        .unwrap();
    let client = crate::foreign(&nats).await;
    let payload = || bus::Message::encode(&question()).into();
    let mut forged = async_nats::HeaderMap::new();
    forged.insert("Code-Principal", "root");

    let nobody = client.request(orchestrator::HISTORY.subject(), payload()).await.unwrap();
    let stranger =
        client.request_with_headers(orchestrator::HISTORY.subject(), forged, payload()).await.unwrap();

    for (reply, said) in [(nobody, "is missing"), (stranger, "\"root\" does not say who")] {
        let fault = <Fault as bus::Message>::decode(&reply.payload).unwrap();
        assert_eq!(fault.code, Code::Invalid);
        assert!(fault.message.contains("Code-Principal") && fault.message.contains(said), "{fault}");
    }
}

#[tokio::test]
async fn a_connection_without_a_name_is_refused() {
    let nats = nats().await;

    let settings = bus::Settings { name: "a\nb".into(), ..nats.settings() };
    let error = bus::Bus::connect(&settings).await.map(|_| ()).unwrap_err();

    assert_eq!(error.code(), Code::Invalid);
    assert!(error.to_string().starts_with("\"a\\nb\" is not a name"), "{error}");
}

#[tokio::test]
async fn a_fault_arrives_with_its_code_and_every_complaint() {
    let nats = nats().await;
    let complaint =
        Complaint { field: "a".into(), line: 3, column: 4, message: "x\ny".into(), cure: "z".into() };
    let fault = Fault::invalid("two\nlines", vec![complaint]);
    let told = fault.clone();
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, move |_, _| {
            std::future::ready(Err::<HistoryReply, _>(told.clone()))
        })
        .await
        .unwrap();

    let error = nats.bus.call(&orchestrator::HISTORY, &question(), LONG).await.unwrap_err();

    assert!(matches!(&error, Error::Fault(found) if *found == fault), "{error:?}");
    let client = crate::foreign(&nats).await;
    let stats = client.request("$SRV.STATS.orchestrator", "".into()).await.unwrap();
    let stats: serde_json::Value = serde_json::from_slice(&stats.payload).unwrap();
    assert_eq!(stats["endpoints"][0]["data"]["faults"]["invalid"], 1, "{stats}");
}

#[tokio::test]
async fn a_call_that_nobody_serves_fails_at_once_as_unavailable() {
    let nats = nats().await;

    // A deadline that the test would not survive: it must not be waited for.
    let question = question();
    let asked = nats.bus.call(&orchestrator::HISTORY, &question, Duration::from_secs(3600));
    let error = tokio::time::timeout(LONG, asked).await.expect("it waited").unwrap_err();

    assert!(matches!(error, Error::NoResponders { .. }), "{error:?}");
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn work_is_dropped_when_the_askers_deadline_is_over() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let nats = nats().await;
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = dropped.clone();
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, move |_, _| {
            let guard = Dropped(seen.clone());
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        })
        .await
        .unwrap();

    let error =
        nats.bus.call(&orchestrator::HISTORY, &question(), Duration::from_millis(200)).await.unwrap_err();

    assert_eq!(error.code(), Code::Timeout);
    eventually("the handler is dropped", LONG, || async {
        dropped.load(Ordering::SeqCst).then_some(()).ok_or("it still runs")
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_a_handler_is_an_internal_fault_and_the_next_call_is_served() {
    let nats = nats().await;
    let first = AtomicBool::new(true);
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, move |_, _| {
            let first = first.swap(false, Ordering::SeqCst);
            async move {
                assert!(!first, "planted");
                Ok(HistoryReply { records: vec![] })
            }
        })
        .await
        .unwrap();

    let error = nats.bus.call(&orchestrator::HISTORY, &question(), LONG).await.unwrap_err();
    let reply = nats.bus.call(&orchestrator::HISTORY, &question(), LONG).await;

    assert_eq!(error.code(), Code::Internal);
    assert!(reply.is_ok(), "{reply:?}");
}

#[tokio::test]
async fn more_than_can_wait_is_refused_as_overloaded() {
    let nats = nats().await;
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, |_, _| std::future::pending::<Result<HistoryReply, Fault>>())
        .await
        .unwrap();

    let calls = (0..10).map(|_| async {
        nats.bus.call(&orchestrator::HISTORY, &question(), Duration::from_secs(2)).await.unwrap_err().code()
    });
    let codes = futures::future::join_all(calls).await;

    assert_eq!(codes.iter().filter(|code| **code == Code::Overloaded).count(), 1, "{codes:?}");
}

#[tokio::test]
async fn services_are_found_by_the_nats_services_protocol() {
    let nats = nats().await;
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, |_, _| async { Ok(HistoryReply { records: vec![] }) })
        .await
        .unwrap();

    let client = crate::foreign(&nats).await;
    let info = client.request("$SRV.INFO.orchestrator", "".into()).await.unwrap();

    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["endpoints"][0]["subject"], "code.v1.rpc.orchestrator.history");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_call_and_its_answer_have_one_header_each() {
    let nats = nats().await;
    let foreign = crate::foreign(&nats).await;
    let mut asked = crate::subscribed(&foreign, orchestrator::HISTORY.subject()).await;
    let asked_for = question();
    let asking = nats.bus.call(&orchestrator::HISTORY, &asked_for, Duration::from_millis(500));
    let (unanswered, asked) = tokio::join!(asking, futures::StreamExt::next(&mut asked));
    drop(foreign);
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, |_, _| async { Ok(HistoryReply { records: vec![] }) })
        .await
        .unwrap();
    let foreign = crate::foreign(&nats).await;
    let body = bus::Message::encode(&asked_for);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Code-Principal", nats.bus.principal().as_text());
    let subject = orchestrator::HISTORY.subject();
    let answer = foreign.request_with_headers(subject, headers, body.into()).await.unwrap();

    assert_eq!(unanswered.unwrap_err().code(), Code::Timeout);
    let size = |message: &async_nats::Message| {
        let headers = message.headers.as_ref().unwrap();
        let bytes = headers.iter().map(|(name, values)| {
            name.to_string().len() + values.iter().map(|value| value.as_str().len()).sum::<usize>() + 4
        });
        (headers.len(), bytes.sum::<usize>())
    };
    let (question, answer) = (size(&asked.unwrap()), size(&answer));
    assert_eq!((question.0, answer.0), (1, 1));
    assert!(question.1 < 150 && answer.1 < 80, "{question:?} {answer:?} bytes of headers");
}

#[tokio::test]
async fn an_asker_that_is_not_ours_says_who_it_is_in_headers_of_its_own() {
    let nats = nats().await;
    let _serving = nats
        .bus
        .answer(&orchestrator::HISTORY, 1, |_, meta| async move {
            assert_eq!(meta.principal, Principal::stated("a stranger").unwrap());
            assert!(meta.deadline.is_some());
            Ok(HistoryReply { records: vec![] })
        })
        .await
        .unwrap();
    let foreign = crate::foreign(&nats).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Content-Type", "application/protobuf; proto=code.v1.HistoryRequest");
    headers.insert("Code-Principal", Principal::stated("a stranger").unwrap().as_text());
    headers.insert("Code-Timeout-Ms", "30000");

    let body = bus::Message::encode(&question()).into();
    let answer = foreign.request_with_headers(orchestrator::HISTORY.subject(), headers, body).await.unwrap();

    let headers = answer.headers.unwrap_or_default();
    assert!(headers.get("Nats-Service-Error").is_none(), "{headers:?}");
}
