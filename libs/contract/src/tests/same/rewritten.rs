//! The same document in other words.

use serde_json::{Map, Value, json};

use super::made::Chance;

/// Which dialect schemas are written in.
#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    /// As they are: 3.1.
    Three1,
    /// `nullable`, `exclusiveMinimum: true`, no `const`, nothing beside a `$ref`.
    Three0,
}

struct Rewriter {
    chance: Chance,
    dialect: Dialect,
    components: Map<String, Value>,
    /// New components by name.
    added: Map<String, Value>,
}

pub fn document(document: &Value, seed: u64) -> Value {
    let mut chance = Chance(seed);
    // What only 3.1 has keeps the document there.
    let text = document.to_string();
    let only31 = ["prefixItems", "\"items\":false"].iter().any(|word| text.contains(word));
    let dialect = if only31 || chance.once_in(2) { Dialect::Three1 } else { Dialect::Three0 };
    let components = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let mut rewriter = Rewriter { chance, dialect, components: components.clone(), added: Map::new() };
    let mut made = document.clone();
    if dialect == Dialect::Three0 {
        made["openapi"] = Value::from("3.0.3");
    }
    let mut schemas = Map::new();
    for (name, schema) in &components {
        schemas.insert(name.clone(), rewriter.schema(schema, 3));
    }
    let mut paths = Map::new();
    for (template, item) in document["paths"].as_object().into_iter().flatten() {
        let (template, item) = rewriter.path(template, item);
        paths.insert(template, item);
    }
    schemas.extend(std::mem::take(&mut rewriter.added));
    let chance = &mut rewriter.chance;
    if chance.once_in(2) {
        let prefixed = paths.into_iter().map(|(path, item)| (path.replacen('/', "/v1/", 1), item));
        let strip = prefixed.collect::<Map<_, _>>();
        // The same whole paths: the prefix stands in the paths of the one and in the servers of the other.
        made["servers"] = json!([{"url": "https://example.org/"}]);
        made["paths"] = Value::from(unprefixed(strip, &mut made));
    } else {
        made["paths"] = Value::from(paths);
    }
    if chance.once_in(2) {
        let key = made["components"]["securitySchemes"]["key"].take();
        made["components"]["securitySchemes"] = json!({"renamed": key});
        made["security"] = json!([{"renamed": []}]);
    }
    made["components"]["schemas"] = Value::from(schemas);
    made
}

/// Every path begins with `/v1`: it goes into the server and comes back by an operation's whole path.
fn unprefixed(paths: Map<String, Value>, made: &mut Value) -> Map<String, Value> {
    made["servers"] =
        json!([{"url": "https://{where}.example.org", "variables": {"where": {"default": "eu"}}}]);
    paths.into_iter().map(|(path, item)| (path.replacen("/v1/", "/", 1), item)).collect()
}

