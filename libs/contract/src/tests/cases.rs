//! Kinds that went wrong for people, and right values.

use super::*;

fn parameters(own: Value, of_path: Value) -> Value {
    json!({"openapi": "3.0.3", "paths": {"/logs": {
        "parameters": of_path,
        "get": {"parameters": own, "responses": {"200": {"description": "ok"}}},
    }}})
}

fn note(required: Value) -> Value {
    json!({
        "openapi": "3.0.3",
        "paths": {"/notes": {"post": {
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}},
            "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}}},
        }}},
        "components": {"schemas": {"Note": {
            "type": "object",
            "properties": {
                "id": {"type": "string", "readOnly": true},
                "secret": {"type": "string", "writeOnly": true},
                "title": {"type": "string"},
            },
            "required": required,
        }}},
    })
}

#[test]
fn what_only_comes_back_is_not_asked_for_and_what_is_only_sent_not_promised() {
    let (plain, with_id) = (note(json!(["title"])), note(json!(["title", "id"])));
    let with_secret = note(json!(["title", "secret"]));

    assert_eq!(told(&plain, &with_id), Vec::<String>::new());
    assert_eq!(told(&with_id, &plain), ["POST /notes: response 200: id: may now be missing"]);
    assert_eq!(told(&plain, &with_secret), ["POST /notes: body: secret: is now required"]);
    assert_eq!(told(&with_secret, &plain), Vec::<String>::new());
}

#[test]
fn a_field_that_is_sent_from_now_on_only_is_gone_from_answers() {
    let (old, mut new) = (note(json!([])), note(json!([])));
    new["components"]["schemas"]["Note"]["properties"]["title"]["writeOnly"] = json!(true);

    assert_eq!(
        told(&old, &new),
        ["POST /notes: response 200: title: the field is gone: it is writeOnly now"]
    );
}

#[test]
fn an_operation_overrides_the_parameters_of_its_path() {
    let limit = |required: bool, most: u32| json!({"name": "limit", "in": "query", "required": required, "schema": {"type": "integer", "maximum": most}});
    let overridden = parameters(json!([limit(true, 50)]), json!([limit(false, 100)]));
    let own = parameters(json!([limit(true, 50)]), json!([]));
    let of_path = parameters(json!([]), json!([limit(true, 50)]));
    let wider = parameters(json!([]), json!([limit(false, 100)]));

    for same in [&own, &of_path] {
        assert_eq!(report(&overridden, same), Report::default());
        assert_eq!(report(same, &overridden), Report::default());
    }
    assert_eq!(told(&overridden, &wider), Vec::<String>::new());
    assert_eq!(
        told(&wider, &overridden),
        [
            "GET /logs: query parameter limit: maximum is now 50, it was 100",
            "GET /logs: query parameter limit: is now required",
        ]
    );
}

#[test]
fn names_of_headers_are_the_same_in_upper_and_lower_case_and_those_of_the_standard_say_nothing() {
    let header = |name: &str| {
        parameters(
            json!([{"name": name, "in": "header", "required": true, "schema": {"type": "string"}}]),
            json!([]),
        )
    };
    let none = parameters(json!([]), json!([]));

    assert_eq!(report(&header("X-Tenant"), &header("x-tenant")), Report::default());
    for ignored in ["Accept", "content-type", "AUTHORIZATION"] {
        assert_eq!(report(&none, &header(ignored)), Report::default(), "{ignored}");
    }
    assert_eq!(told(&none, &header("X-Other")), ["GET /logs: header parameter X-Other: is new and required"]);
}

#[test]
fn pattern_const_exclusive_minimum_and_closed_objects_are_one_break_each() {
    let body = |schema: Value| {
        json!({"openapi": "3.1.0", "paths": {"/orders": {"post": {
            "requestBody": {"required": true, "content": {"application/json": {"schema": schema}}},
            "responses": {"200": {"description": "ok"}},
        }}}})
    };
    let old = body(json!({"type": "object", "properties": {
        "note": {"type": ["string", "null"]},
        "count": {"type": "integer"},
        "code": {"type": "string"},
        "kind": {"type": "string"},
    }}));
    let new = body(json!({"type": "object", "additionalProperties": false, "properties": {
        "count": {"type": "integer", "exclusiveMinimum": 0},
        "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "kind": {"type": "string", "const": "new"},
    }}));

    let breaks = told(&old, &new);

    assert_eq!(
        breaks,
        [
            "POST /orders: body: no longer takes fields that are not described, note among them",
            "POST /orders: body: count: minimum is now 1, it was none",
            "POST /orders: body: code: the pattern is now ^[A-Z]{3}$, it was none",
            "POST /orders: body: kind: takes only certain values now",
        ]
    );
    assert_eq!(told(&new, &old), Vec::<String>::new());
}

