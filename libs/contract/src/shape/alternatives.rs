//! From a schema to its alternatives.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::Shape;
use crate::{
    document::{DISCRIMINATED, Document, address},
    value::{is_true, items},
};

/// More alternatives than this are not taken apart.
const MOST: usize = 128;
/// Schemas that one schema is put together of, at most.
const PARTS: usize = 1024;

/// The schema of nothing but null.
pub(crate) static NULL: LazyLock<Value> = LazyLock::new(|| json!({"type": "null"}));

/// A choice that was made at the schema with this address.
type Choice = (usize, &'static str);

/// Schemas that hold at once.
#[derive(Debug, Default)]
pub(crate) struct Flat<'a> {
    pub parts: Vec<&'a Value>,
    pub is_never: bool,
    pub foreign: Vec<&'a str>,
    /// The first choice that is open.
    open: Option<Open<'a>>,
    /// More than can be looked at.
    is_cut: bool,
}

#[derive(Debug)]
enum Open<'a> {
    Branches(&'a Value, &'static str),
    /// `nullable` beside `allOf` and the like, where no `type` says to what null is added.
    Nullable(&'a Value),
}

/// Follows references and takes `allOf` apart.
pub(crate) fn flatten<'a>(document: &'a Document, schemas: &[&'a Value], made: &[Choice]) -> Flat<'a> {
    take(document, schemas, made, false)
}

fn take<'a>(document: &'a Document, schemas: &[&'a Value], made: &[Choice], discriminated: bool) -> Flat<'a> {
    let (mut flat, mut seen) = (Flat::default(), std::collections::HashSet::new());
    let mut open: Vec<&Value> = schemas.iter().rev().copied().collect();
    while let Some(schema) = open.pop() {
        if *schema == Value::Bool(false) {
            flat.is_never = true;
        }
        if !schema.is_object() || !seen.insert(address(schema)) {
            continue;
        }
        if seen.len() > PARTS {
            flat.is_cut = true;
            return flat;
        }
        let is_made = |word: &str| made.contains(&(address(schema), match_word(word)));
        if is_made("null") {
            flat.parts.push(&NULL);
            continue;
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        match reference.map(|text| (text, document.target(text))) {
            Some((_, Some(target))) => open.push(target),
            Some((text, None)) => flat.foreign.push(text),
            None => {}
        }
        if reference.is_some() && !document.has_siblings() {
            continue;
        }
        let composed = ["allOf", "oneOf", "anyOf"].iter().any(|word| schema.get(*word).is_some());
        if composed && is_true(&schema["nullable"]) && schema.get("type").is_none() && !is_made("nullable") {
            flat.open.get_or_insert(Open::Nullable(schema));
        }
        for word in ["oneOf", "anyOf"] {
            match schema[word].as_array().map(Vec::as_slice) {
                // No choice at all.
                Some([only]) => open.push(only),
                Some(_) if !is_made(word) => drop(flat.open.get_or_insert(Open::Branches(schema, word))),
                _ => {}
            }
        }
        flat.parts.push(schema);
        if discriminated {
            open.extend(schema.get(DISCRIMINATED));
        }
        let all: Vec<&Value> = items(&schema["allOf"]).collect();
        open.extend(all.into_iter().rev());
    }
    flat
}

fn match_word(word: &str) -> &'static str {
    match word {
        "oneOf" => "oneOf",
        "anyOf" => "anyOf",
        "nullable" => "nullable",
        _ => "null",
    }
}

/// The property that says which of several alternatives is meant.
pub(crate) fn property_that_discriminates<'a>(
    document: &'a Document,
    schemas: &[&'a Value],
) -> Option<&'a str> {
    let flat = flatten(document, schemas, &[]);
    let mut found =
        flat.parts.into_iter().filter(|part| part["oneOf"].is_array() || part["anyOf"].is_array());
    found.find_map(|part| part["discriminator"]["propertyName"].as_str())
}

/// The alternatives of a schema.
#[derive(Debug)]
pub(crate) enum Expanded<'a> {
    Into(Vec<Shape<'a>>),
    /// More than are taken apart.
    TooMany,
}

/// All alternatives that take anything at all.
pub(crate) fn alternatives<'a>(
    document: &'a Document,
    schemas: &[&'a Value],
    discriminated: bool,
) -> Expanded<'a> {
    let mut shapes = Vec::new();
    let mut open: Vec<(Vec<&'a Value>, Vec<Choice>)> = vec![(schemas.to_vec(), Vec::new())];
    while let Some((schemas, made)) = open.pop() {
        let flat = take(document, &schemas, &made, discriminated);
        if flat.is_cut || shapes.len() + open.len() > MOST {
            return Expanded::TooMany;
        }
        if flat.is_never {
            continue;
        }
        match flat.open {
            None => shapes.extend(Shape::build(flat.parts, flat.foreign)),
            Some(Open::Nullable(schema)) => {
                let with = |word| [made.clone(), vec![(address(schema), word)]].concat();
                open.push((schemas.clone(), with("null")));
                open.push((schemas.clone(), with("nullable")));
            }
            Some(Open::Branches(schema, word)) => {
                let made = [made, vec![(address(schema), word)]].concat();
                let branches: Vec<&Value> = items(&schema[word]).collect();
                for branch in branches.into_iter().rev() {
                    open.push(([schemas.clone(), vec![branch]].concat(), made.clone()));
                }
            }
        }
    }
    Expanded::Into(shapes)
}
