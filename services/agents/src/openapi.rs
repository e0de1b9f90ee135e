//! What a new OpenAPI 3 document breaks for clients of the old one. Pure.
//!
//! Requests may become wider and answers narrower, never the other way round. Local references are followed; schemas
//! that are composed by `oneOf`, `anyOf` or `not` are not looked into, and media types other than JSON only by name.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// References and nested schemas are followed so deep; recursive schemas end here.
const DEPTH: usize = 12;

/// One change that breaks clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breaking {
    /// Where, such as `GET /orders/{id}: response 200: total`.
    pub place: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Which way data flows: what a client sends may not be restricted, what it gets may not be taken away.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Request,
    Response,
}

/// Every change that breaks, in order of place.
pub fn breaking(old: &Value, new: &Value) -> Vec<Breaking> {
    let mut diff = Diff { old, new, found: BTreeSet::new() };
    diff.paths();
    diff.found.into_iter().collect()
}

struct Diff<'a> {
    old: &'a Value,
    new: &'a Value,
    found: BTreeSet<Breaking>,
}

impl<'a> Diff<'a> {
    fn say(&mut self, place: &str, what: impl Into<String>) {
        self.found.insert(Breaking { place: place.to_owned(), what: what.into() });
    }

    /// Follows references, each in its own document.
    fn both(&self, old: &'a Value, new: &'a Value) -> (&'a Value, &'a Value) {
        (resolve(self.old, old), resolve(self.new, new))
    }

    fn paths(&mut self) {
        for (path, old_item) in members(&self.old["paths"]) {
            let same = |(other, _): &(&String, &Value)| shape(other) == shape(path);
            let Some((_, new_item)) = members(&self.new["paths"]).find(same) else {
                self.say(path, "the path is gone");
                continue;
            };
            let (old_item, new_item) = self.both(old_item, new_item);
            for method in METHODS {
                let Some(old) = old_item.get(method) else { continue };
                let place = format!("{} {path}", method.to_uppercase());
                match new_item.get(method) {
                    None => self.say(&place, "the method is gone"),
                    Some(new) => self.operation(&place, (old_item, old), (new_item, new)),
                }
            }
        }
    }

    fn operation(&mut self, place: &str, old: (&'a Value, &'a Value), new: (&'a Value, &'a Value)) {
        let old_parameters = parameters(self.old, old.0, old.1);
        for ((name, within), new) in parameters(self.new, new.0, new.1) {
            let at = format!("{place}: {within} parameter {name}");
            let key = if within == "path" { None } else { Some(&name) };
            let before = old_parameters.iter().find(|((other, place), _)| {
                *place == within
                    && key.map_or(same_position(&old_parameters, other, &name), |name| name == other)
            });
            match before {
                None if is_true(&new["required"]) && within != "path" => self.say(&at, "is new and required"),
                None => {}
                Some((_, old)) => {
                    if is_true(&new["required"]) && !is_true(&old["required"]) {
                        self.say(&at, "is now required");
                    }
                    self.schema(&at, &old["schema"], &new["schema"], Side::Request, 0);
                }
            }
        }
        self.body(place, &old.1["requestBody"], &new.1["requestBody"]);
        self.responses(place, &old.1["responses"], &new.1["responses"]);
    }

    fn body(&mut self, place: &str, old: &'a Value, new: &'a Value) {
        let (old, new) = self.both(old, new);
        let place = format!("{place}: body");
        if is_true(&new["required"]) && !is_true(&old["required"]) {
            self.say(&place, if old.is_null() { "is new and required" } else { "is now required" });
        }
        self.content(&place, &old["content"], &new["content"], Side::Request);
    }

    fn responses(&mut self, place: &str, old: &'a Value, new: &'a Value) {
        for (status, old) in members(old) {
            let place = format!("{place}: response {status}");
            let Some(new) = new.get(status).or_else(|| new.get("default")) else {
                if status.starts_with('2') {
                    self.say(&place, "is gone");
                }
                continue;
            };
            let (old, new) = self.both(old, new);
            self.content(&place, &old["content"], &new["content"], Side::Response);
        }
    }

    fn content(&mut self, place: &str, old: &'a Value, new: &'a Value, side: Side) {
        for (media, old) in members(old) {
            let Some(new) = new.get(media) else {
                self.say(place, format!("media type {media} is gone"));
                continue;
            };
            if media.contains("json") {
                self.schema(place, &old["schema"], &new["schema"], side, 0);
            }
        }
    }

    fn schema(&mut self, place: &str, old: &'a Value, new: &'a Value, side: Side, depth: usize) {
        if depth > DEPTH || old.is_null() || new.is_null() {
            return;
        }
        let (old, new) = (Schema::of(self.old, old), Schema::of(self.new, new));
        self.types(place, &old, &new, side);
        self.values(place, &old, &new, side);
        match side {
            Side::Request => {
                for name in new.required.difference(&old.required) {
                    let what = if old.properties.contains_key(*name) {
                        "is now required"
                    } else {
                        "is new and required"
                    };
                    self.say(&format!("{place}: {name}"), what);
                }
            }
            Side::Response => {
                for name in old.properties.keys().filter(|name| !new.properties.contains_key(**name)) {
                    self.say(&format!("{place}: {name}"), "the field is gone");
                }
                for name in
                    old.required.difference(&new.required).filter(|name| new.properties.contains_key(**name))
                {
                    self.say(&format!("{place}: {name}"), "may now be missing");
                }
            }
        }
        for (name, old) in &old.properties {
            if let Some(new) = new.properties.get(name) {
                self.schema(&format!("{place}: {name}"), old, new, side, depth + 1);
            }
        }
        if let (Some(old), Some(new)) = (old.items, new.items) {
            self.schema(&format!("{place}: []"), old, new, side, depth + 1);
        }
    }

