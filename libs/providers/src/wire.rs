//! The vendors' wire formats: questions into requests, answers into [`Heard`], errors into failures.
//!
//! Pure: values in, values out. A new format is one more file here and one more line in [`of`].

mod anthropic;
mod chat;
mod gemini;
mod ollama;
mod responses;
mod told;

use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use crate::{
    account::Tokens,
    ask::{Ask, Schema, Stop},
    catalogue::{Dialect, Model, Structured},
    failure::{Class, Failure},
    schema,
};

/// One wire format.
pub(crate) trait Wire: Send + Sync {
    /// What stands behind the base address.
    fn path(&self, model: &Model, streaming: bool) -> String;

    /// The header that carries the key, and what stands before the key in it.
    fn key_header(&self) -> (&'static str, &'static str) {
        ("authorization", "Bearer ")
    }

    /// Further headers.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The request, without the model's `extra`.
    fn body(&self, model: &Model, ask: &Ask, streaming: bool) -> Value;

    /// A whole answer with status 200, which may still be a failure.
    fn reply(&self, body: &Value) -> Result<Heard, Failure>;

    /// One event of a stream. `name` is empty where the format names no events. Unknown events change nothing.
    fn event(&self, name: &str, data: &Value, heard: &mut Heard) -> Result<(), Failure>;

    /// Whether a stream has one JSON document per line instead of events.
    fn is_lines(&self) -> bool {
        false
    }

    /// Whether a stream that closes without the format's end mark is whole when it gave a reason to stop.
    fn may_lack_end(&self) -> bool {
        false
    }

    /// The failure behind an answer with another status.
    fn failure(&self, status: u16, headers: &HeaderMap, body: &Value) -> Failure {
        told::failure(status, headers, body)
    }
}

/// What has been heard of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    pub text: String,
    pub stop: Option<Stop>,
    pub tokens: Tokens,
    pub model: String,
    pub id: String,
    /// The format's own end was seen: nothing is missing.
    pub ended: bool,
}

/// The wire format of this name.
pub(crate) fn of(dialect: Dialect) -> Box<dyn Wire> {
    match dialect {
        Dialect::Anthropic => Box::new(anthropic::Messages),
        Dialect::OpenaiChat => Box::new(chat::Chat(chat::Flavour::Openai)),
        Dialect::OpenaiResponses => Box::new(responses::Responses),
        Dialect::Gemini => Box::new(gemini::Generate),
        Dialect::Deepseek => Box::new(chat::Chat(chat::Flavour::Deepseek)),
        Dialect::Openrouter => Box::new(chat::Chat(chat::Flavour::Openrouter)),
        Dialect::Ollama => Box::new(ollama::Native),
        Dialect::OpenaiCompatible => Box::new(chat::Chat(chat::Flavour::Compatible)),
    }
}

