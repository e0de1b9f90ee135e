//! Block style, every text in quotes.

use serde_json::Value;

pub fn of(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let name = Value::from(name.as_str());
                text.push_str(&format!("\n{indent}{name}:"));
                write(value, depth + 1, text);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                text.push_str(&format!("\n{indent}-"));
                write(value, depth + 1, text);
            }
        }
        other => text.push_str(&format!(" {other}")),
    }
}
