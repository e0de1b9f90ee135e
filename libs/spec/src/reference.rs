//! The reference of all fields, written from the schema.

use serde_json::Value;

/// Tables of all fields in Markdown, one for each type.
pub fn reference() -> String {
    let schema = crate::schema();
    let mut text = section("The spec", &schema);
    let types = schema.get("$defs").and_then(Value::as_object);
    for (name, schema) in types.into_iter().flatten() {
        text += &section(name, schema);
    }
    text
}

fn section(name: &str, schema: &Value) -> String {
    let mut rows = String::new();
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (field, schema) in fields {
            let needed = if required.contains(&field.as_str()) { " (required)" } else { "" };
            rows += &format!("| `{field}`{needed} | {} | {} |\n", kind(schema), description(schema));
        }
    }
    for form in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        match (form.get("const"), form.get("properties").and_then(Value::as_object)) {
            (Some(Value::String(name)), _) => {
                rows += &format!("| `{name}` | choice | {} |\n", description(form))
            }
            (_, Some(fields)) => {
                for (field, schema) in fields {
                    rows += &format!("| `{field}:` | {} | {} |\n", kind(schema), description(form));
                }
            }
            _ => {}
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let title = if name == "The spec" {
        format!("\n### {name}\n\n")
    } else {
        format!("\n### {name}\n\n{}\n\n", description(schema))
    };
    format!("{title}| Field | Type | Meaning |\n|---|---|---|\n{rows}")
}

/// The type in words, with a link to a type that has a table.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return match name {
            "Token" => "name".to_owned(),
            "Span" => "span, such as `30s`".to_owned(),
            "Digest" => "digest, `sha256:...`".to_owned(),
            name => format!("[{name}](#{})", name.to_lowercase()),
        };
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        return any
            .iter()
            .find(|one| one.get("type").is_none_or(|t| t != "null"))
            .map(kind)
            .unwrap_or_default();
    }
    let name = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        Some(Value::String(name)) => Some(name.as_str()),
        _ => None,
    };
    match name {
        Some("array") => format!("list of {}", schema.get("items").map(kind).unwrap_or_default()),
        Some("object") => match schema.get("properties").and_then(Value::as_object) {
            Some(fields) => fields
                .iter()
                .map(|(name, schema)| format!("`{name}`: {}", kind(schema)))
                .collect::<Vec<String>>()
                .join(", "),
            None if schema.get("additionalProperties").is_some_and(Value::is_object) => {
                "texts by name".to_owned()
            }
            None => "nothing more".to_owned(),
        },
        Some("string") => "text".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.replace("\n\n", "\n").replace('\n', " ").replace('|', "\\|")
}