/// Puts the configured fields into the request: objects are merged, everything else is replaced.
pub(crate) fn merge(into: &mut Value, extra: &Map<String, Value>) {
    let Some(fields) = into.as_object_mut() else { return };
    for (key, value) in extra {
        match (fields.get_mut(key), value) {
            (Some(there @ Value::Object(_)), Value::Object(more)) => merge(there, more),
            _ => {
                fields.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The schema, if the vendor is to enforce it.
fn enforced<'a>(model: &Model, ask: &'a Ask, best: Structured) -> Option<(Structured, &'a Schema)> {
    Some((model.structured.unwrap_or(best), ask.schema.as_ref()?))
}

/// The system text, with the schema where the vendor does not enforce it.
fn system(ask: &Ask, how: Option<(Structured, &Schema)>) -> String {
    match how {
        Some((Structured::Json | Structured::Prompt, schema)) => {
            format!("{}\n\n{}", ask.system, schema::in_words(&schema.json))
        }
        Some((Structured::Schema, _)) | None => ask.system.clone(),
    }
}

/// The most tokens to write.
fn max_tokens(model: &Model, ask: &Ask) -> u32 {
    ask.max_tokens.unwrap_or(model.max_output_tokens).clamp(1, model.max_output_tokens.max(1))
}

/// A text in a document; empty when it is not there.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a message's content says: one text, or parts of which some are text, some a refusal, and some thoughts, calls or
/// pictures, which are not for us.
#[derive(Default)]
struct Content {
    text: String,
    refusal: String,
}

impl Content {
    fn of(content: Option<&Value>) -> Content {
        let mut said = Content::default();
        match content {
            Some(Value::String(text)) => said.text.push_str(text),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| said.add(part)),
            Some(part @ Value::Object(_)) => said.add(part),
            Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => {}
        }
        said
    }

    fn add(&mut self, part: &Value) {
        if let Some(text) = part.as_str() {
            self.text.push_str(text);
        }
        if part.get("thought") == Some(&Value::Bool(true)) {
            return;
        }
        match text(part, "/type") {
            "text" | "output_text" | "" => {
                self.text.push_str(text(part, "/text"));
                self.text.push_str(text(part, "/text/value"));
            }
            "refusal" => self.refusal.push_str(text(part, "/refusal")),
            _ => {}
        }
    }
}

impl Heard {
    /// Adds what was said. A refusal stands whatever else is there.
    fn add(&mut self, said: Content) {
        self.text.push_str(&said.text);
        if !said.refusal.is_empty() {
            if self.stop != Some(Stop::Refused) {
                self.text.clear();
            }
            self.stop = Some(Stop::Refused);
            self.text.push_str(&said.refusal);
        }
    }
}

/// A count in a document; 0 when it is not there.
fn count(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// Whether a field is there and not null.
fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|field| !field.is_null())
}

fn malformed(detail: &str) -> Failure {
    Failure::new(Class::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ALL: [Dialect; 8] = [
        Dialect::Anthropic,
        Dialect::OpenaiChat,
        Dialect::OpenaiResponses,
        Dialect::Gemini,
        Dialect::Deepseek,
        Dialect::Openrouter,
        Dialect::Ollama,
        Dialect::OpenaiCompatible,
    ];

    /// Documents made of the fields that the formats look for, in places where they do not belong.
    fn document() -> impl Strategy<Value = Value> {
        let words = "type error message content choices delta finish_reason stop_reason usage output candidates parts text \
             status response done code details promptFeedback index refusal length content_block_delta message_start \
             response.completed STOP blockReason";
        let word = prop::sample::select(words.split_whitespace().collect::<Vec<_>>());
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((word.clone(), inner), 0..5)
                    .prop_map(|all| all.into_iter().map(|(key, one)| (key.to_owned(), one)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_document_breaks_a_format(name in "[a-z_.]{0,20}", documents in prop::collection::vec(document(), 1..4)) {
            for dialect in ALL {
                let wire = of(dialect);
                let mut heard = Heard::default();
                for document in &documents {
                    let _ = wire.reply(document);
                    let _ = wire.event(&name, document, &mut heard);
                    let _ = wire.failure(500, &HeaderMap::new(), document);
                }
            }
        }
    }

    #[test]
    fn every_documented_shape_of_an_answer_gives_its_text() {
        let chat = |message: Value| json!({"choices": [{"message": message, "finish_reason": "stop"}]});
        let call = |arguments: &str| json!({"id": "c", "type": "function", "function": {"name": "json", "arguments": arguments}});
        let blocks =
            |content: Value| json!({"type": "message", "content": content, "stop_reason": "end_turn"});
        let parts =
            |parts: Value| json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
        let output = |output: Value| json!({"status": "completed", "output": output});
        let cases = [
            (Dialect::OpenaiChat, chat(json!({"content": "ok"})), "ok", Stop::Complete),
            (
                Dialect::OpenaiChat,
                chat(json!({"content": [{"type": "text", "text": "o"}, {"type": "text", "text": "k"}]})),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::OpenaiCompatible,
                chat(json!({"content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "reasoning", "text": "hm"},
                    {"type": "text", "text": "ok"},
                ]})),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::OpenaiCompatible,
                chat(json!({"content": {"type": "text", "text": "ok"}})),
                "ok",
                Stop::Complete,
            ),
            (Dialect::OpenaiCompatible, chat(json!({"content": ["o", "k"]})), "ok", Stop::Complete),
            (
                Dialect::OpenaiChat,
                chat(json!({"content": [{"type": "refusal", "refusal": "no"}]})),
                "no",
                Stop::Refused,
            ),
            (Dialect::OpenaiChat, chat(json!({"content": null, "refusal": "no"})), "no", Stop::Refused),
            (
                Dialect::OpenaiChat,
                chat(
                    json!({"content": [{"type": "text", "text": "but"}, {"type": "refusal", "refusal": "no"}]}),
                ),
                "no",
                Stop::Refused,
            ),
            (
                Dialect::OpenaiCompatible,
                chat(json!({"content": null, "tool_calls": [call("ok")]})),
                "ok",
                Stop::Complete,
            ),
            // Which of two is meant is not known.
            (
                Dialect::OpenaiCompatible,
                chat(json!({"content": null, "tool_calls": [call("a"), call("b")]})),
                "",
                Stop::Complete,
            ),
            (
                Dialect::OpenaiCompatible,
                chat(json!({"content": "ok", "tool_calls": [call("a")]})),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::Deepseek,
                chat(json!({"content": "ok", "reasoning_content": "hm"})),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::Openrouter,
                chat(json!({"content": "ok", "reasoning": "hm", "reasoning_details": [{"text": "hm"}]})),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::Anthropic,
                blocks(json!([
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "hm"},
                    {"type": "text", "text": "o"},
                    {"type": "tool_use", "input": {"text": "hm"}},
                    {"type": "text", "text": "k"},
                ])),
                "ok",
                Stop::Complete,
            ),
            (Dialect::Anthropic, blocks(json!("ok")), "ok", Stop::Complete),
            (
                Dialect::Gemini,
                parts(json!([
                    {"text": "hm", "thought": true}, {"text": "o"}, {"text": "k"}, {"thoughtSignature": "s"}, {"inlineData": {"data": "hm"}},
                ])),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::OpenaiResponses,
                output(json!([
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "o"}, {"type": "output_text", "text": "k"}]},
                ])),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::OpenaiResponses,
                output(json!([{"type": "message", "content": "ok"}])),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::OpenaiResponses,
                output(json!([{"type": "output_text", "text": "ok"}])),
                "ok",
                Stop::Complete,
            ),
            (
                Dialect::OpenaiResponses,
                output(json!([{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}])),
                "no",
                Stop::Refused,
            ),
            (
                Dialect::Ollama,
                json!({"message": {"content": "ok", "thinking": "hm"}, "done": true, "done_reason": "stop"}),
                "ok",
                Stop::Complete,
            ),
        ];

        for (dialect, body, text, stop) in cases {
            let heard = of(dialect).reply(&body).unwrap_or_else(|failure| panic!("{body}: {failure}"));

            assert_eq!((heard.text.as_str(), heard.stop), (text, Some(stop)), "{body}");
        }
    }

    #[test]
    fn pieces_of_an_answer_come_in_the_same_shapes() {
        let piece = |delta: Value| json!({"choices": [{"delta": delta, "finish_reason": null}]});
        let mut heard = Heard::default();
        let wire = of(Dialect::OpenaiCompatible);

        for delta in [
            json!({"role": "assistant", "content": ""}),
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
            json!({"content": [{"type": "text", "text": "o"}]}),
            json!({"content": "k", "reasoning_content": "hm"}),
            json!({"content": null}),
        ] {
            wire.event("", &piece(delta), &mut heard).unwrap();
        }

        assert_eq!(heard.text, "ok");
    }

    #[test]
    fn configured_fields_are_merged_into_the_request() {
        let mut body = json!({"a": 1, "o": {"x": 1, "y": {"z": 1}}});

        merge(&mut body, json!({"a": 2, "o": {"y": {"w": 2}}, "n": [1]}).as_object().unwrap());

        assert_eq!(body, json!({"a": 2, "o": {"x": 1, "y": {"z": 1, "w": 2}}, "n": [1]}));
    }
}
