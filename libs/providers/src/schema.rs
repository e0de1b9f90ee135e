//! What of a JSON schema the vendors take.

use serde_json::{Map, Value};

/// Keywords that a vendor's schema subset lacks; sent all the same, they are an error. Whoever reads the answer checks
/// them instead.
const NOT_ENFORCED: [&str; 18] = [
    "$schema",
    "$id",
    "default",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "uniqueItems",
];

/// The schema without what Anthropic and OpenAI's strict mode refuse: bounds and patterns are left out, `oneOf` becomes
/// `enum` or `anyOf`, and a reference stands alone.
pub(crate) fn portable(schema: &Value) -> Value {
    strip(schema, false)
}

/// The schema as a part of a prompt, for models that are not held to it.
pub(crate) fn in_words(schema: &Value) -> String {
    format!(
        "Answer with one JSON object and nothing else: no prose around it, no code fence. It must fit this JSON schema:\n\
         {schema}\nAn example of its form: {}",
        example(schema, schema, 0)
    )
}

/// `names`: the keys are names of properties or definitions, not keywords.
fn strip(schema: &Value, names: bool) -> Value {
    match schema {
        Value::Object(fields) if !names && fields.contains_key("$ref") => fields
            .iter()
            .filter(|(key, _)| *key == "$ref")
            .map(|(key, one)| (key.clone(), one.clone()))
            .collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| names || !NOT_ENFORCED.contains(&key.as_str()));
            let one = |(key, value): (&String, &Value)| {
                let value = match key.as_str() {
                    // Their content is data.
                    "enum" | "const" | "required" if !names => value.clone(),
                    "properties" | "$defs" | "definitions" if !names => strip(value, true),
                    _ => strip(value, false),
                };
                (key.clone(), value)
            };
            let mut kept: Map<String, Value> = kept.map(one).collect();
            if !names && let Some(options) = kept.remove("oneOf") {
                choice(&mut kept, options);
            }
            Value::Object(kept)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| strip(item, false)).collect()),
        plain => plain.clone(),
    }
}

/// Exactly one of several: of constants as an enumeration, else as any of them.
fn choice(schema: &mut Map<String, Value>, options: Value) {
    let list = options.as_array();
    let constants: Option<Vec<Value>> =
        list.and_then(|list| list.iter().map(|option| option.get("const").cloned()).collect());
    match constants {
        Some(constants) if constants.iter().all(Value::is_string) => {
            schema.insert("type".into(), "string".into());
            schema.insert("enum".into(), constants.into());
        }
        _ => {
            schema.insert("anyOf".into(), options);
        }
    }
}

/// A value that fits the schema as far as types and enums go; references are followed a few levels.
fn example(schema: &Value, root: &Value, depth: u32) -> Value {
    if depth > 8 {
        return Value::Null;
    }
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(path.trim_start_matches('#')).unwrap_or(&Value::Null);
        return example(target, root, depth + 1);
    }
    let first = |key: &str| schema.get(key).and_then(|options| options.get(0));
    if let Some(value) = schema.get("const").or_else(|| first("enum")) {
        return value.clone();
    }
    if let Some(option) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return example(option, root, depth + 1);
    }
    let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind {
        Some("object") => {
            let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            Value::Object(fields.map(|(key, one)| (key.clone(), example(one, root, depth + 1))).collect())
        }
        Some("array") => {
            Value::Array(schema.get("items").map(|item| example(item, root, depth + 1)).into_iter().collect())
        }
        Some("integer" | "number") => 0.into(),
        Some("boolean") => false.into(),
        Some("string") => "...".into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_left_out_and_names_that_look_like_bounds_are_kept() {
        let schema = json!({
            "$schema": "x", "type": "object", "additionalProperties": false, "required": ["format", "n"],
            "properties": {
                "format": {"type": "string", "format": "uri", "pattern": "x"},
                "n": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}},
                "e": {"enum": ["pattern", "minimum"]},
            },
        });

        assert_eq!(
            portable(&schema),
            json!({
                "type": "object", "additionalProperties": false, "required": ["format", "n"],
                "properties": {
                    "format": {"type": "string"},
                    "n": {"type": "array", "items": {"type": "integer"}},
                    "e": {"enum": ["pattern", "minimum"]},
                },
            })
        );
    }

    #[test]
    fn choices_and_references_take_the_form_that_vendors_know() {
        let schema = json!({
            "$defs": {"v": {"description": "d", "oneOf": [{"const": "a", "type": "string"}, {"const": "b"}]}},
            "properties": {"r": {"$ref": "#/$defs/v", "description": "x"}, "o": {"oneOf": [{"type": "null"}]}},
        });

        assert_eq!(
            portable(&schema),
            json!({
                "$defs": {"v": {"description": "d", "type": "string", "enum": ["a", "b"]}},
                "properties": {"r": {"$ref": "#/$defs/v"}, "o": {"anyOf": [{"type": "null"}]}},
            })
        );
    }

    #[test]
    fn the_prompt_shows_an_example() {
        let schema = json!({
            "type": "object", "$defs": {"v": {"enum": ["yes", "no"]}},
            "properties": {"v": {"$ref": "#/$defs/v"}, "l": {"type": "array", "items": {"type": "integer"}}},
        });

        let words = in_words(&schema);

        assert!(words.ends_with(r#"{"v":"yes","l":[0]}"#), "{words}");
        assert!(words.contains("JSON"));
    }
}
