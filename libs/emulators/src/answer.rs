//! The text of an answer.
//!
//! The nonce that an answer has to echo is looked for in the user text, then in the system text: the first word behind
//! `nonce`, a colon, equals sign or `is`, and quotes if there are any (`nonce: 7f3a…`, `"nonce": "7f3a…"`, `Nonce is
//! 7f3a…`). It consists of letters, digits, `-` and `_`, at least four of them.

use model::expert::Answer;
use serde_json::{Map, Value};

use crate::scenario::{Fault, Script};

/// Shortest nonce.
const SHORTEST: usize = 4;

/// The nonce in a prompt.
pub fn nonce(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    lower.match_indices("nonce").find_map(|(at, word)| {
        let rest = text.get(at + word.len()..)?;
        let rest = rest.trim_start_matches(['"', '\'', '`', '*']).trim_start();
        let rest = rest
            .strip_prefix(':')
            .or_else(|| rest.strip_prefix('='))
            .or_else(|| rest.strip_prefix("is "))?
            .trim_start_matches([' ', '\t', '"', '\'', '`', '*']);
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
        (end >= SHORTEST).then(|| &rest[..end])
    })
}

/// The answer to a prompt, as text. Faults that spoil the text do so here.
pub(crate) fn text(
    script: &Script,
    model: &str,
    nonce: &str,
    schema: Option<&Value>,
    faults: &[Fault],
) -> String {
    if let Some(text) = &script.text {
        return text.replace("{nonce}", nonce);
    }
    // A question in another schema than ours gets something that fits it.
    if let Some(schema) = schema.filter(|schema| schema.pointer("/properties/verdict").is_none()) {
        return example(schema, schema, 0).to_string();
    }
    let mut rationale = script
        .rationale
        .clone()
        .unwrap_or_else(|| format!("{model} has looked at the plan and the evidence ✓ and says so, played."));
    let mut echoed = nonce;
    for fault in faults {
        match fault {
            Fault::WrongNonce => echoed = "another-nonce",
            Fault::Large { bytes } => rationale = "all work and no play – ".repeat(bytes / 24 + 1),
            _ => {}
        }
    }
    let answer = Answer {
        nonce: echoed.to_owned(),
        verdict: script.verdict,
        confidence_pct: script.confidence_pct,
        findings: script.findings.clone(),
        strategy: script.strategy,
        strategy_ranking: script.strategy_ranking.clone(),
        canary_steps_pct: script.canary_steps_pct.clone(),
        bake_minutes: script.bake_minutes,
        rationale,
    };
    let mut value = serde_json::to_value(&answer).unwrap_or_default();
    spoil(&mut value, faults);
    wrapped(value.to_string(), faults)
}

/// Faults in what an answer says.
fn spoil(value: &mut Value, faults: &[Fault]) {
    if faults.contains(&Fault::OutOfSchema)
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("verdict");
        fields.insert("decision".into(), "go".into());
    }
    if faults.contains(&Fault::Decimals) {
        for key in ["confidence_pct", "bake_minutes"] {
            value[key] = value[key].as_f64().into();
        }
        let steps = value["canary_steps_pct"].as_array().into_iter().flatten();
        value["canary_steps_pct"] = steps.map(Value::as_f64).collect();
    }
}

/// Faults in what stands around an answer.
fn wrapped(text: String, faults: &[Fault]) -> String {
    if faults.contains(&Fault::ThinkTags) {
        return format!("<think>Weigh {{this}} first.</think>\n{text}");
    }
    if faults.contains(&Fault::Fenced) {
        return format!("Sure! Here is my answer:\n```json\n{text}\n```\nLet me know if you need more.");
    }
    if faults.contains(&Fault::HalfAnswer) {
        return text.chars().take(text.chars().count() / 2).collect();
    }
    text
}

/// A value that fits a schema as far as types and enums go.
fn example(schema: &Value, root: &Value, depth: u32) -> Value {
    if depth > 8 {
        return Value::Null;
    }
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        return root
            .pointer(path.trim_start_matches('#'))
            .map_or(Value::Null, |at| example(at, root, depth + 1));
    }
    let first = |key: &str| schema.get(key).and_then(|options| options.get(0));
    if let Some(value) = schema.get("const").or_else(|| first("enum")) {
        return value.clone();
    }
    if let Some(option) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return example(option, root, depth + 1);
    }
    match schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str())) {
        Some("object") => {
            let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            Value::Object(
                fields.map(|(key, one)| (key.clone(), example(one, root, depth + 1))).collect::<Map<_, _>>(),
            )
        }
        Some("array") => Value::Array(Vec::new()),
        Some("integer" | "number") => 0.into(),
        Some("boolean") => true.into(),
        Some("string") => "played ✓".into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nonce_is_found_as_people_write_it() {
        for text in [
            "Echo this nonce: a1b2-c3",
            "{\"nonce\": \"a1b2-c3\"}",
            "The word nonce alone says nothing. NONCE=a1b2-c3\n",
            "the **nonce** is `a1b2-c3`.",
        ] {
            assert_eq!(nonce(text), Some("a1b2-c3"), "{text}");
        }
        assert_eq!(nonce("no number used once here, nonce: ab"), None);
    }

    #[test]
    fn an_answer_fits_the_closed_schema() {
        let text = text(&Script::default(), "m-1", "a1b2", None, &[]);

        let answer: Answer = serde_json::from_str(&text).unwrap();

        assert_eq!(answer.nonce, "a1b2");
    }
}
