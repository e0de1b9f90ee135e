//! Media types: which of them are the same, and which one is part of another.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::value::members;

/// The content of a message by its media type. The encoding of the characters and the order of parameters make no other
/// type.
pub(crate) fn contents(content: &Value) -> BTreeMap<String, &Value> {
    members(content).map(|(name, value)| (normal(name), value)).collect()
}

pub(crate) fn normal(name: &str) -> String {
    let mut parts = name.split(';').map(|part| part.trim().to_ascii_lowercase());
    let main = parts.next().unwrap_or_default();
    let mut rest: Vec<String> =
        parts.filter(|part| !part.is_empty() && !part.starts_with("charset")).collect();
    rest.sort();
    [vec![main], rest].concat().join("; ")
}

/// Whether everything of the one type is of the other one, which may be a range such as `text/*`.
pub(crate) fn is_within(one: &str, other: &str) -> bool {
    if one == other || other == "*/*" || other == "*" {
        return true;
    }
    let kind = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    let (is_range, bare) = (other.ends_with("/*"), one.split(';').next().unwrap_or_default().trim());
    (is_range && kind(one) == kind(other)) || bare == other
}

/// Forms write every value as text.
pub(crate) fn is_form(name: &str) -> bool {
    name.starts_with("application/x-www-form-urlencoded") || name.starts_with("multipart/")
}
