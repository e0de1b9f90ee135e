//! Paths and methods: which new one stands for which old one, and what is gone.

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    compare::{Comparison, Operation, Place, Side, Told},
    document::Document,
    value::{is_true, items, members},
};

const METHODS: [&str; 9] = ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];

/// Whether the end of something was announced.
enum Farewell {
    /// It was not.
    None,
    /// It may go.
    Due,
    /// It may go on that day.
    On(String),
}

impl<'a> Comparison<'a> {
    /// Everything that can be asked for, then everything that is called at clients.
    pub fn operations(&mut self) {
        let (old_bases, new_bases) = (bases(self.old), bases(self.new));
        let (mut full, mut plain) = (HashMap::new(), HashMap::new());
        for (path, item) in members(&self.new.root()["paths"]) {
            for base in &new_bases {
                full.entry(shape(&format!("{base}{path}"))).or_insert((path.as_str(), item));
            }
            plain.entry(shape(path)).or_insert((path.as_str(), item));
        }
        let mut has_moved = false;
        for (path, item) in members(&self.old.root()["paths"]).filter(|(path, _)| path.starts_with('/')) {
            let at = old_bases.iter().map(|base| full.get(&shape(&format!("{base}{path}"))));
            let at_all: Option<Vec<_>> = at.collect();
            let found = at_all.and_then(|all| all.first().map(|found| **found)).or_else(|| {
                has_moved |= old_bases != new_bases;
                plain.get(&shape(path)).copied()
            });
            let place = Place::of_path(path);
            match found.or_else(|| self.wider(path)) {
                Some((template, new_item)) => self.path(&place, (path, item), (template, new_item)),
                None => self.gone_path(&place, item),
            }
        }
        if has_moved {
            let (old, new) = (&self.old.root()["servers"], &self.new.root()["servers"]);
            let what = "the servers changed; what stands before a path is not for the service alone to say";
            let told = Told::note("servers", what).values(old_bases.join(", "), new_bases.join(", "));
            self.say_plain(&Place::of_path("servers"), (Some(old), Some(new)), told);
        }
        self.webhooks();
    }

    /// A new path whose parameter takes what stands literally in the old one.
    fn wider(&self, path: &str) -> Option<(&'a str, &'a Value)> {
        let old: Vec<&str> = path.split('/').collect();
        let (_, world) = self.worlds(Side::Request);
        let mut candidates = members(&self.new.root()["paths"]).map(|(path, item)| (path.as_str(), item));
        candidates.find(|(template, item)| {
            let new: Vec<&str> = template.split('/').collect();
            let item = self.new.resolve(item);
            let operations = METHODS.iter().filter_map(|method| item.get(*method));
            let parameters: Vec<_> =
                operations.map(|operation| crate::parameters::all(self.new, item, operation)).collect();
            let takes = |name: &str, text: &str| {
                let key = ("path".to_owned(), name.to_owned());
                let schemas = parameters.iter().filter_map(|all| all.get(&key)).map(|one| &one["schema"]);
                !text.is_empty()
                    && world.accepts(&schemas.collect::<Vec<_>>(), &Value::from(text)) == Some(true)
            };
            old.len() == new.len()
                && old.iter().zip(&new).all(|(old, new)| {
                    match new.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                        Some(name) => is_parameter(old) || takes(name, old),
                        None => old == new,
                    }
                })
        })
    }

    fn gone_path(&mut self, place: &Place, item: &'a Value) {
        let resolved = self.old.resolve(item);
        let operations: Vec<&Value> = METHODS.iter().filter_map(|method| resolved.get(*method)).collect();
        let farewells: Vec<Farewell> =
            operations.iter().map(|operation| farewell(operation, &self.today)).collect();
        let told = gone("path-gone", "the path is gone", &farewells);
        self.say_plain(place, (Some(item), None), told);
    }

    fn path(&mut self, place: &Place, old: (&'a str, &'a Value), new: (&'a str, &'a Value)) {
        let (old_item, new_item) = (self.old.resolve(old.1), self.new.resolve(new.1));
        for method in METHODS {
            let Some(operation) = old_item.get(method) else { continue };
            let place = Place { method: method.to_uppercase(), ..place.clone() };
            let Some(other) = new_item.get(method) else {
                let told = gone("method-gone", "the method is gone", &[farewell(operation, &self.today)]);
                self.say_plain(&place, (Some(operation), None), told);
                continue;
            };
            self.sunset(&place, operation, other);
            let old = Operation { template: old.0, item: old_item, operation };
            let new = Operation { template: new.0, item: new_item, operation: other };
            self.parameters(&place, old, new);
            self.exchange(&place, operation, other);
            self.security(&place, operation, other);
            self.callbacks(&place, operation, other);
        }
    }

    /// Body and answers. In calls that a service makes at its clients, both flow the other way.
    fn exchange(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        self.body(place, &old["requestBody"], &new["requestBody"]);
        self.responses(&place.on(place.side.flipped()), &old["responses"], &new["responses"]);
    }

    /// An end that was promised for a day may not come earlier.
    pub(crate) fn sunset(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        let day = |value: &Value| value["x-sunset"].as_str().map(str::to_owned);
        if !is_true(&new["deprecated"]) {
            return;
        }
        let (before, now) = (day(old).filter(|_| is_true(&old["deprecated"])), day(new));
        let what = match (&before, &now) {
            (_, Some(now)) if !is_day(now) => format!("its end, {now:?}, is no day such as 2026-01-31"),
            (Some(before), None) => format!("its end was promised for {before} and is open now"),
            (Some(before), Some(now)) if day_of(now) < day_of(before) => {
                format!("its end was promised for {before} and is {now} now")
            }
            _ => return,
        };
        let told = Told::note("sunset", what).values(before.unwrap_or_default(), now.unwrap_or_default());
        self.say_plain(place, (Some(old), Some(new)), told);
    }

    fn callbacks(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        for (name, calls) in members(&old["callbacks"]) {
            let calls = self.old.resolve(calls);
            let other = self.new.resolve(&new["callbacks"][name]);
            for (address, item) in members(calls) {
                let place = place.within(format!("callback {name}"));
                match other.get(address) {
                    None => {
                        let told = Told::note("callback-gone", format!("{address} is no longer called"));
                        self.say_plain(&place, (Some(item), None), told);
                    }
                    Some(new_item) => self.called(&place, item, new_item),
                }
            }
        }
    }

    fn webhooks(&mut self) {
        for (name, item) in members(&self.old.root()["webhooks"]) {
            let place = Place::of_path(&format!("webhook {name}"));
            match self.new.root()["webhooks"].get(name) {
                None => {
                    let told = Told::breaks("webhook-gone", "the webhook is gone");
                    self.say_plain(&place, (Some(item), None), told);
                }
                Some(new_item) => self.called(&place, item, new_item),
            }
        }
    }

    /// What a service calls at its clients: they get what is sent, and send what comes back.
    fn called(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        let (old, new) = (self.old.resolve(old), self.new.resolve(new));
        for method in METHODS {
            if let (Some(old), Some(new)) = (old.get(method), new.get(method)) {
                let place = Place { method: method.to_uppercase(), ..place.clone() };
                self.exchange(&place.on(Side::Response), old, new);
            }
        }
    }
}