fn answering(status: &str, media: &str, schema: Value) -> Value {
    json!({"openapi": "3.0.3", "paths": {"/a": {"get": {"responses": {
        status: {"description": "ok", "content": {media: {"schema": schema}}},
    }}}}})
}

#[test]
fn a_charset_and_a_range_of_statuses_are_the_same_answer() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let old = answering("200", "application/json", schema.clone());

    for same in [
        answering("200", "application/json; charset=utf-8", schema.clone()),
        answering("2XX", "application/json", schema.clone()),
        answering("default", "application/json", schema.clone()),
    ] {
        assert_eq!(report(&old, &same), Report::default());
    }
    let less =
        answering("2XX", "Application/JSON;charset=utf-8", json!({"type": "object", "properties": {}}));
    assert_eq!(told(&old, &less), ["GET /a: response 200: a: the field is gone"]);
    let gone = answering("404", "application/json", schema);
    assert_eq!(told(&old, &gone), ["GET /a: response 200: is gone"]);
}

#[test]
fn who_is_let_in_counts_by_what_is_shown_and_not_by_its_name() {
    let secured = |name: &str, own: Option<Value>, global: Value| {
        let mut document = answering("200", "text/plain", json!({"type": "string"}));
        document["components"]["securitySchemes"][name] =
            json!({"type": "apiKey", "in": "header", "name": "X-Key"});
        document["components"]["securitySchemes"]["sign"] = json!({"type": "oauth2", "flows": {}});
        document["security"] = global;
        if let Some(own) = own {
            document["paths"]["/a"]["get"]["security"] = own;
        }
        document
    };
    let open = secured("k", None, json!([]));
    let closed = secured("k", None, json!([{"k": []}]));
    let renamed = secured("other", Some(json!([{"other": []}])), json!([]));
    let either = secured("k", None, json!([{"sign": ["read"]}, {"k": []}]));
    let optional = secured("k", Some(json!([{"k": []}, {}])), json!([]));
    let scoped = |scope: &str| secured("k", None, json!([{"sign": [scope]}]));

    assert_eq!(told(&open, &closed), ["GET /a: asks for key in header x-key now, it was open"]);
    assert_eq!(report(&closed, &renamed), Report::default());
    for wider in [&open, &either, &optional] {
        assert_eq!(told(&closed, wider), Vec::<String>::new());
    }
    assert_eq!(ids(&optional, &closed), ["security-added"]);
    assert_eq!(ids(&scoped("read"), &scoped("write")), ["security-narrowed"]);
}

#[test]
fn what_nobody_can_say_is_a_doubt_and_no_break() {
    let text =
        |pattern: &str| answering("200", "application/json", json!({"type": "string", "pattern": pattern}));

    let found = report(&text("^[a-z]+$"), &text("^[a-y]+$"));

    assert_eq!(found.breaks().count(), 0);
    assert_eq!(
        found.doubts().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "GET /a: response 200: the pattern is now ^[a-y]+$, it was ^[a-z]+$: cannot say whether the one takes all \
             that the other does"
        ]
    );
    let outside = |file: &str| answering("200", "application/json", json!({"$ref": file}));
    assert_eq!(ids(&outside("a.yaml#/A"), &outside("b.yaml#/A")), ["response-reference"]);
}

#[test]
fn a_finding_says_where_it_is_and_what_stood_there() {
    let (old, new) = (
        answering("200", "application/json", json!({"type": "array", "items": {"type": "integer"}})),
        answering("200", "application/json", json!({"type": "array", "items": {"type": "number"}})),
    );

    let found = report(&old, &new).findings;

    let only = &found[0];
    assert_eq!(
        (found.len(), only.id.as_str(), only.method.as_str(), only.path.as_str()),
        (1, "response-type", "GET", "/a")
    );
    assert_eq!(only.pointer, "/paths/~1a/get/responses/200/content/application~1json/schema/items");
    assert_eq!((only.old.as_str(), only.new.as_str()), ("integer", "number"));
}

