//! Documents by chance.

use serde_json::{Map, Value, json};

/// SplitMix64: the same seed gives the same document.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than this.
    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    /// Once in so many times.
    pub fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            let other = self.below(at as u64 + 1) as usize;
            list.swap(at, other);
        }
    }
}

const COMPONENTS: u64 = 4;

pub fn document(seed: u64) -> Value {
    let mut chance = Chance(seed);
    let mut schemas = Map::new();
    for at in 0..COMPONENTS {
        schemas.insert(format!("C{at}"), object(&mut chance, 2));
    }
    let mut paths = Map::new();
    for (at, template) in ["/a", "/b/{id}", "/c/{from}/to/{to}"].into_iter().enumerate() {
        let mut item = Map::new();
        let parameters: Vec<Value> = template
            .split('{')
            .skip(1)
            .filter_map(|part| part.split('}').next())
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "maxLength": 9}}))
            .collect();
        item.insert("parameters".to_owned(), Value::from(parameters));
        item.insert("post".to_owned(), operation(&mut chance));
        if at == 0 {
            item.insert("get".to_owned(), operation(&mut chance));
        }
        paths.insert(template.to_owned(), Value::from(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "made", "version": "1"},
        "paths": paths,
        "security": [{"key": []}],
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        },
    })
}

fn operation(chance: &mut Chance) -> Value {
    let mut parameters = Vec::new();
    for (name, within) in [("limit", "query"), ("X-Tenant", "header"), ("session", "cookie")] {
        if chance.once_in(2) {
            let required = chance.once_in(2);
            parameters
                .push(json!({"name": name, "in": within, "required": required, "schema": scalar(chance)}));
        }
    }
    let mut made = json!({
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "ok",
                "headers": {"X-Total": {"schema": {"type": "integer"}, "required": true}},
                "content": {"application/json": {"schema": schema(chance, 3)}},
            },
            "404": {"description": "none"},
        },
    });
    if chance.once_in(2) {
        made["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema(chance, 3)}}});
    }
    made
}

fn scalar(chance: &mut Chance) -> Value {
    match chance.below(6) {
        0 => json!({"type": "integer", "minimum": chance.below(5), "maximum": 5 + chance.below(9)}),
        1 => json!({"type": "integer", "exclusiveMinimum": chance.below(5)}),
        2 => json!({"type": "number", "exclusiveMaximum": chance.below(50), "multipleOf": 0.5}),
        3 => json!({"type": "string", "minLength": chance.below(3), "maxLength": 4 + chance.below(9)}),
        4 => json!({"type": "string", "pattern": "^[a-z]+$"}),
        _ => json!({"type": "string", "enum": ["a", "b", "c"]}),
    }
}

fn schema(chance: &mut Chance, depth: u64) -> Value {
    let reference =
        |chance: &mut Chance| json!({"$ref": format!("#/components/schemas/C{}", chance.below(COMPONENTS))});
    if depth == 0 {
        return if chance.once_in(3) { reference(chance) } else { scalar(chance) };
    }
    match chance.below(14) {
        0 => reference(chance),
        1 => json!({"type": "array", "items": schema(chance, depth - 1), "maxItems": 3 + chance.below(4)}),
        2 => json!({"type": ["string", "null"], "maxLength": 5}),
        3 => {
            json!({"oneOf": [{"type": "string", "maxLength": 7}, {"type": "integer"}, object(chance, depth - 1)]})
        }
        4 => {
            json!({"anyOf": [tagged("cat", schema(chance, depth - 1)), tagged("dog", schema(chance, depth - 1))]})
        }
        5 => json!({"allOf": [object(chance, depth - 1), object(chance, depth - 1)]}),
        6 => json!({"type": "boolean"}),
        7 => json!({"type": "string", "not": {"const": "x"}}),
        8 => json!({"type": "array", "prefixItems": [scalar(chance), scalar(chance)], "items": false}),
        9 => json!({"const": "fixed"}),
        10 => json!({"type": "object", "additionalProperties": schema(chance, depth - 1)}),
        11 => scalar(chance),
        _ => object(chance, depth),
    }
}

fn tagged(kind: &str, schema: Value) -> Value {
    json!({"type": "object", "properties": {"kind": {"const": kind}, "what": schema}, "required": ["kind"]})
}

fn object(chance: &mut Chance, depth: u64) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for name in ["a", "b", "c", "d"].into_iter().take(1 + chance.below(4) as usize) {
        let mut property = schema(chance, depth.saturating_sub(1));
        if chance.once_in(6) && property.get("$ref").is_none() {
            property[if chance.once_in(2) { "readOnly" } else { "writeOnly" }] = Value::Bool(true);
        }
        properties.insert(name.to_owned(), property);
        // Never one that leads back: nothing could be of such a schema.
        if chance.once_in(3) && depth > 1 {
            required.push(name);
        }
    }
    let mut made = json!({"type": "object", "properties": properties, "required": required});
    if chance.once_in(4) {
        made["additionalProperties"] = Value::Bool(false);
    }
    made
}