    fn types(&mut self, place: &str, old: &Schema<'_>, new: &Schema<'_>, side: Side) {
        if old.types.is_empty() || new.types.is_empty() {
            if side == Side::Request && old.types.is_empty() && !new.types.is_empty() && !old.is_composed {
                self.say(place, format!("takes only {} now", list(&new.types)));
            }
            return;
        }
        // Whoever takes a number takes an integer.
        let wide = |types: &BTreeSet<String>| {
            let mut types = types.clone();
            if types.contains("number") {
                types.insert("integer".to_owned());
            }
            types
        };
        let (takes, given) =
            if side == Side::Request { (&new.types, &old.types) } else { (&old.types, &new.types) };
        if !given.is_subset(&wide(takes)) {
            self.say(place, format!("the type changed from {} to {}", list(&old.types), list(&new.types)));
        }
    }

    fn values(&mut self, place: &str, old: &Schema<'_>, new: &Schema<'_>, side: Side) {
        if side != Side::Request {
            return;
        }
        match (old.values, new.values) {
            (None, Some(_)) => self.say(place, "takes only certain values now"),
            (Some(old), Some(new)) => {
                for gone in old.iter().filter(|value| !new.contains(value)) {
                    self.say(place, format!("no longer takes {gone}"));
                }
            }
            (_, None) => {}
        }
        let number = |value: &Value| value.as_f64();
        for (word, stricter) in [
            ("maxLength", false),
            ("maximum", false),
            ("maxItems", false),
            ("minLength", true),
            ("minimum", true),
            ("minItems", true),
        ] {
            let (before, now) = (number(&old.value[word]), number(&new.value[word]));
            let Some(now) = now else { continue };
            let breaks = match before {
                None => !(word.starts_with("min") && word != "minimum" && now == 0.0),
                Some(before) => {
                    if stricter {
                        now > before
                    } else {
                        now < before
                    }
                }
            };
            if breaks {
                let before = before.map_or("none".to_owned(), model::view::number);
                self.say(place, format!("{word} is now {}, it was {before}", model::view::number(now)));
            }
        }
    }
}

/// A schema with its references followed and `allOf` merged.
struct Schema<'a> {
    value: &'a Value,
    types: BTreeSet<String>,
    properties: std::collections::BTreeMap<&'a str, &'a Value>,
    required: BTreeSet<&'a str>,
    items: Option<&'a Value>,
    values: Option<&'a Vec<Value>>,
    is_composed: bool,
}

impl<'a> Schema<'a> {
    fn of(document: &'a Value, value: &'a Value) -> Schema<'a> {
        let value = resolve(document, value);
        let mut schema = Schema {
            value,
            types: BTreeSet::new(),
            properties: Default::default(),
            required: BTreeSet::new(),
            items: None,
            values: None,
            is_composed: ["oneOf", "anyOf", "not"].iter().any(|word| value.get(word).is_some()),
        };
        schema.take(document, value, 0);
        schema
    }

    fn take(&mut self, document: &'a Value, value: &'a Value, depth: usize) {
        match &value["type"] {
            Value::String(name) => drop(self.types.insert(name.clone())),
            Value::Array(names) => {
                self.types.extend(names.iter().filter_map(Value::as_str).map(str::to_owned))
            }
            _ => {}
        }
        if is_true(&value["nullable"]) {
            self.types.insert("null".to_owned());
        }
        self.properties.extend(members(&value["properties"]).map(|(name, value)| (name.as_str(), value)));
        self.required.extend(value["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        self.items = self.items.or(value.get("items"));
        self.values = self.values.or(value["enum"].as_array());
        for part in value["allOf"].as_array().into_iter().flatten().filter(|_| depth < DEPTH) {
            self.take(document, resolve(document, part), depth + 1);
        }
    }
}

type Parameters<'a> = Vec<((String, String), &'a Value)>;

/// The parameters of a path and of its method, in order.
fn parameters<'a>(document: &'a Value, item: &'a Value, operation: &'a Value) -> Parameters<'a> {
    let lists = [&item["parameters"], &operation["parameters"]];
    let all =
        lists.into_iter().filter_map(Value::as_array).flatten().map(|parameter| resolve(document, parameter));
    let named = all.filter_map(|parameter| {
        let (name, within) = (parameter["name"].as_str()?, parameter["in"].as_str()?);
        Some(((name.to_owned(), within.to_owned()), parameter))
    });
    named.collect()
}

/// A path parameter may be renamed: clients fill it by position.
fn same_position(old: &Parameters<'_>, other: &str, name: &str) -> bool {
    let known = old.iter().any(|((known, within), _)| within == "path" && known == name);
    other == name || (!known && old.iter().filter(|((_, within), _)| within == "path").count() == 1)
}

/// The path without the names of its parameters.
fn shape(path: &str) -> String {
    let parts =
        path.split('/').map(|part| if part.starts_with('{') && part.ends_with('}') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Follows `#/…` references; what cannot be followed stays as it is.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    for _ in 0..DEPTH {
        let Some(pointer) = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'))
        else {
            break;
        };
        let Some(found) = document.pointer(pointer) else { break };
        value = found;
    }
    value
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}

fn list(types: &BTreeSet<String>) -> String {
    types.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
}