#[test]
fn alternatives_are_held_against_all_alternatives() {
    let union = |list: Value| answering("200", "application/json", json!({"oneOf": list}));
    let cat = json!({"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind"]});
    let dog = json!({"type": "object", "properties": {"kind": {"const": "dog"}, "bark": {"type": "string"}}, "required": ["kind"]});
    let mut mute = dog.clone();
    mute["properties"] = json!({"kind": {"const": "dog"}});

    assert_eq!(report(&union(json!([cat, dog])), &union(json!([dog, cat]))), Report::default());
    assert_eq!(told(&union(json!([cat, dog])), &union(json!([dog]))), Vec::<String>::new());
    assert_eq!(ids(&union(json!([dog])), &union(json!([cat, dog]))), ["response-alternative"]);
    assert_eq!(
        told(&union(json!([cat, dog])), &union(json!([cat, mute]))),
        ["GET /a: response 200: bark: the field is gone"]
    );
}

#[test]
fn a_discriminator_tells_alternatives_apart() {
    let union = |names: &[&str]| {
        let list: Vec<Value> =
            names.iter().map(|name| json!({"$ref": format!("#/components/schemas/{name}")})).collect();
        let mut document = answering(
            "200",
            "application/json",
            json!({"oneOf": list, "discriminator": {"propertyName": "kind"}}),
        );
        for name in ["Cat", "Dog", "Bird"] {
            document["components"]["schemas"][name] =
                json!({"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]});
        }
        document
    };

    assert_eq!(report(&union(&["Cat", "Dog"]), &union(&["Dog", "Cat"])), Report::default());
    assert_eq!(told(&union(&["Cat", "Dog"]), &union(&["Cat"])), Vec::<String>::new());
    assert_eq!(ids(&union(&["Cat"]), &union(&["Cat", "Bird"])), ["response-alternative"]);
}

#[test]
fn the_old_path_may_be_met_by_a_parameter_and_servers_may_hold_its_beginning() {
    let at = |path: &str, server: &str, schema: Value| {
        json!({"openapi": "3.0.3", "servers": [{"url": server}], "paths": {path: {"get": {
            "parameters": [{"name": "id", "in": "path", "required": true, "schema": schema}],
            "responses": {"200": {"description": "ok"}},
        }}}})
    };
    let text = || json!({"type": "string"});
    let literal = json!({"paths": {"/pets/mine": {"get": {"responses": {"200": {"description": "ok"}}}}}});

    assert_eq!(
        report(
            &at("/v1/pets/{id}", "https://a.example", text()),
            &at("/pets/{id}", "https://b.example/v1/", text())
        ),
        Report::default()
    );
    assert_eq!(ids(&at("/pets/{id}", "/v1", text()), &at("/pets/{id}", "/v2", text())), ["servers"]);
    assert_eq!(told(&literal, &at("/pets/{id}", "/", text())), Vec::<String>::new());
    assert_eq!(
        told(&literal, &at("/pets/{id}", "/", json!({"type": "integer"}))),
        ["/pets/mine: the path is gone"]
    );
}

#[test]
fn what_was_announced_to_end_may_end_after_its_day() {
    let with = |more: Value| {
        let mut operation = json!({"responses": {"200": {"description": "ok"}}});
        for (name, value) in more.as_object().unwrap() {
            operation[name.as_str()] = value.clone();
        }
        json!({"openapi": "3.1.0", "paths": {"/a": {"get": operation}}})
    };
    let none = json!({"openapi": "3.1.0", "paths": {}});

    assert_eq!(ids(&with(json!({"deprecated": true, "x-sunset": "2026-11-29"})), &none), ["path-gone"]);
    assert!(told(&with(json!({"deprecated": true, "x-sunset": "2026-11-29"})), &none).is_empty());
    assert!(told(&with(json!({"deprecated": true})), &none).is_empty());
    assert_eq!(
        ids(&with(json!({"deprecated": true, "x-sunset": "2026-12-01"})), &none),
        ["gone-before-sunset"]
    );
    assert_eq!(told(&with(json!({})), &none), ["/a: the path is gone"]);
}

#[test]
fn a_parameter_may_be_written_otherwise_only_where_it_is_one_value() {
    let query = |schema: Value, style: &str, explode: bool| {
        parameters(
            json!([{"name": "q", "in": "query", "style": style, "explode": explode, "schema": schema}]),
            json!([]),
        )
    };
    let list = || json!({"type": "array", "items": {"type": "string"}});

    assert_eq!(ids(&query(list(), "form", true), &query(list(), "form", false)), ["request-parameter-style"]);
    assert_eq!(
        ids(&query(list(), "form", false), &query(list(), "pipeDelimited", false)),
        ["request-parameter-style"]
    );
    assert_eq!(
        report(
            &query(json!({"type": "string"}), "form", true),
            &query(json!({"type": "string"}), "form", false)
        ),
        Report::default()
    );
    assert_eq!(
        report(
            &query(json!({"type": "integer"}), "form", true),
            &query(json!({"type": "string"}), "form", true)
        ),
        Report::default()
    );
    assert_eq!(
        ids(
            &query(json!({"type": "string"}), "form", true),
            &query(json!({"type": "integer"}), "form", true)
        ),
        ["request-type"]
    );
}

#[test]
fn swagger_2_is_compared_like_openapi_3() {
    let swagger = |required: bool, kind: &str| {
        json!({
            "swagger": "2.0", "basePath": "/v1", "produces": ["application/json"],
            "paths": {"/notes": {"post": {
                "parameters": [
                    {"name": "q", "in": "query", "required": required, "type": "string"},
                    {"name": "note", "in": "body", "schema": {"$ref": "#/definitions/Note"}},
                ],
                "responses": {"200": {"description": "ok", "schema": {"$ref": "#/definitions/Note"}}},
            }}},
            "definitions": {"Note": {"type": "object", "properties": {"size": {"type": kind}}}},
        })
    };
    let three = json!({
        "openapi": "3.0.3", "servers": [{"url": "/v1"}],
        "paths": {"/notes": {"post": {
            "parameters": [{"name": "q", "in": "query", "schema": {"type": "string"}}],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}},
            "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}}}},
        }}},
        "components": {"schemas": {"Note": {"type": "object", "properties": {"size": {"type": "integer"}}}}},
    });

    assert_eq!(report(&swagger(false, "integer"), &three), Report::default());
    assert_eq!(report(&three, &swagger(false, "integer")), Report::default());
    assert_eq!(
        told(&swagger(false, "integer"), &swagger(true, "number")),
        [
            "POST /notes: query parameter q: is now required",
            "POST /notes: response 200: size: the type changed from integer to number",
        ]
    );
}

