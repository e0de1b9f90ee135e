//! From schemas that hold at once to one shape.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Bound, Contains, Fields, Items, Shape, Types, same};
use crate::value::{is_true, items, members};

const NUMBERS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const TEXTS: [&str; 3] = ["minLength", "maxLength", "pattern"];
const LISTS: [&str; 7] =
    ["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"];
const OBJECTS: [&str; 10] = [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
];

impl<'a> Shape<'a> {
    /// None when nothing can be all of it.
    pub(crate) fn build(parts: Vec<&'a Value>, foreign: Vec<&'a str>) -> Option<Shape<'a>> {
        let mut shape = Shape {
            parts: parts.clone(),
            types: Types::ALL,
            values: None,
            lower: None,
            upper: None,
            multiples: Vec::new(),
            min_length: 0,
            max_length: None,
            patterns: BTreeSet::new(),
            formats: BTreeSet::new(),
            encoding: None,
            media: None,
            content: Vec::new(),
            min_items: 0,
            max_items: None,
            unique: false,
            items: Vec::new(),
            contains: Vec::new(),
            min_fields: 0,
            max_fields: None,
            required: BTreeSet::new(),
            fields: Vec::new(),
            names: Vec::new(),
            dependents: BTreeMap::new(),
            dependent_schemas: Vec::new(),
            nots: Vec::new(),
            conditions: Vec::new(),
            other_fields: None,
            other_items: None,
            foreign,
        };
        for part in &parts {
            shape.take_types(part);
            shape.take_values(part);
            shape.take_number(part);
            shape.take_text(part);
            shape.take_list(part);
            shape.take_object(part);
            shape.nots.extend(part.get("not"));
            if part.get("if").is_some() {
                shape.conditions.push(part);
            }
        }
        shape.infer_type(&parts);
        shape.settle();
        (shape.types != Types::NONE).then_some(shape)
    }

    fn take_types(&mut self, part: &'a Value) {
        let mut types = match &part["type"] {
            Value::String(name) => Types::named(name),
            Value::Array(names) => {
                let named = names.iter().filter_map(Value::as_str).map(Types::named);
                named.fold(Types::NONE, Types::or)
            }
            _ => return,
        };
        if is_true(&part["nullable"]) {
            types = types.or(Types::NULL);
        }
        self.types = self.types.and(types);
    }

    fn take_values(&mut self, part: &'a Value) {
        let listed = part["enum"].as_array().map(|values| values.iter().collect::<Vec<_>>());
        let only = part.get("const").map(|value| vec![value]);
        for values in [listed, only].into_iter().flatten() {
            self.values = Some(match self.values.take() {
                None => values,
                Some(before) => {
                    before.into_iter().filter(|one| values.iter().any(|other| same(one, other))).collect()
                }
            });
        }
    }

    fn take_number(&mut self, part: &'a Value) {
        let number = |word: &str| part[word].as_f64();
        let ends = [
            number("minimum").map(|value| Bound { value, is_out: is_true(&part["exclusiveMinimum"]) }),
            number("exclusiveMinimum").map(|value| Bound { value, is_out: true }),
        ];
        for end in ends.into_iter().flatten() {
            self.lower = Some(self.lower.map_or(end, |before| before.higher(end)));
        }
        let ends = [
            number("maximum").map(|value| Bound { value, is_out: is_true(&part["exclusiveMaximum"]) }),
            number("exclusiveMaximum").map(|value| Bound { value, is_out: true }),
        ];
        for end in ends.into_iter().flatten() {
            self.upper = Some(self.upper.map_or(end, |before| before.lower(end)));
        }
        self.multiples.extend(number("multipleOf").filter(|multiple| *multiple > 0.0));
    }

    fn take_text(&mut self, part: &'a Value) {
        self.min_length = self.min_length.max(count(&part["minLength"]).unwrap_or(0));
        self.max_length = least(self.max_length, count(&part["maxLength"]));
        self.patterns.extend(part["pattern"].as_str().filter(|pattern| !takes_all(pattern)));
        match part["format"].as_str() {
            Some("byte") => self.encoding = Some("base64"),
            Some("password") | None => {}
            Some(format) => drop(self.formats.insert(format)),
        }
        self.encoding = part["contentEncoding"].as_str().or(self.encoding);
        self.media = part["contentMediaType"].as_str().or(self.media);
        self.content.extend(part.get("contentSchema"));
    }

    fn take_list(&mut self, part: &'a Value) {
        self.min_items = self.min_items.max(count(&part["minItems"]).unwrap_or(0));
        self.max_items = least(self.max_items, count(&part["maxItems"]));
        self.unique |= is_true(&part["uniqueItems"]);
        let first: Vec<&Value> = items(&part["prefixItems"]).collect();
        let rest = part.get("items");
        if !first.is_empty() || rest.is_some() {
            self.items.push(Items { first, rest });
        }
        if let Some(schema) = part.get("contains") {
            let least = count(&part["minContains"]).unwrap_or(1);
            self.contains.push(Contains { schema, least, most: count(&part["maxContains"]) });
        }
        self.other_items = self.other_items.or(part.get("unevaluatedItems"));
    }

    fn take_object(&mut self, part: &'a Value) {
        self.min_fields = self.min_fields.max(count(&part["minProperties"]).unwrap_or(0));
        self.max_fields = least(self.max_fields, count(&part["maxProperties"]));
        self.required.extend(items(&part["required"]).filter_map(Value::as_str));
        let additional = part.get("additionalProperties").filter(|schema| !is_open(schema));
        let (properties, patterns) = (&part["properties"], &part["patternProperties"]);
        if properties.is_object() || patterns.is_object() || additional.is_some() {
            self.fields.push(Fields { properties, patterns, additional });
        }
        self.names.extend(part.get("propertyNames"));
        for (name, needs) in members(&part["dependentRequired"]) {
            let needs = items(needs).filter_map(Value::as_str);
            self.dependents.entry(name).or_default().extend(needs);
        }
        let dependent = members(&part["dependentSchemas"]);
        self.dependent_schemas.extend(dependent.map(|(name, schema)| (name.as_str(), schema)));
        let other = part.get("unevaluatedProperties").filter(|schema| !is_open(schema));
        self.other_fields = self.other_fields.or(other);
    }

    /// A schema without a type whose words are all about one type is taken for one of that type: hardly anybody who
    /// describes fields means that numbers are welcome too.
    fn infer_type(&mut self, parts: &[&Value]) {
        if self.types != Types::ALL || self.values.is_some() {
            return;
        }
        let says =
            |words: &[&str]| parts.iter().any(|part| words.iter().any(|word| part.get(*word).is_some()));
        let kinds = [
            (says(&NUMBERS), Types::NUMBER),
            (says(&TEXTS), Types::STRING),
            (says(&LISTS), Types::ARRAY),
            (says(&OBJECTS), Types::OBJECT),
        ];
        let mut said = kinds.into_iter().filter(|(said, _)| *said).map(|(_, types)| types);
        if let (Some(types), None) = (said.next(), said.next()) {
            self.types = types;
        }
    }

    /// Leaves out what cannot be.
    fn settle(&mut self) {
        if self.multiples.iter().any(|multiple| multiple.fract() == 0.0) {
            self.types = self.types.without(Types::FRACTION);
        }
        // Whole numbers are all there is of 1.
        self.multiples.retain(|multiple| *multiple != 1.0);
        if self.types.has(Types::INTEGER) && !self.types.has(Types::FRACTION) {
            self.lower = self.lower.map(Bound::up);
            self.upper = self.upper.map(Bound::down);
        }
        let crossed =
            self.lower.zip(self.upper).is_some_and(|(lower, upper)| !upper.admits_below(lower.value));
        if crossed {
            self.types = self.types.without(Types::NUMBER);
        }
        if self.max_length.is_some_and(|most| most < self.min_length) {
            self.types = self.types.without(Types::STRING);
        }
        if self.max_items.is_some_and(|most| most < self.min_items) {
            self.types = self.types.without(Types::ARRAY);
        }
        let types = self.types;
        if let Some(values) = &mut self.values {
            values.retain(|value| Types::of(value).and(types) != Types::NONE);
            self.types = values.iter().map(|value| Types::of(value)).fold(Types::NONE, Types::or);
        }
    }
}

/// A schema that takes everything.
pub(crate) fn is_open(schema: &Value) -> bool {
    match schema {
        Value::Bool(takes) => *takes,
        Value::Object(map) => {
            map.keys().all(|word| word.starts_with("x-") || ["description", "title"].contains(&word.as_str()))
        }
        _ => true,
    }
}

fn takes_all(pattern: &str) -> bool {
    ["", ".*", "^.*$", "^.*", ".*$", "^", "$"].contains(&pattern)
}

fn count(value: &Value) -> Option<u64> {
    let whole = |number: f64| (number >= 0.0).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
