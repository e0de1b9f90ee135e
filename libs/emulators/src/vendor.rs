//! The vendors' formats from their side: requests are checked as they check them, answers and errors look as theirs.

mod anthropic;
mod chat;
mod gemini;
mod ollama;
mod responses;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::scenario::Vendor;

/// A call as it came in.
pub(crate) struct Call {
    pub vendor: Vendor,
    /// Behind the vendor's own first part.
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    pub model: String,
    pub system: String,
    pub user: String,
    pub stream: bool,
    pub schema: Option<Value>,
    /// The stream is to end with token counts.
    pub counts: bool,
    /// The answer comes as one JSON array in pieces.
    pub array: bool,
    /// The system text may be kept in the vendor's prompt cache.
    pub keep: bool,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub text: String,
    pub model: String,
    pub number: usize,
    pub created: i64,
    pub ending: Ending,
    /// None: they are not told.
    pub tokens: Option<Counted>,
    pub novelties: bool,
    pub thinking: bool,
    pub parts: bool,
}

/// Tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Read, all of them.
    pub input: u64,
    /// Of these, from the prompt cache.
    pub cached: u64,
    /// Of these, into the prompt cache.
    pub kept: u64,
    pub output: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    Length,
    Refused,
    Filtered,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    Key,
    Moderated,
    Quota,
    Limited { words: String, details: Vec<Value> },
    SlowDown,
    NoModel(String),
    TooLong,
    TooLarge,
    Parameter { name: String, message: String },
    Overloaded,
    Status(u16),
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// Its name; empty where the format names none.
    pub name: &'static str,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Json(Value),
    /// `[DONE]`.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Events,
    /// One JSON document per line.
    Lines,
}

/// One format.
pub(crate) trait Format: Send + Sync {
    /// What is asked, or why it cannot be answered.
    fn read(&self, call: &Call) -> Result<Question, Wrong>;

    /// A whole answer.
    fn whole(&self, question: &Question, say: &Say) -> Value;

    /// An answer in pieces.
    fn events(&self, question: &Question, say: &Say) -> Vec<Event>;

    /// An error as a body, with its status.
    fn error(&self, wrong: &Wrong, number: usize) -> (u16, Value);

    /// A whole answer with status 200 that is an error.
    fn broken_whole(&self, _: &Question, _: &Say, number: usize) -> Value {
        match self.broken(number).data {
            Data::Json(value) => value,
            Data::Done => Value::Null,
        }
    }

    /// An error in the middle of a stream, whose status was 200.
    fn broken(&self, number: usize) -> Event {
        Event { name: "", data: Data::Json(self.error(&Wrong::Status(502), number).1) }
    }

    /// A sign of life in a stream.
    fn alive(&self) -> &'static str {
        ": keep-alive\n\n"
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }
}

/// The format behind a path of a vendor.
pub(crate) fn of(vendor: Vendor, path: &str) -> Option<Box<dyn Format>> {
    Some(match (vendor, path) {
        (Vendor::Anthropic, "/v1/messages") => Box::new(anthropic::Messages),
        (Vendor::Openai, "/v1/chat/completions") => Box::new(chat::Chat(vendor)),
        (Vendor::Openai, "/v1/responses") => Box::new(responses::Responses),
        (Vendor::Gemini, path) if path.starts_with("/v1beta/models/") || path.starts_with("/v1/models/") => {
            Box::new(gemini::Generate)
        }
        (Vendor::Deepseek, "/chat/completions" | "/v1/chat/completions") => Box::new(chat::Chat(vendor)),
        (Vendor::Openrouter, "/api/v1/chat/completions") => Box::new(chat::Chat(vendor)),
        (Vendor::Ollama, "/api/chat") => Box::new(ollama::Native),
        (Vendor::Ollama, "/v1/chat/completions") => Box::new(chat::Chat(vendor)),
        _ => return None,
    })
}

impl Event {
    fn new(name: &'static str, data: Value) -> Event {
        Event { name, data: Data::Json(data) }
    }
}

/// Whether the call carries a key in this header.
fn key(call: &Call, name: &str) -> bool {
    let value = call.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    !value.strip_prefix("Bearer").unwrap_or(value).trim().is_empty()
}

/// A text field that must be there.
fn required(body: &Value, name: &str) -> Result<String, Wrong> {
    match body.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Wrong::Parameter { name: name.into(), message: format!("{name}: Field required") }),
    }
}