fn gone(word: &'static str, what: &str, farewells: &[Farewell]) -> Told {
    let days = farewells.iter().filter_map(|farewell| match farewell {
        Farewell::On(day) => Some(day.as_str()),
        _ => None,
    });
    if let Some(day) = days.max() {
        return Told::breaks(
            "gone-before-sunset",
            format!("{what}, before {day}, for which its end was announced"),
        );
    }
    let announced =
        !farewells.is_empty() && farewells.iter().all(|farewell| matches!(farewell, Farewell::Due));
    if announced { Told::note(word, format!("{what}, as was announced")) } else { Told::breaks(word, what) }
}

fn farewell(operation: &Value, today: &str) -> Farewell {
    if !is_true(&operation["deprecated"]) {
        return Farewell::None;
    }
    match operation["x-sunset"].as_str() {
        Some(text) if is_day(text) && day_of(text) > today => Farewell::On(day_of(text).to_owned()),
        _ => Farewell::Due,
    }
}

/// Begins with a day: `2026-01-31`, perhaps with a time.
fn is_day(text: &str) -> bool {
    let day = text.as_bytes();
    day.len() >= 10
        && day[..10].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn day_of(text: &str) -> &str {
    text.get(..10).unwrap_or(text)
}

/// What stands before every path, without scheme and host: those are for whoever puts the service somewhere.
fn bases(document: &Document) -> Vec<String> {
    let base = |server: &Value| {
        let mut url = server["url"].as_str().unwrap_or_default().to_owned();
        for (name, variable) in members(&server["variables"]) {
            url = url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default());
        }
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or(String::new(), |at| rest[at..].to_owned()),
            None => url,
        };
        path.trim_end_matches('/').to_owned()
    };
    let mut all: Vec<String> = items(&document.root()["servers"]).map(base).collect();
    if all.is_empty() {
        all.push(String::new());
    }
    all.sort();
    all.dedup();
    all
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

/// The path without the names of its parameters.
fn shape(path: &str) -> String {
    let (mut shape, mut rest) = (String::new(), path);
    while let Some((before, after)) = rest.split_once('{') {
        shape.push_str(before);
        shape.push_str("{}");
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    shape + rest
}
