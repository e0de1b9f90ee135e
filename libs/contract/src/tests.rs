//! What breaks, what does not, and what nobody can say.

mod breaks;
mod cases;
mod same;

use serde_json::{Value, json};

use super::*;

const TODAY: &str = "2026-11-30";

fn api(operation: Value) -> Value {
    json!({"openapi": "3.0.3", "paths": {"/orders/{id}": {"post": operation}}})
}

fn body(schema: Value) -> Value {
    api(json!({"requestBody": {"content": {"application/json": {"schema": schema}}}, "responses": {}}))
}

fn answer(schema: Value) -> Value {
    api(json!({"responses": {"200": {"content": {"application/json": {"schema": schema}}}}}))
}

fn object(properties: Value, required: Value) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

fn report(old: &Value, new: &Value) -> Report {
    compare(&Document::of(old.clone()).unwrap(), &Document::of(new.clone()).unwrap(), TODAY)
}

/// Everything that breaks.
fn told(old: &Value, new: &Value) -> Vec<String> {
    report(old, new).breaks().map(ToString::to_string).collect()
}

/// Everything that is found, by its identifier.
fn ids(old: &Value, new: &Value) -> Vec<String> {
    report(old, new).findings.into_iter().map(|finding| finding.id).collect()
}
