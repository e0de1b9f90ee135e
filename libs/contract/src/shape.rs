//! What a schema takes: references followed, `allOf` merged, `oneOf` and `anyOf` as alternatives.

mod alternatives;
mod bound;
mod build;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use regex::{Regex, RegexBuilder};
use serde_json::Value;

pub(crate) use alternatives::{Expanded, alternatives, flatten, property_that_discriminates};
pub(crate) use bound::Bound;

use crate::{
    document::Document,
    value::{is_true, members},
};

/// Compiled pattern may be so large.
const PATTERN_BYTES: usize = 1 << 20;

/// A set of JSON types; numbers are integers and fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types(pub u8);

impl Types {
    pub const NONE: Types = Types(0);
    pub const NULL: Types = Types(1);
    pub const BOOLEAN: Types = Types(2);
    pub const INTEGER: Types = Types(4);
    pub const FRACTION: Types = Types(8);
    pub const NUMBER: Types = Types(12);
    pub const STRING: Types = Types(16);
    pub const ARRAY: Types = Types(32);
    pub const OBJECT: Types = Types(64);
    pub const ALL: Types = Types(127);

    pub fn named(name: &str) -> Types {
        match name {
            "null" => Types::NULL,
            "boolean" => Types::BOOLEAN,
            "integer" => Types::INTEGER,
            "number" => Types::NUMBER,
            // A file of Swagger 2.0 is bytes.
            "string" | "file" => Types::STRING,
            "array" => Types::ARRAY,
            "object" => Types::OBJECT,
            _ => Types::NONE,
        }
    }

    pub fn of(value: &Value) -> Types {
        match value {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOLEAN,
            Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
                Types::INTEGER
            }
            Value::Number(_) => Types::FRACTION,
            Value::String(_) => Types::STRING,
            Value::Array(_) => Types::ARRAY,
            Value::Object(_) => Types::OBJECT,
        }
    }

    pub fn and(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }

    pub fn or(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    pub fn without(self, other: Types) -> Types {
        Types(self.0 & !other.0)
    }

    pub fn has(self, other: Types) -> bool {
        self.and(other) != Types::NONE
    }

    /// In words, in the order of the alphabet.
    pub fn words(self) -> String {
        if self == Types::ALL {
            return "anything".to_owned();
        }
        let names = [
            ("array", Types::ARRAY),
            ("boolean", Types::BOOLEAN),
            ("integer", Types::INTEGER),
            ("null", Types::NULL),
            ("number", Types::FRACTION),
            ("object", Types::OBJECT),
            ("string", Types::STRING),
        ];
        let has = |one: Types| self.has(one) && (one != Types::INTEGER || !self.has(Types::FRACTION));
        let words: Vec<&str> = names.iter().filter(|(_, one)| has(*one)).map(|(name, _)| *name).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(" or ") }
    }
}

/// What one schema object says about the fields of an object.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    pub properties: &'a Value,
    pub patterns: &'a Value,
    /// None where it does not matter what else comes.
    pub additional: Option<&'a Value>,
}

/// What one schema object says about the items of a list.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    pub first: Vec<&'a Value>,
    pub rest: Option<&'a Value>,
}

/// How many items of a kind there must be.
#[derive(Clone, Debug)]
pub(crate) struct Contains<'a> {
    pub schema: &'a Value,
    pub least: u64,
    pub most: Option<u64>,
}

