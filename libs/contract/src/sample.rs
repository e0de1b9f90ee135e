//! Values that a schema takes, to try another schema with: one that is taken here and refused there is a proof.

use serde_json::{Map, Value, json};

use crate::{
    shape::{Expanded, Shape, Types, alternatives},
    validate::World,
};

/// Samples are made so deep.
const DEPTH: usize = 4;
/// So many of one schema.
const MOST: usize = 40;

const TEXTS: [&str; 14] = [
    "a",
    "",
    "A",
    "0",
    " ",
    "ab c",
    "é",
    "-",
    "x@example.org",
    "2026-01-02",
    "2026-01-02T03:04:05Z",
    "6f1d1a52-5f0e-4d0e-9d1e-0d3c9c1f4a10",
    "10.0.0.1",
    "urn:a:b",
];

impl<'a> World<'a> {
    /// Values that all of these schemas surely take.
    pub fn samples(&self, schemas: &[&'a Value]) -> Vec<Value> {
        self.samples_at(schemas, DEPTH)
    }

    fn samples_at(&self, schemas: &[&'a Value], depth: usize) -> Vec<Value> {
        if !self.spends() {
            return Vec::new();
        }
        let Expanded::Into(shapes) = alternatives(self.document, schemas, false) else { return Vec::new() };
        let mut made: Vec<Value> = shapes.iter().flat_map(|shape| self.samples_of_at(shape, depth)).collect();
        made.truncate(MOST);
        made
    }

    /// Values that this alternative surely takes.
    pub fn samples_of(&self, shape: &Shape<'a>) -> Vec<Value> {
        self.samples_of_at(shape, DEPTH)
    }

    fn samples_of_at(&self, shape: &Shape<'a>, depth: usize) -> Vec<Value> {
        let mut made = Vec::new();
        if let Some(values) = &shape.values {
            made.extend(values.iter().map(|value| (*value).clone()));
        } else if depth > 0 {
            self.make(shape, depth - 1, &mut made);
        }
        made.retain(|value| self.fits(shape, value) == Some(true));
        made.truncate(MOST);
        made
    }

    fn make(&self, shape: &Shape<'a>, depth: usize, made: &mut Vec<Value>) {
        if shape.types.has(Types::NULL) {
            made.push(Value::Null);
        }
        if shape.types.has(Types::BOOLEAN) {
            made.extend([json!(true), json!(false)]);
        }
        if shape.types.has(Types::NUMBER) {
            numbers(shape, made);
        }
        if shape.types.has(Types::STRING) {
            texts(shape, made);
        }
        if shape.types.has(Types::OBJECT) {
            self.objects(shape, depth, made);
        }
        if shape.types.has(Types::ARRAY) {
            self.lists(shape, depth, made);
        }
    }

    fn lists(&self, shape: &Shape<'a>, depth: usize, made: &mut Vec<Value>) {
        let item = |at: usize| self.samples_at(&shape.item(at), depth);
        let least = usize::try_from(shape.min_items).unwrap_or(usize::MAX).min(MOST);
        for length in [least, least + 1, least + 2, shape.placed_items()] {
            let items = (0..length).map(|at| {
                let some = item(at);
                // Different ones where they have to be.
                let turn = if shape.unique { at } else { 0 };
                some.get(turn % some.len().max(1)).cloned()
            });
            made.extend(items.collect::<Option<Vec<_>>>().map(Value::from));
        }
        for contains in &shape.contains {
            let some = self.samples_at(&[contains.schema], depth);
            let many = usize::try_from(contains.least).unwrap_or(0).clamp(1, MOST);
            made.extend(some.into_iter().map(|value| Value::from(vec![value; many])));
        }
    }

    fn objects(&self, shape: &Shape<'a>, depth: usize, made: &mut Vec<Value>) {
        let (mut least, mut full) = (Map::new(), Map::new());
        let names = shape.field_names();
        for name in names.iter().chain(&shape.required) {
            let told = shape.field(name, &self.regexes);
            if self.is_hidden(&told.schemas) {
                continue;
            }
            let some = self.samples_at(&told.schemas, depth);
            let Some(first) = some.first() else { continue };
            full.insert((*name).to_owned(), first.clone());
            if shape.required.contains(name) {
                least.insert((*name).to_owned(), first.clone());
            }
        }
        for name in names.iter().filter(|name| !shape.required.contains(**name)) {
            let mut one = least.clone();
            one.extend(full.get(*name).map(|value| ((*name).to_owned(), value.clone())));
            made.push(Value::from(one));
            let mut other = full.clone();
            other.remove(*name);
            made.push(Value::from(other));
        }
        for name in ["a", "Z9"] {
            let mut more = least.clone();
            let some = self.samples_at(&shape.field(name, &self.regexes).schemas, depth);
            more.extend(some.first().map(|value| (name.to_owned(), value.clone())));
            made.push(Value::from(more));
        }
        made.extend([Value::from(least), Value::from(full)]);
    }
}

fn numbers(shape: &Shape<'_>, made: &mut Vec<Value>) {
    let ends = [shape.lower, shape.upper].into_iter().flatten().map(|end| end.value);
    let near = ends.flat_map(|end| [end, end + 1.0, end - 1.0, end + 0.5, end - 0.5]);
    let steps = shape.multiples.iter().flat_map(|step| [*step, -*step]);
    for number in near.chain(steps).chain([0.0, 1.0, -1.0, 0.5, 7.0]) {
        made.push(if number.fract() == 0.0 && number.abs() < 1e15 {
            Value::from(number as i64)
        } else {
            Value::from(number)
        });
    }
}

fn texts(shape: &Shape<'_>, made: &mut Vec<Value>) {
    made.extend(TEXTS.iter().map(|text| Value::from(*text)));
    for length in
        [Some(shape.min_length), shape.max_length].into_iter().flatten().filter(|length| *length < 1000)
    {
        made.push(Value::from("a".repeat(usize::try_from(length).unwrap_or(0))));
    }
}
