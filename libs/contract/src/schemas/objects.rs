//! Objects: which fields, of what, which of them must be there.

use serde_json::Value;

use crate::{
    compare::{Comparison, Place, Side, Told},
    schemas::Meeting,
    shape::{Expanded, alternatives},
    value::members,
};

/// So many names are listed; the rest is counted.
const LISTED: usize = 10;

impl<'a> Comparison<'a> {
    pub(crate) fn objects(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let (small, big) = (meeting.small, meeting.big);
        if big.min_fields > small.min_fields.max(small.required.len() as u64) {
            self.count(place, meeting, "minProperties", (Some(small.min_fields), Some(big.min_fields)));
        }
        if big.max_fields.is_some_and(|most| small.max_fields.is_none_or(|other| other > most)) {
            self.count(place, meeting, "maxProperties", (small.max_fields, big.max_fields));
        }
        self.required(place, meeting);
        let mut unwelcome = Vec::new();
        for name in small.field_names().union(&big.field_names()) {
            self.field(place, meeting, name, &mut unwelcome);
        }
        self.other_fields(place, meeting, &unwelcome);
        self.patterned(place, meeting);
        for (name, needs) in &big.dependents {
            let has = small.dependents.get(name);
            let new = needs.iter().filter(|need| {
                !small.required.contains(**need) && !has.is_some_and(|has| has.contains(**need))
            });
            let new: Vec<&str> = new.copied().collect();
            if new.is_empty() || !small.field(name, &self.regexes).is_named {
                continue;
            }
            let what = match place.side {
                Side::Request => format!("now has to come with {}", new.join(", ")),
                Side::Response => format!("may now come without {}", new.join(", ")),
            };
            self.say(&place.within(*name), meeting.at(place), Told::breaks("dependent-required", what));
        }
    }

    fn required(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let (small, big) = (meeting.small, meeting.big);
        for name in big.required.difference(&small.required) {
            let (ours, theirs) = (small.field(name, &self.regexes), big.field(name, &self.regexes));
            if meeting.worlds.1.is_hidden(&theirs.schemas) {
                continue;
            }
            let within = place.within(*name);
            match place.side {
                Side::Request => {
                    let known = ours.is_named && !meeting.worlds.0.is_hidden(&ours.schemas);
                    let what = if known { "is now required" } else { "is new and required" };
                    let told = Told::breaks("field-required", what).values("optional", "required");
                    self.say(&within, meeting.at(place), told);
                }
                // One that is described no longer is told as gone.
                Side::Response if !ours.is_named && theirs.is_named => {}
                Side::Response => {
                    let told = Told::breaks("field-optional", "may now be missing");
                    self.say(&within, meeting.at(place), told.values("required", "optional"));
                }
            }
        }
    }

    fn field(
        &mut self,
        place: &Place,
        meeting: &Meeting<'a, '_>,
        name: &'a str,
        unwelcome: &mut Vec<&'a str>,
    ) {
        let (ours, theirs) =
            (meeting.small.field(name, &self.regexes), meeting.big.field(name, &self.regexes));
        let within = place.within(name);
        let at = meeting.at(place);
        let (ours_hidden, theirs_hidden) =
            (meeting.worlds.0.is_hidden(&ours.schemas), meeting.worlds.1.is_hidden(&theirs.schemas));
        if ours_hidden || theirs_hidden {
            if place.side == Side::Response && ours_hidden && !theirs_hidden && theirs.is_named {
                self.say(&within, at, Told::breaks("field-gone", "the field is gone: it is writeOnly now"));
            } else if place.side == Side::Response && !ours_hidden && theirs_hidden && ours.is_named {
                self.say(&within, at, Told::note("field-shown", "comes in answers now: it was writeOnly"));
            }
            return;
        }
        let never = |schemas: &[&Value]| schemas.contains(&&Value::Bool(false));
        match (ours.is_named, theirs.is_named) {
            (true, false) if never(&theirs.schemas) => {
                if !never(&ours.schemas) {
                    unwelcome.push(name);
                }
            }
            (false, true) if place.side == Side::Response => {
                self.say(&within, at, Told::breaks("field-gone", "the field is gone"));
            }
            // New, may be missing, and nobody said what such a field would be.
            (false, true) if ours.schemas.is_empty() || never(&ours.schemas) => {}
            (true, false) if theirs.schemas.is_empty() => {
                if place.side == Side::Request {
                    self.say(&within, at, Told::note("field-gone", "is no longer described"));
                }
            }
            _ => {
                let (old, new) = meeting.in_time(place, ours.schemas, theirs.schemas);
                self.schema(&within, &old, &new);
            }
        }
    }

