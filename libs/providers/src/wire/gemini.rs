//! Gemini generateContent.

use serde_json::{Value, json};

use super::{Content, Heard, Wire, count, enforced, has, malformed, max_tokens, system, text, told};
use crate::{
    account::Tokens,
    ask::{Ask, Stop},
    catalogue::{Model, Structured},
    failure::{Class, Failure},
    schema,
};

pub(super) struct Generate;

impl Wire for Generate {
    fn path(&self, model: &Model, streaming: bool) -> String {
        let name = model.model.trim_start_matches("models/");
        let call = if streaming { "streamGenerateContent?alt=sse" } else { "generateContent" };
        format!("/models/{name}:{call}")
    }

    fn key_header(&self) -> (&'static str, &'static str) {
        ("x-goog-api-key", "")
    }

    fn body(&self, model: &Model, ask: &Ask, _streaming: bool) -> Value {
        let how = enforced(model, ask, Structured::Schema);
        let mut generation = json!({"maxOutputTokens": max_tokens(model, ask)});
        if let Some((Structured::Schema | Structured::Json, schema)) = how {
            generation["responseMimeType"] = "application/json".into();
            if matches!(how, Some((Structured::Schema, _))) {
                generation["responseJsonSchema"] = schema::portable(&schema.json);
            }
        }
        let mut body = json!({
            "contents": [{"role": "user", "parts": [{"text": ask.user}]}],
            "generationConfig": generation,
        });
        let system = system(ask, how);
        if !system.is_empty() {
            body["systemInstruction"] = json!({"role": "user", "parts": [{"text": system}]});
        }
        body
    }

    fn reply(&self, body: &Value) -> Result<Heard, Failure> {
        let mut heard = Heard::default();
        self.event("", body, &mut heard)?;
        if heard.stop.is_none() {
            return Err(malformed("no candidates"));
        }
        heard.ended = true;
        Ok(heard)
    }

    fn event(&self, _: &str, data: &Value, heard: &mut Heard) -> Result<(), Failure> {
        // Errors in streams come in an array.
        if has(data.get(0).unwrap_or(data), "error") {
            return Err(told::within(data));
        }
        if has(data, "modelVersion") {
            heard.model = text(data, "/modelVersion").into();
        }
        if has(data, "responseId") {
            heard.id = text(data, "/responseId").into();
        }
        if let Some(usage) = data.get("usageMetadata").filter(|usage| !usage.is_null()) {
            heard.tokens = Tokens {
                input: count(usage, "/promptTokenCount"),
                cached: count(usage, "/cachedContentTokenCount"),
                cache_write: 0,
                output: count(usage, "/candidatesTokenCount") + count(usage, "/thoughtsTokenCount"),
            };
        }
        if has(data, "promptFeedback") && !text(data, "/promptFeedback/blockReason").is_empty() {
            heard.stop = Some(Stop::Refused);
            heard.text = format!("the prompt was blocked: {}", text(data, "/promptFeedback/blockReason"));
            heard.ended = true;
            return Ok(());
        }
        let Some(candidate) = data.pointer("/candidates/0") else { return Ok(()) };
        heard.add(Content::of(candidate.pointer("/content/parts")));
        let stop = match text(candidate, "/finishReason") {
            "" | "FINISH_REASON_UNSPECIFIED" => return Ok(()),
            "STOP" => Stop::Complete,
            "MAX_TOKENS" => Stop::Truncated,
            "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
            | "MODEL_ARMOR" => Stop::Refused,
            other => return Err(Failure::new(Class::Malformed, format!("it ended with {other}"))),
        };
        if stop == Stop::Refused && heard.text.is_empty() {
            heard.text = text(candidate, "/finishReason").to_ascii_lowercase();
        }
        heard.stop = Some(stop);
        // There is no end mark: the piece with the reason is the last one.
        heard.ended = true;
        Ok(())
    }
}
