//! Events from the world.

use std::time::Duration;

use bus::CloudEvent;
use parking_lot::Mutex;
use serde_json::json;

use crate::Case;

/// The document that arrives of this event.
async fn arrives(event: serde_json::Value) -> String {
    let nats = testkit::nats().await;
    let seen: std::sync::Arc<Mutex<Option<String>>> = std::sync::Arc::default();
    let heard = std::sync::Arc::clone(&seen);
    let _serving = nats
        .bus
        .inbox(&bus::subjects::inbox::SUBMIT, move |event: CloudEvent, _| {
            *heard.lock() = Some(event.document());
            async { Ok(json!({})) }
        })
        .await
        .unwrap();

    nats.publish("code.v1.in.case.deployment.submit", event.to_string().as_bytes()).await;

    let check = || std::future::ready(seen.lock().clone().ok_or("nothing arrived"));
    testkit::eventually("the event arrives", Duration::from_secs(10), check).await
}

pub async fn cases() -> Vec<Case> {
    let event = |more: serde_json::Value| {
        let mut event = json!({
            "specversion": "1.0", "id": "1", "source": "/ci", "type": "code.deployment.submit",
            "datacontenttype": "application/yaml"
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    vec![
        Case::of(
            "CloudEvents: data_base64 in structured mode",
            "decoded, as the JSON format obliges readers",
            "name: shop\n",
            arrives(event(json!({"data_base64": "bmFtZTogc2hvcAo="}))).await,
        ),
        Case::of(
            "CloudEvents: a text as data of another type than JSON",
            "the text",
            "name: shop\n",
            arrives(event(json!({"data": "name: shop\n"}))).await,
        ),
    ]
}