    /// Fields that nobody names. Those that were named and are refused now belong to the same complaint.
    fn other_fields(&mut self, place: &Place, meeting: &Meeting<'a, '_>, unwelcome: &[&str]) {
        let (ours, theirs) = (meeting.small.other_fields(), meeting.big.other_fields());
        let never = |schemas: &[&Value]| schemas.contains(&&Value::Bool(false));
        if never(&theirs) {
            if never(&ours) && unwelcome.is_empty() {
                return;
            }
            let shown = unwelcome.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
            let more = unwelcome.len().saturating_sub(LISTED);
            let among = match (unwelcome.is_empty(), never(&ours), more) {
                (true, ..) => String::new(),
                (false, true, 0) => format!(": {shown}"),
                (false, false, 0) => format!(", {shown} among them"),
                (false, _, more) => format!(", {shown} and {more} more among them"),
            };
            let what = match place.side {
                Side::Request => format!("no longer takes fields that are not described{among}"),
                Side::Response => format!("may now hold fields that were ruled out{among}"),
            };
            let (old, new) = meeting.in_time(place, "open", "closed");
            self.say(place, meeting.at(place), Told::breaks("fields-closed", what).values(old, new));
        } else if !never(&ours) && !theirs.is_empty() {
            let (old, new) = meeting.in_time(place, ours, theirs);
            self.schema(&place.within("{}"), &old, &new);
        }
    }

    /// Fields whose names match a pattern.
    fn patterned(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let patterns = |of: &crate::shape::Shape<'a>| -> Vec<(&'a str, &'a Value)> {
            let all = of.fields.iter().flat_map(|fields| members(fields.patterns));
            all.map(|(pattern, schema)| (pattern.as_str(), schema)).collect()
        };
        let (ours, theirs) = (patterns(meeting.small), patterns(meeting.big));
        let of = |all: &[(&'a str, &'a Value)], pattern: &str| -> Vec<&'a Value> {
            all.iter().filter(|(other, _)| *other == pattern).map(|(_, schema)| *schema).collect()
        };
        let mut known: Vec<&str> = ours.iter().chain(&theirs).map(|(pattern, _)| *pattern).collect();
        known.sort_unstable();
        known.dedup();
        for pattern in known {
            let within = place.within(format!("{{{pattern}}}"));
            let (mut small, mut big) = (of(&ours, pattern), of(&theirs, pattern));
            if small.is_empty() {
                small = meeting.small.other_fields();
            }
            if big.is_empty() {
                big = meeting.big.other_fields();
            }
            if small.contains(&&Value::Bool(false)) || big.is_empty() {
                continue;
            }
            let (old, new) = meeting.in_time(place, small, big);
            self.schema(&within, &old, &new);
        }
    }

    /// Whether all names that are allowed here are allowed there too.
    pub(crate) fn names_fit(&mut self, place: &Place, meeting: &Meeting<'a, '_>) -> bool {
        if meeting.big.names.is_empty() {
            return true;
        }
        // A schema of names without a type is about texts: names are nothing else.
        let takes_all = match alternatives(meeting.worlds.1.document, &meeting.big.names, false) {
            Expanded::Into(shapes) => {
                shapes.iter().any(|shape| shape.parts.iter().all(|part| *part == &Value::Bool(true)))
            }
            Expanded::TooMany => false,
        };
        let (old, new) = meeting.in_time(place, meeting.small.names.clone(), meeting.big.names.clone());
        takes_all || (!meeting.small.names.is_empty() && self.fits(place, &old, &new))
    }
}
