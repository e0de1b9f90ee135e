//! The JSON Schema of an answer, in the subset that every provider accepts as strict: closed objects, all keys required,
//! enumerations; no ranges, patterns, formats or references. Ranges are checked by [`crate::parse`].

use serde_json::{Value, json};

/// The schema. A new value each time, since some providers want keys added or taken away.
pub fn answer() -> Value {
    let strategy = json!({
        "type": "string",
        "enum": ["canary", "blue_green", "rolling", "recreate", "none"],
        "description": "How to replace the running revision."
    });
    let finding = object(json!({
        "category": {
            "type": "string",
            "enum": ["slo", "capacity", "security", "data_migration", "dependency", "rollback", "config",
                     "observability", "policy", "other"]
        },
        "severity": {
            "type": "string",
            "enum": ["info", "minor", "major", "blocking"],
            "description": "blocking counts only with the id of a piece of evidence."
        },
        "evidence_ref": {
            "type": "string",
            "description": "The id of a piece of evidence that was given, or an empty text."
        },
        "statement": { "type": "string" }
    }));
    object(json!({
        "nonce": { "type": "string", "description": "The nonce of the question, unchanged." },
        "rationale": { "type": "string", "description": "Why, in a few sentences." },
        "findings": { "type": "array", "items": finding, "description": "What was found; empty for nothing." },
        "strategy": strategy,
        "strategy_ranking": {
            "type": "array", "items": strategy, "description": "Strategies, the best first; may be empty."
        },
        "canary_steps_pct": {
            "type": "array",
            "items": { "type": "integer" },
            "description": "Growing shares of the traffic from 1 to 100; may be empty."
        },
        "bake_minutes": { "type": "integer", "description": "Minutes at each share; 0 for no recommendation." },
        "confidence_pct": { "type": "integer", "description": "0 to 100." },
        "verdict": {
            "type": "string",
            "enum": ["approve", "reject", "needs_change", "abstain"],
            "description": "abstain rather than guess."
        }
    }))
}

/// A closed object: all keys required, no others allowed.
fn object(properties: Value) -> Value {
    let required: Vec<String> =
        properties.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    })
}
