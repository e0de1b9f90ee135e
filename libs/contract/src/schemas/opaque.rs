//! What is not taken apart: `not`, `if`, `contains` and the like. Said by both sides alike, it changes nothing; else a
//! value is looked for that the one takes and the other does not. Without one, nobody knows.

use serde_json::Value;

use crate::{
    compare::{Comparison, Place, Side, Told, shown},
    schemas::{Meeting, in_time},
    shape::Types,
    validate::means_the_same,
};

const DEPTH: usize = 32;
/// So many values are tried.
const TRIED: usize = 400;

impl<'a> Comparison<'a> {
    pub(crate) fn opaque(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let mut unmet: Vec<(&'static str, Vec<&'a Value>)> = Vec::new();
        let (small, big) = (meeting.small, meeting.big);
        for schema in &big.nots {
            let mut others = small.nots.iter();
            if !others.any(|other| self.alike(place, meeting, other, schema)) {
                unmet.push(("not", vec![schema]));
            }
        }
        for part in &big.conditions {
            let mut others = small.conditions.iter();
            let words = ["if", "then", "else"];
            if !others
                .any(|other| words.iter().all(|word| self.alike(place, meeting, &other[*word], &part[*word])))
            {
                unmet.push(("condition", words.iter().filter_map(|word| part.get(*word)).collect()));
            }
        }
        if small.types == Types::ARRAY {
            for asked in &big.contains {
                let meets = small.contains.iter().any(|has| {
                    has.least >= asked.least
                        && asked.most.is_none_or(|most| has.most.is_some_and(|has| has <= most))
                        && self.alike(place, meeting, has.schema, asked.schema)
                });
                if !meets && (asked.least > 0 || asked.most.is_some()) {
                    unmet.push(("contains", vec![asked.schema]));
                }
            }
        }
        if small.types == Types::OBJECT {
            for (name, schema) in &big.dependent_schemas {
                let mut others = small.dependent_schemas.iter().filter(|(other, _)| other == name);
                let meets = others.any(|(_, has)| self.alike(place, meeting, has, schema));
                if !meets && (small.field(name, &self.regexes).is_named || small.fields.is_empty()) {
                    unmet.push(("dependent-schema", vec![schema]));
                }
            }
            if !self.names_fit(place, meeting) {
                unmet.push(("property-names", Vec::new()));
            }
        }
        for (word, seeds) in unmet {
            self.try_to_prove(place, meeting, word, &seeds);
        }
    }

    /// Whether both take the same, as far as can be told.
    fn alike(
        &mut self,
        place: &Place,
        meeting: &Meeting<'a, '_>,
        ours: &'a Value,
        theirs: &'a Value,
    ) -> bool {
        let (old, new) = meeting.in_time(place, ours, theirs);
        means_the_same(&meeting.worlds.0, &meeting.worlds.1, (ours, theirs), DEPTH)
            || (ours.is_null() == theirs.is_null()
                && self.fits(place, &[old], &[new])
                && self.fits(&place.on(place.side.flipped()), &[old], &[new]))
    }

    fn try_to_prove(
        &mut self,
        place: &Place,
        meeting: &Meeting<'a, '_>,
        word: &'static str,
        seeds: &[&'a Value],
    ) {
        let samples = meeting.worlds.0.samples_of(meeting.small);
        let mut tried = samples.clone();
        for seed in seeds {
            for value in meeting.worlds.1.samples(&[*seed]) {
                tried.extend(samples.iter().filter_map(|sample| merged(sample, &value)));
                tried.extend(repeated(&value));
                tried.push(value);
            }
        }
        tried.truncate(TRIED);
        let proof = tried.into_iter().find(|value| {
            meeting.worlds.0.fits(meeting.small, value) == Some(true)
                && meeting.worlds.1.fits(meeting.big, value) == Some(false)
        });
        let told = match proof {
            Some(value) => {
                let what = match place.side {
                    Side::Request => format!("no longer takes {}: {}", shown(&value), because(word)),
                    Side::Response => format!("may now be {}: {}", shown(&value), because(word)),
                };
                let (old, new) = in_time(place.side, shown(&value), String::new());
                Told::breaks(word, what).values(old, new)
            }
            None => Told::doubt(word, format!("cannot say what it changes that {}", because(word))),
        };
        self.say(place, meeting.at(place), told);
    }
}

fn because(word: &str) -> &'static str {
    match word {
        "not" => "what `not` rules out changed",
        "condition" => "`if`, `then` or `else` changed",
        "contains" => "what the list has to contain changed",
        "dependent-schema" => "what has to hold beside a field changed",
        _ => "the names that fields may have changed",
    }
}

/// Both objects in one.
fn merged(one: &Value, other: &Value) -> Option<Value> {
    let (one, other) = (one.as_object()?, other.as_object()?);
    Some(Value::from_iter(one.iter().chain(other).map(|(name, value)| (name.clone(), value.clone()))))
}

/// Lists of the same value, from none to many.
fn repeated(value: &Value) -> Vec<Value> {
    (0..=12).map(|count| Value::from(vec![value.clone(); count])).collect()
}