impl Rewriter {
    fn path(&mut self, template: &str, item: &Value) -> (String, Value) {
        let mut item = item.clone();
        let mut template = template.to_owned();
        // Path parameters are renamed.
        if self.chance.once_in(2) {
            for name in ["id", "from", "to"] {
                template = template.replace(&format!("{{{name}}}"), &format!("{{{name}2}}"));
            }
            for parameter in item["parameters"].as_array_mut().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                parameter["name"] = Value::from(format!("{name}2"));
            }
        }
        let methods: Vec<String> =
            ["get", "post"].into_iter().filter(|name| item.get(name).is_some()).map(str::to_owned).collect();
        for method in &methods {
            let operation = item[method.as_str()].take();
            item[method.as_str()] = self.operation(operation);
        }
        // Parameters of the path go to its operations, or those of the only operation to the path.
        if self.chance.once_in(2) {
            let common = item["parameters"].take();
            for method in &methods {
                let own = item[method.as_str()]["parameters"].as_array().cloned().unwrap_or_default();
                let all = common.as_array().into_iter().flatten().cloned().chain(own);
                item[method.as_str()]["parameters"] = Value::from(all.collect::<Vec<_>>());
            }
            item["parameters"] = json!([]);
        } else if methods.len() == 1 {
            let own = item[methods[0].as_str()]["parameters"].take();
            let common = item["parameters"].as_array().cloned().unwrap_or_default();
            let all = common.into_iter().chain(own.as_array().cloned().unwrap_or_default());
            item["parameters"] = Value::from(all.collect::<Vec<_>>());
            item[methods[0].as_str()]["parameters"] = json!([]);
        }
        (template, item)
    }

    fn operation(&mut self, mut operation: Value) -> Value {
        let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        self.chance.shuffle(&mut parameters);
        for parameter in &mut parameters {
            let schema = parameter["schema"].take();
            parameter["schema"] = self.schema(&schema, 2);
            if parameter["in"] == "header" && self.chance.once_in(2) {
                parameter["name"] = Value::from("x-TENANT");
            }
            if parameter["in"] == "query" && self.chance.once_in(2) {
                parameter["style"] = Value::from("form");
                parameter["explode"] = Value::from(self.chance.once_in(2));
            }
        }
        // Names that the standard describes elsewhere say nothing here.
        if self.chance.once_in(2) {
            parameters.push(
                json!({"name": "Accept", "in": "header", "required": true, "schema": {"type": "string"}}),
            );
        }
        operation["parameters"] = Value::from(parameters);
        if operation.get("requestBody").is_some() {
            let content = operation["requestBody"]["content"].take();
            operation["requestBody"]["content"] = self.content(&content);
        }
        let mut success = operation["responses"]["200"].take();
        success["content"] = self.content(&success["content"].clone());
        if self.chance.once_in(2) {
            let header = success["headers"]["X-Total"].take();
            success["headers"] = json!({"x-total": header, "Content-Type": {"schema": {"type": "string"}}});
        }
        let status = if self.chance.once_in(2) { "2XX" } else { "200" };
        operation["responses"] = json!({status: success, "404": {"description": "nothing there"}});
        operation
    }

    fn content(&mut self, content: &Value) -> Value {
        let name = ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
            [self.chance.below(3) as usize];
        json!({name: {"schema": self.schema(&content["application/json"]["schema"], 3)}})
    }

    fn schema(&mut self, schema: &Value, depth: u64) -> Value {
        let made = self.inside(schema, depth);
        match self.chance.below(8) {
            0 => json!({"allOf": [made]}),
            1 if self.dialect == Dialect::Three1 => json!({"anyOf": [made], "description": "one of one"}),
            2 => {
                let name = format!("New{}", self.added.len());
                self.added.insert(name.clone(), made);
                json!({"$ref": format!("#/components/schemas/{name}")})
            }
            _ => made,
        }
    }

    fn inside(&mut self, schema: &Value, depth: u64) -> Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|text| text.rsplit('/').next()) {
            let target = self.components.get(name).cloned();
            return match target {
                Some(target) if depth > 0 && self.chance.once_in(3) => self.schema(&target, depth - 1),
                _ => schema.clone(),
            };
        }
        let Some(map) = schema.as_object() else { return schema.clone() };
        let mut made = Map::new();
        for (word, value) in map {
            let value = match word.as_str() {
                "properties" => self.each(value, depth),
                "items" | "additionalProperties" | "not" if value.is_object() => self.schema(value, depth),
                "oneOf" | "anyOf" | "allOf" | "prefixItems" => {
                    let list = value.as_array().cloned().unwrap_or_default();
                    let mut list: Vec<Value> = list.iter().map(|one| self.schema(one, depth)).collect();
                    if word != "prefixItems" {
                        self.chance.shuffle(&mut list);
                    }
                    Value::from(list)
                }
                "enum" | "required" | "type" if value.is_array() => {
                    let mut list = value.as_array().cloned().unwrap_or_default();
                    self.chance.shuffle(&mut list);
                    Value::from(list)
                }
                _ => value.clone(),
            };
            made.insert(word.clone(), value);
        }
        self.words(&mut made);
        if self.dialect == Dialect::Three0 {
            to_three0(&mut made);
        }
        Value::from(made)
    }

    fn each(&mut self, properties: &Value, depth: u64) -> Value {
        let map = properties.as_object().cloned().unwrap_or_default();
        Value::Object(map.into_iter().map(|(name, value)| (name, self.schema(&value, depth))).collect())
    }

    /// Other words for the same, and words that say nothing.
    fn words(&mut self, made: &mut Map<String, Value>) {
        let chance = &mut self.chance;
        if chance.once_in(3) {
            made.insert("description".to_owned(), Value::from("said otherwise"));
            made.insert("example".to_owned(), Value::from(1));
        }
        if made.get("type") == Some(&json!("object"))
            && !made.contains_key("additionalProperties")
            && chance.once_in(2)
        {
            let open = if chance.once_in(2) { json!(true) } else { json!({}) };
            made.insert("additionalProperties".to_owned(), open);
        }
        if made.get("type") == Some(&json!("integer")) && chance.once_in(2) {
            if let Some(end) = made.remove("exclusiveMinimum").and_then(|end| end.as_i64()) {
                made.insert("minimum".to_owned(), json!(end + 1));
            } else if let Some(end) = made.remove("maximum").and_then(|end| end.as_i64()) {
                made.insert("maximum".to_owned(), json!(end as f64 + 0.5));
            }
        }
        if let Some(value) = made.get("const").filter(|_| chance.once_in(2)).cloned() {
            made.remove("const");
            made.insert("enum".to_owned(), json!([value]));
        }
        if made.get("type") == Some(&json!("array")) && chance.once_in(2) {
            made.insert("uniqueItems".to_owned(), json!(false));
            made.insert("minItems".to_owned(), json!(0));
        }
    }
}

fn to_three0(made: &mut Map<String, Value>) {
    if let Some(value) = made.remove("const") {
        made.insert("enum".to_owned(), json!([value]));
    }
    for (end, word) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(value) = made.get(end).filter(|value| value.is_number()).cloned() {
            made.insert(word.to_owned(), value);
            made.insert(end.to_owned(), Value::Bool(true));
        }
    }
    let types = made.get("type").and_then(Value::as_array).cloned();
    if let Some(types) = types {
        let kind = types.iter().find(|kind| **kind != "null").cloned().unwrap_or_default();
        made.insert("type".to_owned(), kind);
        made.insert("nullable".to_owned(), Value::Bool(true));
    }
}
