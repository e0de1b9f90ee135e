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
    fn configured_fields_are_merged_into_the_request() {
        let mut body = json!({"a": 1, "o": {"x": 1, "y": {"z": 1}}});

        merge(&mut body, json!({"a": 2, "o": {"y": {"w": 2}}, "n": [1]}).as_object().unwrap());

        assert_eq!(body, json!({"a": 2, "o": {"x": 1, "y": {"z": 1, "w": 2}}, "n": [1]}));
    }
}