/// The first field that is not allowed.
fn unknown<'a>(body: &'a Value, allowed: &[&str]) -> Option<&'a str> {
    body.as_object()?.keys().map(String::as_str).find(|key| !allowed.contains(key))
}

/// The text of a content that is a text or a list of parts.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

/// The texts of all messages of these roles.
fn messages(body: &Value, roles: &[&str]) -> String {
    let all = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    let of_roles = all.filter(|message| {
        message.get("role").and_then(Value::as_str).is_some_and(|role| roles.contains(&role))
    });
    of_roles.map(|message| content(&message["content"])).collect::<Vec<_>>().join("\n")
}

/// The text in pieces of a few characters, as models write.
fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    // Large answers in larger pieces: nobody needs a hundred thousand events.
    let size = (chars.len() / 64).max(12);
    chars.chunks(size).map(|piece| piece.iter().collect()).collect()
}

/// The first place where an object of the schema is open, or has optional properties.
fn open_object(schema: &Value) -> Option<&'static str> {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get("properties") {
                if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
                    return Some("'additionalProperties' is required to be supplied and to be false.");
                }
                let required: Vec<&str> = fields
                    .get("required")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                if !properties.keys().all(|key| required.contains(&key.as_str())) {
                    return Some(
                        "'required' is required to be supplied and to be an array including every key.",
                    );
                }
            }
            fields.values().find_map(open_object)
        }
        Value::Array(items) => items.iter().find_map(open_object),
        _ => None,
    }
}

/// Why OpenAI's strict mode does not take a schema.
fn not_strict(schema: &Value) -> Option<String> {
    const UNKNOWN: [&str; 8] =
        ["oneOf", "allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"];
    open_object(schema)
        .map(str::to_owned)
        .or_else(|| unsupported(schema, &UNKNOWN, false).map(|word| format!("'{word}' is not permitted.")))
        .or_else(|| crowded_reference(schema).then(|| "$ref cannot have keywords besides itself.".to_owned()))
}

/// Whether a reference has company.
fn crowded_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            (fields.get("$ref").is_some_and(Value::is_string) && fields.len() > 1)
                || fields.values().any(crowded_reference)
        }
        Value::Array(items) => items.iter().any(crowded_reference),
        _ => false,
    }
}

/// A keyword that a subset does not know.
fn unsupported<'a>(schema: &'a Value, keywords: &[&str], names: bool) -> Option<&'a str> {
    match schema {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            if !names && keywords.contains(&key.as_str()) {
                return Some(key.as_str());
            }
            let are_names = !names && matches!(key.as_str(), "properties" | "$defs");
            if !names && matches!(key.as_str(), "enum" | "const" | "required") {
                return None;
            }
            unsupported(value, keywords, are_names)
        }),
        Value::Array(items) => items.iter().find_map(|item| unsupported(item, keywords, false)),
        _ => None,
    }
}

fn message_of(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Key => "Incorrect API key provided.".into(),
        Wrong::Moderated => "The request was blocked by the content policy.".into(),
        Wrong::Quota => "You exceeded your current quota, please check your plan and billing details.".into(),
        Wrong::Limited { words, .. } => format!("Rate limit reached for requests.{words}"),
        Wrong::SlowDown => "Your request rate grows too fast. Slow down.".into(),
        Wrong::NoModel(model) => {
            format!("The model `{model}` does not exist or you do not have access to it.")
        }
        Wrong::TooLong => "prompt is too long: it exceeds the maximum context length of the model".into(),
        Wrong::TooLarge => "Request exceeds the maximum size".into(),
        Wrong::Parameter { message, .. } => message.clone(),
        Wrong::Overloaded => "Overloaded".into(),
        Wrong::Status(status) => format!("The server had an error ({status}) while processing your request."),
    }
}

/// The statuses that most vendors share.
fn status_of(wrong: &Wrong) -> u16 {
    match wrong {
        Wrong::Key => 401,
        Wrong::Moderated => 403,
        Wrong::Quota => 402,
        Wrong::Limited { .. } | Wrong::SlowDown => 429,
        Wrong::NoModel(_) => 404,
        Wrong::TooLong | Wrong::Parameter { .. } => 400,
        Wrong::TooLarge => 413,
        Wrong::Overloaded => 503,
        Wrong::Status(status) => *status,
    }
}

/// Something nobody has heard of.
fn novelty() -> Value {
    json!({"is": "new", "list": [1, 2.5, null, {"deep": true}]})
}