#[test]
fn a_large_document_is_compared_and_a_larger_one_refused_by_its_size() {
    let large = |gone: bool| {
        let one = |at: usize| {
            let mut properties =
                json!({"a": {"type": "string", "description": "x".repeat(60)}, "b": {"type": "string"}});
            if gone && at == 0 {
                properties.as_object_mut().unwrap().remove("b");
            }
            let schema = json!({"type": "object", "properties": properties});
            (format!("/r{at}"), answering("200", "application/json", schema)["paths"]["/a"].clone())
        };
        let paths: serde_json::Map<String, Value> = (0..20_000).map(one).collect();
        json!({"openapi": "3.0.3", "paths": paths}).to_string()
    };
    let (old, new) = (large(false), large(true));
    assert!(old.len() > 4 << 20, "{}", old.len());

    let (old, new) = (Document::read(old.as_bytes()).unwrap(), Document::read(new.as_bytes()).unwrap());
    let found = compare(&old, &new, TODAY);

    assert!(!found.is_cut);
    assert_eq!(
        found.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["GET /r0: response 200: b: the field is gone"]
    );
    let refused = Document::read(&vec![b' '; BYTES + 1]).unwrap_err().to_string();
    assert_eq!(refused, format!("it has {} bytes, {BYTES} are compared at most", BYTES + 1));
}
