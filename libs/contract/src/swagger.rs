//! Swagger 2.0 in terms of OpenAPI 3, as far as comparing needs it. Definitions stay where they are.

use serde_json::{Map, Value, json};

use crate::value::{items, members};

/// Words that belong to the schema of a parameter or header.
const OF_SCHEMAS: [&str; 16] = [
    "type",
    "format",
    "items",
    "default",
    "enum",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
];

/// The same document in terms of OpenAPI 3.
pub(crate) fn as_openapi(mut root: Value) -> Value {
    let mut paths = root["paths"].take();
    let shared = root["parameters"].take();
    let shared_responses = root["responses"].take();
    let (consumes, produces) = (root["consumes"].take(), root["produces"].take());
    for item in paths.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let common: Vec<Value> = items(&item["parameters"]).map(|one| of_shared(&shared, one)).collect();
        let Some(item) = item.as_object_mut() else { continue };
        item.insert("parameters".to_owned(), Value::Null);
        for (_, operation) in
            item.iter_mut().filter(|(name, value)| *name != "parameters" && value.is_object())
        {
            let takes = first(&[&operation["consumes"], &consumes]);
            let gives = first(&[&operation["produces"], &produces]);
            let own: Vec<Value> =
                items(&operation["parameters"]).map(|one| of_shared(&shared, one)).collect();
            let is_same =
                |one: &Value, other: &Value| one["name"] == other["name"] && one["in"] == other["in"];
            let inherited = common.iter().filter(|one| !own.iter().any(|other| is_same(one, other)));
            let all: Vec<Value> = inherited.cloned().chain(own.iter().cloned()).collect();
            operation["requestBody"] = body(&all, &takes);
            operation["parameters"] = all
                .iter()
                .filter(|one| one["in"] != "body" && one["in"] != "formData")
                .map(parameter)
                .collect();
            let responses = members(&operation["responses"])
                .map(|(status, one)| (status.clone(), response(&of_shared(&shared_responses, one), &gives)));
            operation["responses"] = Value::Object(responses.collect());
        }
    }
    let schemes = members(&root["securityDefinitions"]).map(|(name, one)| (name.clone(), scheme(one)));
    let schemes = Value::Object(schemes.collect());
    let base = root["basePath"].as_str().unwrap_or_default().to_owned();
    root["components"] = json!({"securitySchemes": schemes});
    root["servers"] = json!([{"url": base}]);
    root["paths"] = paths;
    root
}

/// Follows a reference to something that all operations share.
fn of_shared(shared: &Value, value: &Value) -> Value {
    let name = value["$ref"].as_str().and_then(|text| text.rsplit('/').next());
    name.and_then(|name| shared.get(name)).unwrap_or(value).clone()
}

fn first(lists: &[&Value]) -> Vec<String> {
    let found = lists.iter().find(|list| list.is_array());
    let named: Vec<String> =
        found.into_iter().flat_map(|list| items(list)).filter_map(Value::as_str).map(str::to_owned).collect();
    if named.is_empty() { vec!["application/json".to_owned()] } else { named }
}

fn content(schema: &Value, types: &[String]) -> Value {
    Value::Object(types.iter().map(|name| (name.clone(), json!({"schema": schema}))).collect())
}

fn body(parameters: &[Value], takes: &[String]) -> Value {
    if let Some(body) = parameters.iter().find(|one| one["in"] == "body") {
        return json!({"required": body["required"], "content": content(&body["schema"], takes)});
    }
    let fields: Vec<&Value> = parameters.iter().filter(|one| one["in"] == "formData").collect();
    if fields.is_empty() {
        return Value::Null;
    }
    let named = |one: &&Value| Some((one["name"].as_str()?.to_owned(), schema_of(one)));
    let properties: Map<String, Value> = fields.iter().filter_map(named).collect();
    let required: Vec<&Value> =
        fields.iter().filter(|one| one["required"] == true).map(|one| &one["name"]).collect();
    let is_required = !required.is_empty();
    let schema = json!({"type": "object", "properties": properties, "required": required});
    let forms: Vec<String> = takes.iter().filter(|name| crate::media::is_form(name)).cloned().collect();
    let forms = if forms.is_empty() { vec!["application/x-www-form-urlencoded".to_owned()] } else { forms };
    json!({"required": is_required, "content": content(&schema, &forms)})
}

fn schema_of(value: &Value) -> Value {
    let words = members(value).filter(|(word, _)| OF_SCHEMAS.contains(&word.as_str()));
    let mut schema: Map<String, Value> = words.map(|(word, value)| (word.clone(), value.clone())).collect();
    if value["x-nullable"] == true {
        schema.insert("nullable".to_owned(), Value::Bool(true));
    }
    Value::Object(schema)
}

fn parameter(value: &Value) -> Value {
    let (style, explode) = match value["collectionFormat"].as_str() {
        Some("multi") => ("form", true),
        Some("ssv") => ("spaceDelimited", false),
        Some("pipes") => ("pipeDelimited", false),
        _ if value["in"] == "query" => ("form", false),
        _ => ("simple", false),
    };
    let mut made = json!({"name": value["name"], "in": value["in"], "required": value["required"],
        "allowEmptyValue": value["allowEmptyValue"], "schema": schema_of(value)});
    if value["type"] == "array" {
        made["style"] = Value::from(style);
        made["explode"] = Value::from(explode);
    }
    made
}

fn response(value: &Value, gives: &[String]) -> Value {
    let headers =
        members(&value["headers"]).map(|(name, one)| (name.clone(), json!({"schema": schema_of(one)})));
    let headers = Value::Object(headers.collect());
    match value.get("schema") {
        Some(schema) => json!({"headers": headers, "content": content(schema, gives)}),
        None => json!({"headers": headers}),
    }
}

fn scheme(value: &Value) -> Value {
    match value["type"].as_str() {
        Some("basic") => json!({"type": "http", "scheme": "basic"}),
        _ => value.clone(),
    }
}
