//! What differs between two versions of a module, field by field.

use model::{plan::Difference, spec::Module};
use serde_json::Value;

/// Every leaf that differs, in order of its path. Secrets are references, so no secret value can appear. A module that
/// goes differs in nothing that a person could look at: that it goes is all.
pub fn differences(old: Option<&Module>, new: Option<&Module>) -> Vec<Difference> {
    if new.is_none() {
        return Vec::new();
    }
    let value =
        |module: Option<&Module>| module.and_then(|m| serde_json::to_value(m).ok()).unwrap_or(Value::Null);
    let mut found = Vec::new();
    walk("", &value(old), &value(new), &mut found);
    found
}

fn walk(path: &str, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let deeper = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(
                    &deeper,
                    old.get(key).unwrap_or(&Value::Null),
                    new.get(key).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for index in 0..old.len().max(new.len()) {
                let deeper = format!("{path}[{index}]");
                walk(
                    &deeper,
                    old.get(index).unwrap_or(&Value::Null),
                    new.get(index).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        _ => found.push(Difference { field: path.to_owned(), old: text(old), new: text(new) }),
    }
}

/// A value in at most 200 characters; `null` is absence.
fn text(value: &Value) -> Option<String> {
    let full = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if full.chars().count() > 200 {
        Some(format!("{}…", full.chars().take(200).collect::<String>()))
    } else {
        Some(full)
    }
}
