//! Answers of models.

use std::time::Duration;

use ground::Secret;
use providers::{Ask, Catalogue, Circle};
use serde_json::json;

use crate::{Case, upstream::Upstream};

fn answer(confidence: serde_json::Value) -> serde_json::Value {
    json!({
        "nonce": "n-1", "verdict": "approve", "confidence_pct": confidence, "findings": [], "strategy": "canary",
        "strategy_ranking": ["canary"], "canary_steps_pct": [5, 100], "bake_minutes": 10, "rationale": "counted"
    })
}

fn vote(text: &str) -> String {
    match opinion::parse::parse(text.as_bytes(), "n-1", &["plan"]) {
        Ok(reading) => {
            format!("{:?}, {} % sure", reading.answer.verdict, reading.answer.confidence_pct).to_lowercase()
        }
        Err(error) => error.to_string(),
    }
}

/// The text that is made of a vendor's chat message.
async fn text_of(message: serde_json::Value) -> String {
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    let vendor =
        Upstream::answering("200 OK", &[("content-type", "application/json")], &body.to_string()).await;
    let catalogue: Catalogue = serde_json::from_value(json!({
        "providers": {"v": {"dialect": "openai-compatible", "base_url": format!("http://{}/v1", vendor.address)}},
        "experts": {"e": {
            "provider": "v", "model": "m", "family": "f", "context_tokens": 8000, "max_output_tokens": 500
        }}
    }))
    .unwrap();
    let circle = Circle::open(&catalogue, |_| Ok(Secret::new("key"))).unwrap();
    let question = Ask::new("You judge.", "May it go on?", Duration::from_secs(20));

    match circle.get(&"e".parse().unwrap()).unwrap().ask(&question).await {
        Ok(reply) => reply.text,
        Err(failure) => failure.to_string(),
    }
}

pub async fn cases() -> Vec<Case> {
    vec![
        Case::of(
            "a model's answer: an integer written 80.0",
            "an integer, as in JSON Schema",
            "approve, 80 % sure",
            vote(&answer(json!(80.0)).to_string()),
        ),
        Case::of(
            "a model's answer: chat content as parts",
            "its text, without what it thought",
            "fine",
            text_of(json!({"content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "fine"}
            ]}))
            .await,
        ),
        Case::of(
            "a model's answer: chat content as one part",
            "its text",
            "fine",
            text_of(json!({"content": {"type": "text", "text": "fine"}})).await,
        ),
    ]
}
