//! OpenAPI documents.

use contract::{BYTES, Document, compare};
use serde_json::{Value, json};

use crate::Case;

/// What breaks, or none; doubts and notes are no breaks.
fn breaks(old: &Value, new: &Value) -> String {
    let (old, new) = (Document::of(old.clone()).unwrap(), Document::of(new.clone()).unwrap());
    let found = compare(&old, &new, "2026-11-30");
    let ids: Vec<&str> = found.breaks().map(|one| one.id.as_str()).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

fn api(path: &str, item: Value) -> Value {
    json!({"openapi": "3.1.0", "paths": {path: item}})
}

fn answer(status: &str, media: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"size": {"type": "integer"}}});
    api("/parts", json!({"get": {"responses": {status: {"content": {media: {"schema": schema}}}}}}))
}

fn body(schema: Value) -> Value {
    let operation = json!({"requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"content": {"application/json": {"schema": schema}}}}});
    api("/parts", json!({"post": operation}))
}

fn taken(schema: Value) -> Value {
    let operation =
        json!({"requestBody": {"content": {"application/json": {"schema": schema}}}, "responses": {}});
    api("/parts", json!({"post": operation}))
}

pub fn cases() -> Vec<Case> {
    let text = || json!({"type": "string"});
    let part = |required: Value| {
        body(json!({"type": "object", "required": required,
            "properties": {"number": {"type": "string", "readOnly": true}, "name": {"type": "string"}}}))
    };
    let limit =
        |required: bool| json!([{"name": "limit", "in": "query", "required": required, "schema": text()}]);
    let overridden = api(
        "/parts",
        json!({"parameters": limit(false), "get": {"parameters": limit(true), "responses": {}}}),
    );
    let header = |name: &str| {
        let own = json!([{"name": name, "in": "header", "required": true, "schema": text()}]);
        api("/parts", json!({"get": {"parameters": own, "responses": {}}}))
    };
    let open = taken(json!({"type": "object", "properties":
        {"count": {"type": "integer"}, "code": text(), "kind": text(), "note": text()}}));
    let strict = taken(json!({"type": "object", "additionalProperties": false, "properties": {
        "count": {"type": "integer", "exclusiveMinimum": 0},
        "code": {"type": "string", "pattern": "^[0-9]+$"},
        "kind": {"const": "part"},
    }}));
    let mut secured = answer("200", "application/json");
    secured["components"]["securitySchemes"]["key"] =
        json!({"type": "apiKey", "in": "header", "name": "X-Key"});
    secured["security"] = json!([{"key": []}]);
    let plain = answer("200", "application/json");
    vec![
        Case::of(
            "contract: a readOnly field becomes required",
            "no break",
            "none",
            breaks(&part(json!(["name"])), &part(json!(["name", "number"]))),
        ),
        Case::of(
            "contract: an operation overrides its path's parameter",
            "no break",
            "none",
            breaks(&overridden, &overridden.clone()),
        ),
        Case::of(
            "contract: the same parameter, said at the operation only",
            "no break",
            "none",
            breaks(&overridden, &api("/parts", json!({"get": {"parameters": limit(true), "responses": {}}}))),
        ),
        Case::of(
            "contract: case of a header's name",
            "no break",
            "none",
            breaks(&header("X-Shop"), &header("x-shop")),
        ),
        Case::of(
            "contract: pattern, const, exclusiveMinimum, closed object",
            "four breaks",
            "request-fields-closed, request-minimum, request-pattern, request-values",
            breaks(&open, &strict),
        ),
        Case::of(
            "contract: a charset beside the media type",
            "no break",
            "none",
            breaks(&plain, &answer("200", "application/json; charset=utf-8")),
        ),
        Case::of(
            "contract: 200 becomes 2XX",
            "no break",
            "none",
            breaks(&plain, &answer("2XX", "application/json")),
        ),
        Case::of("contract: a key is asked for now", "a break", "security-added", breaks(&plain, &secured)),
        Case::of("contract: written as YAML", "compared", "the same", {
            let yaml = "openapi: 3.1.0\npaths:\n  /parts:\n    get:\n      responses:\n        200:\n          content:\n            application/json:\n              schema: {type: object, properties: {size: {type: integer}}}\n";
            if Document::read(yaml.as_bytes()).ok() == Document::of(plain).ok() {
                "the same"
            } else {
                "another"
            }
        }),
        Case::of(
            "contract: larger than the bound",
            "refused, with its size",
            &format!("it has {} bytes, {BYTES} are compared at most", BYTES + 1),
            Document::read(&vec![b' '; BYTES + 1]).unwrap_err().to_string(),
        ),
    ]
}
