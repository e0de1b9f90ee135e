//! How the shape's complaints are worded.

use model::{Digest, Span, Token};
use serde_json::Value;

use super::nearest::nearest;
use crate::document::{Path, shown_text, shown_word};

/// Says what is wrong with a text.
pub(super) type Rule = fn(&str) -> Result<(), String>;

/// What a text of a named type must be.
pub(super) fn rule(name: &str) -> Option<Rule> {
    match name {
        "Token" => Some(|text| match text.parse::<Token>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "{} is not a name: expected a-z, 0-9 and -, beginning with a letter or digit, at most 63 characters",
                shown_text(text)
            )),
        }),
        "Span" => Some(|text| match text.parse::<Span>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "{} is not a span of time: write a number and a unit, such as 250ms, 30s, 5m or 2h",
                shown_text(text)
            )),
        }),
        "Digest" => Some(|text| match text.parse::<Digest>() {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(format!("{} is not a digest: expected sha256: and 64 hex digits", shown_text(text)))
            }
        }),
        _ => None,
    }
}

/// What a number in this field is called, when it has a name.
pub(super) fn noun(path: &Path) -> Option<&'static str> {
    Some(match path.last()? {
        "replicas" => "a number of replicas",
        "listen" | "container" => "a port",
        "setWeight" => "a weight in percent",
        "required" => "a number of approvals",
        "status" => "an HTTP status",
        _ => return None,
    })
}

/// The cure for a wrong value of this field; `otherwise` when it has none of its own.
pub(super) fn cure_of(path: &Path, otherwise: &str) -> String {
    match path.last() {
        Some("replicas") => crate::check::REPLICAS_CURE,
        Some("listen" | "container") => "a port is 1 to 65535",
        Some("setWeight") => "a weight is 0 to 100",
        Some("required") => "1 to 10 people can be asked",
        Some("status") => "a status is 100 to 599",
        _ => otherwise,
    }
    .to_owned()
}

/// What the schema says a field is for, as a cure.
pub(super) fn meaning(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let text = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    match letters.next() {
        // A word such as GET or CODE stays as it is.
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// A name that is none of the known ones.
pub(super) fn no_such_name(name: &str, names: &[&str]) -> String {
    let shown = shown_word(name);
    match nearest(name, names) {
        Some(meant) => format!("unknown choice `{shown}`; did you mean `{meant}`?"),
        None => format!("unknown choice `{shown}`"),
    }
}

/// The least and the most a whole number of this schema may be.
pub(super) fn range(schema: &Value) -> (i128, u128) {
    let (least, most) = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (0, u128::from(u8::MAX)),
        Some("uint16") => (0, u128::from(u16::MAX)),
        Some("uint32") => (0, u128::from(u32::MAX)),
        Some("uint64" | "uint") => (0, u128::from(u64::MAX)),
        _ => (i128::from(i64::MIN), i64::MAX as u128),
    };
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    (bound("minimum").map_or(least, i128::from), bound("maximum").map_or(most, u128::from))
}

/// A whole number, in words.
pub(super) fn number_within(least: i128, most: u128) -> String {
    if least == 0 && most >= u128::from(u32::MAX) {
        "a whole number from 0 on".to_owned()
    } else {
        format!("a whole number from {least} to {most}")
    }
}

/// What kind of value is expected, in words.
pub(super) fn kind(schema: Option<&Value>) -> &'static str {
    match schema.map(super::kind) {
        Some("object") => "its fields below",
        Some("array") => "a list",
        Some("integer" | "number") => "a number",
        _ => "its value",
    }
}
