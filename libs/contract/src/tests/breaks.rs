//! Single changes.

use super::*;

const PLACE: &str = "POST /orders/{id}";

#[test]
fn what_breaks_is_told_by_place() {
    let text = json!({"type": "string"});
    let number = json!({"type": "number"});
    let integer = json!({"type": "integer"});
    let parameter = |required: bool| {
        api(
            json!({"parameters": [{"name": "q", "in": "query", "required": required, "schema": {"type": "string"}}], "responses": {}}),
        )
    };
    let none = api(json!({"responses": {}}));
    let cases: Vec<(&str, Value, Value, String)> = vec![
        ("path", none.clone(), json!({"paths": {}}), "/orders/{id}: the path is gone".to_owned()),
        (
            "method",
            none.clone(),
            json!({"paths": {"/orders/{id}": {"get": {}}}}),
            format!("{PLACE}: the method is gone"),
        ),
        (
            "new parameter",
            none.clone(),
            parameter(true),
            format!("{PLACE}: query parameter q: is new and required"),
        ),
        (
            "required parameter",
            parameter(false),
            parameter(true),
            format!("{PLACE}: query parameter q: is now required"),
        ),
        (
            "new required field",
            body(object(json!({"a": text}), json!(["a"]))),
            body(object(json!({"a": text, "b": text}), json!(["a", "b"]))),
            format!("{PLACE}: body: b: is new and required"),
        ),
        (
            "now required field",
            body(object(json!({"a": text}), json!([]))),
            body(object(json!({"a": text}), json!(["a"]))),
            format!("{PLACE}: body: a: is now required"),
        ),
        (
            "narrowed type",
            body(object(json!({"a": number}), json!([]))),
            body(object(json!({"a": integer}), json!([]))),
            format!("{PLACE}: body: a: the type changed from number to integer"),
        ),
        (
            "narrowed values",
            body(object(json!({"a": {"enum": ["x", "y"]}}), json!([]))),
            body(object(json!({"a": {"enum": ["x"]}}), json!([]))),
            format!("{PLACE}: body: a: no longer takes \"y\""),
        ),
        (
            "new values only",
            body(object(json!({"a": text}), json!([]))),
            body(object(json!({"a": {"type": "string", "enum": ["x"]}}), json!([]))),
            format!("{PLACE}: body: a: takes only certain values now"),
        ),
        (
            "shorter",
            body(object(json!({"a": {"type": "string", "maxLength": 20}}), json!([]))),
            body(object(json!({"a": {"type": "string", "maxLength": 10}}), json!([]))),
            format!("{PLACE}: body: a: maxLength is now 10, it was 20"),
        ),
        (
            "removed field",
            answer(object(json!({"a": text, "b": text}), json!([]))),
            answer(object(json!({"a": text}), json!([]))),
            format!("{PLACE}: response 200: b: the field is gone"),
        ),
        (
            "field may be missing",
            answer(object(json!({"a": text}), json!(["a"]))),
            answer(object(json!({"a": text}), json!([]))),
            format!("{PLACE}: response 200: a: may now be missing"),
        ),
        (
            "widened answer",
            answer(object(json!({"a": integer}), json!([]))),
            answer(object(json!({"a": number}), json!([]))),
            format!("{PLACE}: response 200: a: the type changed from integer to number"),
        ),
        (
            "nested in a list",
            answer(json!({"type": "array", "items": object(json!({"a": text}), json!([]))})),
            answer(json!({"type": "array", "items": object(json!({}), json!([]))})),
            format!("{PLACE}: response 200: []: a: the field is gone"),
        ),
        (
            "status gone",
            api(json!({"responses": {"200": {}, "404": {}}})),
            api(json!({"responses": {"404": {}}})),
            format!("{PLACE}: response 200: is gone"),
        ),
    ];
    for (name, old, new, expected) in cases {
        assert_eq!(told(&old, &new), [expected], "{name}");
        assert!(told(&old, &old).is_empty(), "{name}: the same document breaks nothing");
    }
}

#[test]
fn what_only_adds_breaks_nothing() {
    let text = json!({"type": "string"});
    let cases = [
        (
            api(json!({"responses": {}})),
            json!({"paths": {"/orders/{id}": {"post": {"responses": {}}, "get": {}}, "/new": {"get": {}}}}),
        ),
        (
            body(object(json!({"a": text}), json!(["a"]))),
            body(object(json!({"a": text, "b": text}), json!([]))),
        ),
        (
            body(object(json!({"a": {"type": "integer"}}), json!([]))),
            body(object(json!({"a": {"type": "number"}}), json!([]))),
        ),
        (
            answer(object(json!({"a": {"type": "number"}}), json!([]))),
            answer(object(json!({"a": {"type": "integer"}, "b": text}), json!(["a"]))),
        ),
        (
            body(object(json!({"a": {"enum": ["x"]}}), json!([]))),
            body(object(json!({"a": {"enum": ["x", "y"]}}), json!([]))),
        ),
        (
            json!({"paths": {"/orders/{id}": {"get": {"parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}]}}}}),
            json!({"paths": {"/orders/{order}": {"get": {"parameters": [{"name": "order", "in": "path", "required": true, "schema": {"type": "string"}}]}}}}),
        ),
    ];
    for (number, (old, new)) in cases.into_iter().enumerate() {
        assert_eq!(told(&old, &new), Vec::<String>::new(), "case {number}");
    }
}

#[test]
fn references_are_followed_and_recursion_ends() {
    let with = |properties: Value| {
        let mut document = answer(json!({"$ref": "#/components/schemas/Node"}));
        document["components"] =
            json!({"schemas": {"Node": {"allOf": [{"type": "object", "properties": properties}]}}});
        document
    };
    let old = with(json!({"next": {"$ref": "#/components/schemas/Node"}, "value": {"type": "string"}}));
    let new = with(json!({"next": {"$ref": "#/components/schemas/Node"}}));

    assert_eq!(told(&old, &new), [format!("{PLACE}: response 200: value: the field is gone")]);
}

#[test]
fn a_document_that_is_no_openapi_is_refused_and_odd_ones_break_nothing() {
    for odd in [json!(null), json!([]), json!({"a": 1})] {
        assert!(matches!(Document::of(odd), Err(Unread::NotOpenApi)));
    }
    for odd in [
        json!({"paths": 1}),
        json!({"paths": {"/a": {"get": []}}}),
        json!({"openapi": 3, "paths": {"/a": 1}}),
    ] {
        assert!(told(&odd, &json!({"openapi": "3.1.0", "paths": {"/a": {"get": {}}}})).is_empty(), "{odd}");
    }
}
