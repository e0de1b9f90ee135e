//! Parameters: where they are, whether they must be there, what they take, how they are written.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    compare::{Comparison, Operation, Place, Told, shown},
    document::Document,
    shape::{Expanded, Types, alternatives},
    value::{is_true, items, members},
};

/// Parameters by where they are and by their name.
pub(crate) type Parameters<'a> = BTreeMap<(String, String), &'a Value>;

/// Headers that the standard has described elsewhere: a parameter of such a name says nothing.
const IGNORED: [&str; 3] = ["accept", "content-type", "authorization"];

/// The parameters of an operation: its own ones, then those of its path that it does not override. Names of headers are
/// the same in upper and in lower case.
pub(crate) fn all<'a>(document: &'a Document, item: &'a Value, operation: &'a Value) -> Parameters<'a> {
    let mut found = BTreeMap::new();
    for parameter in [item, operation].into_iter().flat_map(|of| items(&of["parameters"])) {
        let parameter = document.resolve(parameter);
        let (Some(name), Some(within)) = (parameter["name"].as_str(), parameter["in"].as_str()) else {
            continue;
        };
        let name = if within == "header" { name.to_ascii_lowercase() } else { name.to_owned() };
        if within != "header" || !IGNORED.contains(&name.as_str()) {
            found.insert((within.to_owned(), name), parameter);
        }
    }
    found
}

/// The names of a path's parameters, in their order.
fn names(path: &str) -> Vec<&str> {
    let parts = path.split('{').skip(1);
    parts.filter_map(|part| part.split_once('}').map(|(name, _)| name)).collect()
}

impl<'a> Comparison<'a> {
    pub(crate) fn parameters(&mut self, place: &Place, old: Operation<'a>, new: Operation<'a>) {
        let before = all(self.old, old.item, old.operation);
        let now = all(self.new, new.item, new.operation);
        // Those of a path are filled in by position: their names are nobody's business.
        let (old_names, new_names) = (names(old.template), names(new.template));
        let positions = if old_names.len() == new_names.len() { old_names } else { Vec::new() };
        let old_name = |within: &str, name: &str| match within {
            "path" => new_names
                .iter()
                .position(|other| *other == name)
                .and_then(|at| positions.get(at))
                .map(|name| (*name).to_owned()),
            _ => Some(name.to_owned()),
        };
        for ((within, name), parameter) in &now {
            let Some(known_as) = old_name(within, name) else { continue };
            let shown_name = parameter["name"].as_str().unwrap_or(name);
            let place = place.within(format!("{within} parameter {shown_name}"));
            let is_required = is_true(&parameter["required"]) && within != "path";
            match before.get(&(within.clone(), known_as)) {
                None if is_required => {
                    let told =
                        Told::breaks("parameter-required", "is new and required").values("none", "required");
                    self.say(&place, (None, Some(parameter)), told);
                }
                None => {}
                Some(known) => self.parameter(&place, within, known, parameter),
            }
        }
        for ((within, name), parameter) in before.iter().filter(|(key, _)| key.0 != "path") {
            if !now.contains_key(&(within.clone(), name.clone())) {
                let place = place.within(format!("{within} parameter {name}"));
                let told = Told::note("parameter-gone", "is no longer described");
                self.say(&place, (Some(parameter), None), told);
            }
        }
    }

    fn parameter(&mut self, place: &Place, within: &str, old: &'a Value, new: &'a Value) {
        let at = (Some(old), Some(new));
        if is_true(&new["required"]) && !is_true(&old["required"]) && within != "path" {
            let told = Told::breaks("parameter-required", "is now required").values("optional", "required");
            self.say(place, at, told);
        }
        if is_true(&old["allowEmptyValue"]) && !is_true(&new["allowEmptyValue"]) && within == "query" {
            self.say(place, at, Told::breaks("parameter-empty", "may no longer be empty"));
        }
        self.sunset(place, old, new);
        let (was, is) = (&old["schema"]["default"], &new["schema"]["default"]);
        if was != is {
            let what = format!("without it, {} is meant now, it was {}", or_nothing(is), or_nothing(was));
            let told = Told::note("parameter-default", what).values(or_nothing(was), or_nothing(is));
            self.say(place, at, told);
        }
        let (old_schema, old_written) = self.written(within, old, self.old);
        let (new_schema, new_written) = self.written(within, new, self.new);
        if old_written != new_written {
            let what = format!("is written as {new_written} now, it was {old_written}");
            self.say(place, at, Told::breaks("parameter-style", what).values(old_written, new_written));
        }
        let place = if old["schema"].is_null() { place.clone() } else { place.as_text() };
        self.schema(&place, &[old_schema], &[new_schema]);
    }

    /// What a parameter takes and how it is written, as far as that matters for what it takes.
    fn written(&self, within: &str, parameter: &'a Value, document: &'a Document) -> (&'a Value, String) {
        if let Some((media, content)) = members(&parameter["content"]).next() {
            return (&content["schema"], crate::media::normal(media));
        }
        let schema = &parameter["schema"];
        let style = parameter["style"].as_str().unwrap_or(match within {
            "query" | "cookie" => "form",
            _ => "simple",
        });
        let explode = parameter["explode"].as_bool().unwrap_or(style == "form");
        let types = match alternatives(document, &[schema], false) {
            Expanded::Into(shapes) => shapes.iter().map(|shape| shape.types).fold(Types::NONE, Types::or),
            Expanded::TooMany => Types::ALL,
        };
        // What may be anything is hardly meant to be a list.
        let is_compound = types != Types::ALL && types.has(Types::ARRAY.or(Types::OBJECT));
        let written = match (is_compound, within) {
            (true, _) if explode => format!("{style}, exploded"),
            (true, _) => style.to_owned(),
            (false, "path") if style != "simple" => style.to_owned(),
            (false, _) => "one value".to_owned(),
        };
        (schema, written)
    }
}

fn or_nothing(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { shown(value) }
}
