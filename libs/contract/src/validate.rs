//! Whether a schema takes a value: yes, no, or don't know.

use std::{cell::Cell, rc::Rc};

use serde_json::Value;

use crate::{
    document::Document,
    shape::{Contains, Expanded, Regexes, Shape, Types, alternatives, is_marked, same},
};

/// Values are followed so deep.
const DEPTH: usize = 24;

/// A document as one side of a comparison sees it.
#[derive(Clone, Debug)]
pub(crate) struct World<'a> {
    pub document: &'a Document,
    /// Marks fields that do not travel this way: `readOnly` in requests, `writeOnly` in answers.
    pub hides: &'static str,
    pub regexes: Rc<Regexes>,
    /// Looks at schemas that are left; without any, nothing is known.
    pub budget: Rc<Cell<usize>>,
}

/// All of them; no outweighs don't know.
fn all(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut sure = true;
    for answer in answers {
        match answer {
            Some(false) => return Some(false),
            Some(true) => {}
            None => sure = false,
        }
    }
    sure.then_some(true)
}

/// One of them; yes outweighs don't know.
pub(crate) fn any(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    all(answers.into_iter().map(|answer| answer.map(|yes| !yes))).map(|no| !no)
}

impl<'a> World<'a> {
    /// Whether a field described so does not travel this way.
    pub fn is_hidden(&self, schemas: &[&'a Value]) -> bool {
        is_marked(self.document, schemas, self.hides)
    }

    /// Whether all of these schemas take the value.
    pub fn accepts(&self, schemas: &[&'a Value], value: &Value) -> Option<bool> {
        self.accepts_at(schemas, value, DEPTH)
    }

    /// Whether there is enough left for another look.
    pub fn spends(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }

    fn accepts_at(&self, schemas: &[&'a Value], value: &Value, depth: usize) -> Option<bool> {
        if schemas.is_empty() {
            return Some(true);
        }
        if depth == 0 || !self.spends() {
            return None;
        }
        match alternatives(self.document, schemas, false) {
            Expanded::Into(shapes) => any(shapes.iter().map(|shape| self.fits_at(shape, value, depth))),
            Expanded::TooMany => None,
        }
    }

    /// Whether this alternative takes the value.
    pub fn fits(&self, shape: &Shape<'a>, value: &Value) -> Option<bool> {
        self.fits_at(shape, value, DEPTH)
    }

    fn fits_at(&self, shape: &Shape<'a>, value: &Value, depth: usize) -> Option<bool> {
        if !shape.types.has(Types::of(value)) {
            return Some(false);
        }
        let listed = shape.values.as_ref();
        if listed.is_some_and(|values| !values.iter().any(|one| same(one, value))) {
            return Some(false);
        }
        let of_its_type = match value {
            Value::Number(_) => self.number(shape, value),
            Value::String(text) => self.text(shape, text),
            Value::Array(list) => self.list(shape, list, depth - 1),
            Value::Object(map) => self.object(shape, map, depth - 1),
            Value::Null | Value::Bool(_) => Some(true),
        };
        let foreign = if shape.foreign.is_empty() { Some(true) } else { None };
        all([of_its_type, self.conditions(shape, value, depth - 1), foreign])
    }

    fn conditions(&self, shape: &Shape<'a>, value: &Value, depth: usize) -> Option<bool> {
        let nots = shape.nots.iter().map(|schema| self.accepts_at(&[*schema], value, depth).map(|yes| !yes));
        let conditions = shape.conditions.iter().map(|part| {
            let branch = |word: &str| match part.get(word) {
                Some(schema) => self.accepts_at(&[schema], value, depth),
                None => Some(true),
            };
            match self.accepts_at(&[&part["if"]], value, depth) {
                Some(true) => branch("then"),
                Some(false) => branch("else"),
                None => all([branch("then"), branch("else")]).filter(|yes| *yes),
            }
        });
        all(nots.chain(conditions))
    }

    fn number(&self, shape: &Shape<'a>, value: &Value) -> Option<bool> {
        let number = value.as_f64()?;
        let within = shape.lower.is_none_or(|end| end.admits_above(number))
            && shape.upper.is_none_or(|end| end.admits_below(number))
            && shape.multiples.iter().all(|multiple| is_multiple(number, *multiple))
            && shape.formats.iter().all(|format| match *format {
                "int32" => number.abs() <= f64::from(i32::MAX) + 1.0,
                _ => true,
            });
        Some(within)
    }

    fn text(&self, shape: &Shape<'a>, text: &str) -> Option<bool> {
        let length = text.chars().count() as u64;
        let fits = length >= shape.min_length && shape.max_length.is_none_or(|most| length <= most);
        let patterns = shape.patterns.iter().map(|pattern| self.regexes.matches(pattern, text));
        let formats = shape.formats.iter().map(|format| is_of_format(format, text));
        let encoded = shape.encoding.map(|_| None);
        all([Some(fits)].into_iter().chain(patterns).chain(formats).chain(encoded))
    }

    fn list(&self, shape: &Shape<'a>, list: &[Value], depth: usize) -> Option<bool> {
        let length = list.len() as u64;
        let is_unique =
            || list.iter().enumerate().all(|(at, one)| list[..at].iter().all(|other| !same(one, other)));
        let fits = length >= shape.min_items
            && shape.max_items.is_none_or(|most| length <= most)
            && (!shape.unique || is_unique());
        let items = list.iter().enumerate().map(|(at, item)| self.accepts_at(&shape.item(at), item, depth));
        let contains = shape.contains.iter().map(|contains| self.contains(contains, list, depth));
        all([Some(fits)].into_iter().chain(items).chain(contains))
    }

    fn contains(&self, contains: &Contains<'a>, list: &[Value], depth: usize) -> Option<bool> {
        let found: Vec<_> =
            list.iter().map(|item| self.accepts_at(&[contains.schema], item, depth)).collect();
        let sure = found.iter().filter(|found| **found == Some(true)).count() as u64;
        let perhaps = sure + found.iter().filter(|found| found.is_none()).count() as u64;
        let most = contains.most.unwrap_or(u64::MAX);
        if perhaps < contains.least || sure > most {
            return Some(false);
        }
        (sure >= contains.least && perhaps <= most).then_some(true)
    }

    fn object(&self, shape: &Shape<'a>, map: &serde_json::Map<String, Value>, depth: usize) -> Option<bool> {
        let count = map.len() as u64;
        let hidden = |name: &str| self.is_hidden(&shape.field(name, &self.regexes).schemas);
        let is_there = |name: &&str| map.contains_key(*name) || hidden(name);
        let fits = count >= shape.min_fields
            && shape.max_fields.is_none_or(|most| count <= most)
            && shape.required.iter().all(&is_there)
            && shape
                .dependents
                .iter()
                .filter(|(name, _)| map.contains_key(**name))
                .all(|(_, needs)| needs.iter().all(&is_there));
        let fields = map.iter().map(|(name, value)| {
            let told = shape.field(name, &self.regexes);
            if self.is_hidden(&told.schemas) {
                return Some(true);
            }
            self.accepts_at(&told.schemas, value, depth)
        });
        let whole = Value::Object(map.clone());
        let dependents = shape
            .dependent_schemas
            .iter()
            .filter(|(name, _)| map.contains_key(*name))
            .map(|(_, schema)| self.accepts_at(&[*schema], &whole, depth));
        let names = map.keys().map(|name| self.accepts_at(&shape.names, &Value::from(name.as_str()), depth));
        all([Some(fits)].into_iter().chain(fields).chain(dependents).chain(names))
    }
}

pub(crate) fn is_multiple(number: f64, of: f64) -> bool {
    let times = number / of;
    (times - times.round()).abs() < 1e-9 * times.abs().max(1.0)
}

/// Where no is easy to tell; yes only where the form is exact.
pub(crate) fn is_of_format(format: &str, text: &str) -> Option<bool> {
    let digits = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, wanted)| match wanted {
                b'9' => byte.is_ascii_digit(),
                b'f' => byte.is_ascii_hexdigit(),
                other => byte == other,
            })
    };
    let is = match format {
        "date" => digits(text, "9999-99-99"),
        "date-time" => text.len() >= 20 && digits(text.get(..10)?, "9999-99-99"),
        "uuid" => digits(text, "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "email" => text.split_once('@').is_some_and(|(who, host)| !who.is_empty() && !host.is_empty()),
        "uri" => text.contains(':') && !text.contains(' '),
        _ => return None,
    };
    Some(is)
}

/// Equal but for what validates nothing: words such as `description`, and the order of what is a set. No where the budget
/// ends first: sets of references to sets have too many ways to be compared.
pub(crate) fn means_the_same(
    one: &World<'_>,
    other: &World<'_>,
    pair: (&Value, &Value),
    depth: usize,
) -> bool {
    if depth == 0 || !one.spends() {
        return false;
    }
    let (left, right) = (one.document.resolve(pair.0), other.document.resolve(pair.1));
    let mean = |left: &Value, right: &Value| means_the_same(one, other, (left, right), depth - 1);
    match (left, right) {
        (Value::Object(first), Value::Object(second)) => {
            let says = |name: &&String| !is_annotation(name);
            let names: Vec<&String> = first.keys().filter(says).collect();
            names.len() == second.keys().filter(says).count()
                && names.into_iter().all(|name| {
                    let (left, right) = (&first[name], second.get(name));
                    let is_set =
                        ["required", "enum", "type", "allOf", "anyOf", "oneOf"].contains(&name.as_str());
                    right.is_some_and(|right| match (left, right) {
                        (Value::Array(left), Value::Array(right)) if is_set => {
                            left.len() == right.len()
                                && left.iter().all(|one| right.iter().any(|other| mean(one, other)))
                        }
                        _ => mean(left, right),
                    })
                })
        }
        (Value::Array(first), Value::Array(second)) => {
            first.len() == second.len() && first.iter().zip(second).all(|(left, right)| mean(left, right))
        }
        _ => same(left, right),
    }
}

fn is_annotation(word: &str) -> bool {
    word.starts_with("x-")
        || [
            "description",
            "title",
            "example",
            "examples",
            "default",
            "deprecated",
            "externalDocs",
            "xml",
            "$comment",
        ]
        .contains(&word)
}
