//! A document of any kind as a plain value.

use serde_json::{Map, Value};

use crate::document::{Bounds, Kind, Node, load_within};

/// Reads YAML 1.2 or JSON of any kind within the bounds; the first complaint, with its place, when it cannot be read.
pub fn value(text: &str, bounds: Bounds) -> Result<Value, String> {
    let (root, complaints) = load_within(text, bounds);
    match (root, complaints.into_iter().next()) {
        (_, Some(complaint)) => Err(complaint.to_string()),
        (Some(root), None) => Ok(plain(root)),
        (None, None) => Err("the document is empty".to_owned()),
    }
}

fn plain(node: Node) -> Value {
    match node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => Value::Bool(value),
        Kind::Number { number: Some(number), .. } => Value::Number(number),
        // What no number of JSON holds stays as it was written.
        Kind::Number { number: None, written } => Value::String(written),
        Kind::Text(text) => Value::String(text),
        Kind::List(items) => Value::Array(items.into_iter().map(plain).collect()),
        Kind::Map(entries) => {
            let entries = entries.into_iter().map(|entry| (entry.key, plain(entry.value)));
            Value::Object(entries.collect::<Map<String, Value>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1000, expanded: 1000, nodes: 20, depth: 3 };

    #[test]
    fn yaml_and_json_give_the_same_value() {
        let yaml = "a: [1, two, 2.5]\nb: {200: null}\nc: &x true\nd: *x\n";
        let json = r#"{"a":[1,"two",2.5],"b":{"200":null},"c":true,"d":true}"#;

        let expected = json!({"a": [1, "two", 2.5], "b": {"200": null}, "c": true, "d": true});
        assert_eq!(value(yaml, BOUNDS).unwrap(), expected);
        assert_eq!(value(json, BOUNDS).unwrap(), expected);
    }

    #[test]
    fn what_is_beyond_the_bounds_is_refused_by_name() {
        let deep = value("[[[[1]]]]", BOUNDS).unwrap_err();
        let long = value(&"x".repeat(1001), BOUNDS).unwrap_err();
        let many = value(&format!("[{}]", "1,".repeat(30)), BOUNDS).unwrap_err();

        assert!(deep.contains("nested deeper than 3"), "{deep}");
        assert!(long.contains("1001 bytes, more than 1000"), "{long}");
        assert!(many.contains("more than 20 values"), "{many}");
    }
}