/// One alternative of a schema: everything in it holds at once.
#[derive(Clone, Debug)]
pub(crate) struct Shape<'a> {
    /// The schema objects it was made of.
    pub parts: Vec<&'a Value>,
    pub types: Types,
    pub values: Option<Vec<&'a Value>>,
    pub lower: Option<Bound>,
    pub upper: Option<Bound>,
    pub multiples: Vec<f64>,
    pub min_length: u64,
    pub max_length: Option<u64>,
    pub patterns: BTreeSet<&'a str>,
    pub formats: BTreeSet<&'a str>,
    pub encoding: Option<&'a str>,
    pub media: Option<&'a str>,
    pub content: Vec<&'a Value>,
    pub min_items: u64,
    pub max_items: Option<u64>,
    pub unique: bool,
    pub items: Vec<Items<'a>>,
    pub contains: Vec<Contains<'a>>,
    pub min_fields: u64,
    pub max_fields: Option<u64>,
    pub required: BTreeSet<&'a str>,
    pub fields: Vec<Fields<'a>>,
    pub names: Vec<&'a Value>,
    pub dependents: BTreeMap<&'a str, BTreeSet<&'a str>>,
    pub dependent_schemas: Vec<(&'a str, &'a Value)>,
    pub nots: Vec<&'a Value>,
    /// Schema objects with `if`.
    pub conditions: Vec<&'a Value>,
    pub other_fields: Option<&'a Value>,
    pub other_items: Option<&'a Value>,
    /// References that lead out of the document.
    pub foreign: Vec<&'a str>,
}

/// What is said about a field or an item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told<'a> {
    pub schemas: Vec<&'a Value>,
    /// It is named, and not only met by what holds for all others.
    pub is_named: bool,
}

impl<'a> Shape<'a> {
    /// What holds for a field of this name.
    pub fn field(&self, name: &str, regexes: &Regexes) -> Told<'a> {
        let mut told = Told::default();
        for fields in &self.fields {
            let mut met = false;
            if let Some(schema) = fields.properties.get(name) {
                told.schemas.push(schema);
                (met, told.is_named) = (true, true);
            }
            for (pattern, schema) in members(fields.patterns) {
                if regexes.matches(pattern, name) != Some(false) {
                    told.schemas.push(schema);
                    met = true;
                }
            }
            if !met && let Some(schema) = fields.additional {
                told.schemas.push(schema);
            }
        }
        if told.schemas.is_empty() && !told.is_named {
            told.schemas.extend(self.other_fields);
        }
        told
    }

    /// What holds for every field that is not named anywhere.
    pub fn other_fields(&self) -> Vec<&'a Value> {
        let mut schemas: Vec<&Value> = self.fields.iter().filter_map(|fields| fields.additional).collect();
        if self.fields.iter().all(|fields| fields.additional.is_none()) {
            schemas.extend(self.other_fields);
        }
        schemas
    }

    /// All names of fields.
    pub fn field_names(&self) -> BTreeSet<&'a str> {
        let all = self.fields.iter().flat_map(|fields| members(fields.properties));
        all.map(|(name, _)| name.as_str()).collect()
    }

    /// What holds for the item at this place.
    pub fn item(&self, at: usize) -> Vec<&'a Value> {
        let mut schemas = Vec::new();
        for items in &self.items {
            match items.first.get(at) {
                Some(schema) => schemas.push(*schema),
                None => schemas.extend(items.rest),
            }
        }
        if schemas.is_empty() {
            schemas.extend(self.other_items);
        }
        schemas
    }

    /// So many items have a place of their own.
    pub fn placed_items(&self) -> usize {
        self.items.iter().map(|items| items.first.len()).max().unwrap_or(0)
    }

    /// The same, holding values of these types only.
    pub fn only(&self, types: Types) -> Shape<'a> {
        Shape { types: self.types.and(types), ..self.clone() }
    }
}

/// Patterns, compiled once.
#[derive(Debug, Default)]
pub(crate) struct Regexes(RefCell<HashMap<String, Option<Rc<Regex>>>>);

impl Regexes {
    /// None when the pattern cannot be read here.
    pub fn matches(&self, pattern: &str, text: &str) -> Option<bool> {
        let known = self.0.borrow().get(pattern).cloned();
        let regex = known.unwrap_or_else(|| {
            let made = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build().ok().map(Rc::new);
            self.0.borrow_mut().insert(pattern.to_owned(), made.clone());
            made
        });
        regex.map(|regex| regex.is_match(text))
    }
}

/// Whether a schema, wherever it stands, marks a field with this word.
pub(crate) fn is_marked(document: &Document, schemas: &[&Value], word: &str) -> bool {
    flatten(document, schemas, &[]).parts.iter().any(|part| is_true(&part[word]))
}

/// Equal as JSON Schema has it: 1 is 1.0.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}
