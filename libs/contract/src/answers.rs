//! Bodies and answers: which there are, of which media type, with which headers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    compare::{Comparison, Place, Side, Told},
    media::{contents, is_form, is_within},
    value::{is_true, members},
};

impl<'a> Comparison<'a> {
    pub(crate) fn body(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        let (old, new) = (self.old.resolve(old), self.new.resolve(new));
        let place = place.within("body");
        let at = (Some(old), Some(new));
        if place.side == Side::Request {
            if is_true(&new["required"]) && !is_true(&old["required"]) {
                let what = if old.is_null() { "is new and required" } else { "is now required" };
                self.say(&place, at, Told::breaks("body-required", what).values("optional", "required"));
            }
            if new.is_null() && members(&old["content"]).next().is_some() {
                self.say(&place, (Some(old), None), Told::breaks("body-gone", "the body is gone"));
                return;
            }
        }
        self.content(&place, &old["content"], &new["content"]);
    }

    fn content(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        let (before, now) = (contents(old), contents(new));
        for (name, content) in &before {
            let kept = now.keys().any(|other| match place.side {
                Side::Request => is_within(name, other),
                Side::Response => is_within(other, name),
            });
            if !kept {
                let told = Told::breaks("media-type-gone", format!("media type {name} is gone"));
                self.say(place, (Some(content), None), told.values(name.clone(), ""));
            }
        }
        for (name, content) in &now {
            let exact = before.get_key_value(name);
            let other = exact.or_else(|| {
                before.iter().find(|(other, _)| match place.side {
                    Side::Request => is_within(other, name) && !now.contains_key(*other),
                    Side::Response => is_within(name, other),
                })
            });
            let Some((_, old)) = other else { continue };
            let place = if is_form(name) { place.as_text() } else { place.clone() };
            self.schema(&place, &[&old["schema"]], &[&content["schema"]]);
        }
    }

    pub(crate) fn responses(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        let (old_all, new_all) = (Statuses(old), Statuses(new));
        let is_success = |status: &str| status.starts_with('2');
        for (status, response) in members(old).filter(|(status, _)| is_success(status)) {
            let is_range = status.len() == 3 && status.to_ascii_uppercase().ends_with("XX");
            let kept = match is_range {
                true => members(new).any(|(other, _)| is_success(other)) || new.get("default").is_some(),
                false => new_all.of(status).is_some(),
            };
            if !kept {
                let told = Told::breaks("status-gone", "is gone").values(status.as_str(), "");
                self.say(&place.within(format!("response {status}")), (Some(response), None), told);
            }
        }
        for (status, (old, new)) in meetings(&old_all, &new_all) {
            let place = place.within(format!("response {status}"));
            let (old, new) = (self.old.resolve(old), self.new.resolve(new));
            self.content(&place, &old["content"], &new["content"]);
            self.headers(&place, old, new);
        }
    }

    fn headers(&mut self, place: &Place, old: &'a Value, new: &'a Value) {
        for (name, header) in
            members(&old["headers"]).filter(|(name, _)| !name.eq_ignore_ascii_case("content-type"))
        {
            let place = place.within(format!("header {name}"));
            let header = self.old.resolve(header);
            let same = |other: &&String| other.eq_ignore_ascii_case(name);
            let Some(other) =
                members(&new["headers"]).find(|(other, _)| same(other)).map(|(_, header)| header)
            else {
                self.say(&place, (Some(header), None), Told::breaks("header-gone", "the header is gone"));
                continue;
            };
            let other = self.new.resolve(other);
            if is_true(&header["required"]) && !is_true(&other["required"]) {
                let told =
                    Told::breaks("header-optional", "may now be missing").values("required", "optional");
                self.say(&place, (Some(header), Some(other)), told);
            }
            self.schema(&place.as_text(), &[&header["schema"]], &[&other["schema"]]);
        }
    }
}

/// The answers of an operation by status.
struct Statuses<'a>(&'a Value);

impl<'a> Statuses<'a> {
    /// What is said about this very status.
    fn exact(&self, status: &str) -> Option<&'a Value> {
        members(self.0).find(|(name, _)| name.eq_ignore_ascii_case(status)).map(|(_, response)| response)
    }

    /// What is said about its hundred.
    fn range(&self, status: &str) -> Option<&'a Value> {
        self.exact(&format!("{}XX", status.get(..1)?))
    }

    /// What holds for a status.
    fn of(&self, status: &str) -> Option<&'a Value> {
        self.exact(status).or_else(|| self.range(status)).or_else(|| self.exact("default"))
    }

    fn names(&self) -> BTreeSet<String> {
        members(self.0)
            .map(|(name, _)| name.to_ascii_uppercase())
            .filter(|name| !name.starts_with("X-"))
            .collect()
    }

    fn has_success(&self) -> bool {
        self.names().iter().any(|name| name.starts_with('2'))
    }
}

/// Old and new answers that a client may take for each other, each pair once, under the status that the old document
/// knows it by where it does.
fn meetings<'a>(old: &Statuses<'a>, new: &Statuses<'a>) -> Vec<(String, (&'a Value, &'a Value))> {
    let mut found: Vec<(String, (&Value, &Value))> = Vec::new();
    let mut meet = |name: &str, old: Option<&'a Value>, new: Option<&'a Value>| {
        if let (Some(old), Some(new)) = (old, new)
            && !found.iter().any(|(_, pair)| std::ptr::eq(pair.0, old) && std::ptr::eq(pair.1, new))
        {
            found.push((name.to_owned(), (old, new)));
        }
    };
    for name in old.names() {
        match name.as_str() {
            "DEFAULT" => meet("default", old.exact("default"), new.exact("default")),
            range if range.ends_with("XX") => meet(&name, old.exact(&name), new.exact(&name)),
            _ => meet(&name, old.exact(&name), new.of(&name)),
        }
    }
    for name in new.names() {
        if name == "DEFAULT" || name.ends_with("XX") || old.exact(&name).is_some() {
            continue;
        }
        // A default beside a success is for errors: it says nothing about another success.
        let general = old.exact("default").filter(|_| !(name.starts_with('2') && old.has_success()));
        meet(&name, old.range(&name).or(general), new.exact(&name));
    }
    found
}
