//! Who is let in.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    compare::{Comparison, Place, Told},
    document::Document,
    value::{items, members},
};

/// One way to be let in: what has to be shown, and what each of it has to be good for. Nothing: anybody.
type Way = Vec<(String, BTreeSet<String>)>;

impl<'a> Comparison<'a> {
    pub(crate) fn security(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        let (before, now) = (ways(self.old, old), ways(self.new, new));
        let opens = |held: &Way, asked: &Way| {
            asked.iter().all(|(scheme, scopes)| {
                held.iter().any(|(other, has)| other == scheme && scopes.is_subset(has))
            })
        };
        for way in &before {
            if now.iter().any(|asked| opens(way, asked)) {
                continue;
            }
            let at = (Some(old), Some(new));
            let told = if way.is_empty() {
                Told::breaks("security-added", format!("asks for {} now, it was open", shown(&now)))
            } else {
                let what = format!("{} is no longer enough: it asks for {}", shown_one(way), shown(&now));
                Told::breaks("security-narrowed", what)
            };
            self.say_plain(place, at, told.values(shown(&before), shown(&now)));
        }
    }
}

/// The ways into an operation: its own, or else those of the whole document.
fn ways(document: &Document, operation: &Value) -> Vec<Way> {
    let own = operation.get("security").or_else(|| document.root().get("security"));
    let ways: Vec<Way> = own
        .into_iter()
        .flat_map(items)
        .map(|way| {
            let asked = members(way).map(|(name, scopes)| {
                let scopes = items(scopes).filter_map(Value::as_str).map(str::to_owned);
                (scheme(document, name), scopes.collect())
            });
            asked.collect()
        })
        .collect();
    if ways.is_empty() { vec![Way::new()] } else { ways }
}

/// What a scheme is, whatever its name.
fn scheme(document: &Document, name: &str) -> String {
    let scheme = document.resolve(&document.root()["components"]["securitySchemes"][name]);
    let word = |name: &str| scheme[name].as_str().unwrap_or_default();
    match word("type") {
        "apiKey" if word("in") == "header" => format!("key in header {}", word("name").to_ascii_lowercase()),
        "apiKey" => format!("key in {} {}", word("in"), word("name")),
        "http" => format!("http {}", word("scheme").to_ascii_lowercase()),
        "" => format!("scheme {name}"),
        other => other.to_owned(),
    }
}

fn shown(ways: &[Way]) -> String {
    ways.iter().map(shown_one).collect::<Vec<_>>().join(" or ")
}

fn shown_one(way: &Way) -> String {
    if way.is_empty() {
        return "nothing".to_owned();
    }
    let one = |(scheme, scopes): &(String, BTreeSet<String>)| {
        if scopes.is_empty() {
            scheme.clone()
        } else {
            format!("{scheme} ({})", scopes.iter().cloned().collect::<Vec<_>>().join(", "))
        }
    };
    way.iter().map(one).collect::<Vec<_>>().join(" and ")
}
