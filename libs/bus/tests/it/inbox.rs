use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{Client, HeaderMap};
use bus::{CloudEvent, Outsider, Serving, subjects};
use model::{Code, Fault, fault::Complaint};
use serde_json::{Value, json};
use testkit::{TestNats, eventually, nats};

use crate::LONG;

const SUBJECT: &str = "code.v1.in.ci-1.deployment.submit";

type Seen = Arc<Mutex<Vec<CloudEvent>>>;

async fn world(nats: &mut TestNats) -> Client {
    let settings = nats.invite(Outsider::Publisher, "ci-1").await;
    crate::as_user(&settings.url, &settings.user, &settings.key.unwrap()).await
}

async fn engine(nats: &TestNats) -> ((Serving, Serving), Seen) {
    let seen = Seen::default();
    let events = seen.clone();
    let serving = nats
        .bus
        .inbox(&subjects::inbox::SUBMIT, move |event: CloudEvent, _| {
            let document = event.document();
            events.lock().unwrap().push(event);
            async move {
                if document.contains("bad") {
                    let complaint = Complaint {
                        field: "name".into(),
                        line: 1,
                        column: 7,
                        message: "bad name".into(),
                        cure: "choose another".into(),
                    };
                    return Err(Fault::invalid("the spec is invalid", vec![complaint]));
                }
                Ok(json!({"deployment": "dep-1"}))
            }
        })
        .await
        .unwrap();
    (serving, seen)
}

async fn ask(client: &Client, headers: &[(&str, &str)], body: &str) -> Value {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let reply = client.request_with_headers(SUBJECT, map, body.to_owned().into()).await.unwrap();
    serde_json::from_slice(&reply.payload).unwrap()
}

#[tokio::test]
async fn a_structured_event_is_answered() {
    let mut nats = nats().await;
    let (_serving, seen) = engine(&nats).await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/ci", "type": "code.deployment.requested.v1",
        "data": {"name": "shop"}});

    let reply =
        ask(&world(&mut nats).await, &[("Content-Type", "application/cloudevents+json")], &event.to_string())
            .await;

    assert_eq!(reply, json!({"deployment": "dep-1"}));
    assert_eq!(seen.lock().unwrap()[0].document(), r#"{"name":"shop"}"#);
}

#[tokio::test]
async fn a_binary_event_with_a_spec_in_yaml_is_answered() {
    let mut nats = nats().await;
    let (_serving, seen) = engine(&nats).await;

    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/ci"),
        ("ce-type", "code.deployment.requested.v1"),
        ("content-type", "application/yaml"),
    ];
    let reply = ask(&world(&mut nats).await, &headers, "name: shop\n").await;

    assert_eq!(reply, json!({"deployment": "dep-1"}));
    assert_eq!(seen.lock().unwrap()[0].document(), "name: shop\n");
}

#[tokio::test]
async fn an_invalid_event_is_answered_with_every_complaint_and_kept_as_one_dead_letter() {
    let mut nats = nats().await;
    let (_serving, seen) = engine(&nats).await;

    let reply = ask(&world(&mut nats).await, &[("Content-Type", "application/cloudevents+json")], "{}").await;

    let fields: Vec<&str> = reply["complaints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|complaint| complaint["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        (reply["code"].as_str(), fields),
        (Some("invalid"), vec!["specversion", "id", "source", "type"])
    );
    let letter = eventually("a dead letter", LONG, || async {
        nats.bus.dead_letters(10).await.unwrap().pop().ok_or("none")
    })
    .await;
    assert_eq!((letter.fault.code, letter.fault.complaints.len()), (Code::Invalid, 4));
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_spec_is_answered_with_its_place() {
    let mut nats = nats().await;
    let (_serving, _) = engine(&nats).await;

    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/ci"), ("ce-type", "t")];
    let reply = ask(&world(&mut nats).await, &headers, "name: bad").await;

    assert_eq!(
        (reply["code"].as_str(), reply["complaints"][0]["column"].as_u64()),
        (Some("invalid"), Some(7))
    );
}

#[tokio::test]
async fn an_event_published_while_no_engine_was_up_is_handled_later() {
    let mut nats = nats().await;
    let client = world(&mut nats).await;
    let mut headers = HeaderMap::new();
    for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "9"), ("ce-source", "/ci"), ("ce-type", "t")] {
        headers.insert(name, value);
    }
    client.publish_with_headers(SUBJECT, headers, "name: shop".into()).await.unwrap();
    client.flush().await.unwrap();

    let (_serving, seen) = engine(&nats).await;

    eventually("the event is handled", LONG, || async {
        seen.lock().unwrap().first().map(|event| assert_eq!(event.id, "9")).ok_or("nothing seen")
    })
    .await;
}

#[tokio::test]
async fn a_request_without_an_engine_gets_no_false_answer() {
    let mut nats = nats().await;
    let client = world(&mut nats).await;

    let asked = client.send_request(
        SUBJECT,
        async_nats::client::Request::new().payload("x".into()).timeout(Some(Duration::from_millis(500))),
    );

    assert!(asked.await.is_err(), "the store answered in our place");
}
