//! Whether everything that one schema takes is taken by another one, and where not.

mod lists;
mod numbers;
mod objects;
mod opaque;
mod texts;

use serde_json::Value;

use crate::{
    compare::{Comparison, Pair, Place, Side, Told, shown},
    document::{Document, address},
    shape::{Expanded, Regexes, Shape, Types, alternatives, property_that_discriminates, same},
    validate::{World, any, means_the_same},
};

/// Schemas within schemas are followed so deep.
const DEPTH: usize = 48;
/// A range of so many whole numbers is as good as a list of them.
const LISTED: f64 = 100.0;

/// Two alternatives that meet: what is sent or comes now, and what it is held against.
pub(crate) struct Meeting<'a, 's> {
    pub small: &'s Shape<'a>,
    pub big: &'s Shape<'a>,
    pub worlds: &'s (World<'a>, World<'a>),
}

impl<'a> Meeting<'a, '_> {
    /// As old and new.
    pub fn in_time<T>(&self, place: &Place, small: T, big: T) -> (T, T) {
        in_time(place.side, small, big)
    }

    /// Where it is, in the old and in the new document.
    pub fn at(&self, place: &Place) -> (Option<&'a Value>, Option<&'a Value>) {
        let first = |shape: &Shape<'a>| shape.parts.first().copied();
        self.in_time(place, first(self.small), first(self.big))
    }
}

/// What is sent was said by the old document, what comes back is said by the new one.
pub(crate) fn in_time<T>(side: Side, small: T, big: T) -> (T, T) {
    match side {
        Side::Request => (small, big),
        Side::Response => (big, small),
    }
}

impl<'a> Comparison<'a> {
    /// Compares all that the old schemas say together with all that the new ones do.
    pub fn schema(&mut self, place: &Place, old: &[&'a Value], new: &[&'a Value]) {
        // The report says it when nothing is left.
        let Some(left) = self.steps.checked_sub(1) else { return };
        self.steps = left;
        let at = (old.first().copied(), new.first().copied());
        let key = pair(place, (self.old, old), (self.new, new));
        if self.clean.contains(&key) {
            return;
        }
        // Once more the same would be found; where nobody reads it, that it is found is enough.
        if self.is_counting() && self.broken.contains(&key) {
            self.say(place, at, Told::doubt("known", "differs as was found before"));
            return;
        }
        if self.depth > DEPTH {
            self.was_too_deep = true;
            let what = format!("is nested deeper than {DEPTH} and was not compared");
            self.say(place, at, Told::doubt("too-deep", what));
            return;
        }
        let (before, since) = (self.found(), self.trail.len());
        self.clean.insert(key.clone());
        self.trail.push(key.clone());
        self.depth += 1;
        self.alternatives(place, old, new);
        self.depth -= 1;
        if self.found() > before {
            // What was taken to be clean since then may have been so only because this was.
            for pair in self.trail.drain(since..) {
                self.clean.remove(&pair);
            }
            if !self.was_too_deep {
                self.broken.insert(key);
            }
        }
    }

    /// Whether the comparison finds nothing; tells nothing.
    pub fn fits(&mut self, place: &Place, old: &[&'a Value], new: &[&'a Value]) -> bool {
        self.trial(|comparison| comparison.schema(place, old, new))
    }

    fn alternatives(&mut self, place: &Place, old: &[&'a Value], new: &[&'a Value]) {
        let property = property_that_discriminates(self.old, old);
        let discriminated = property.is_some() && property == property_that_discriminates(self.new, new);
        let at = (old.first().copied(), new.first().copied());
        let (old_shapes, new_shapes) =
            match (alternatives(self.old, old, discriminated), alternatives(self.new, new, discriminated)) {
                (Expanded::Into(old), Expanded::Into(new)) => {
                    (possible(self.old, old, &self.regexes), possible(self.new, new, &self.regexes))
                }
                _ => {
                    let worlds = self.worlds(Side::Request);
                    let as_before = old.len() == new.len()
                        && old
                            .iter()
                            .zip(new)
                            .all(|pair| means_the_same(&worlds.0, &worlds.1, (pair.0, pair.1), DEPTH));
                    if !as_before {
                        let what = "has too many alternatives to be compared";
                        self.say(place, at, Told::doubt("alternatives", what));
                    }
                    return;
                }
            };
        let foreign = |shapes: &[Shape<'a>]| {
            let all = shapes.iter().flat_map(|shape| shape.foreign.iter().copied());
            all.collect::<std::collections::BTreeSet<&str>>()
        };
        let (old_foreign, new_foreign) = (foreign(&old_shapes), foreign(&new_shapes));
        if !old_foreign.is_empty() || !new_foreign.is_empty() {
            let list = |names: &std::collections::BTreeSet<&str>| {
                names.iter().copied().collect::<Vec<_>>().join(", ")
            };
            let (old, new) = (list(&old_foreign), list(&new_foreign));
            let what = format!(
                "refers to {}, which is not in the document and was not compared",
                if new.is_empty() { &old } else { &new }
            );
            self.say(place, at, Told::doubt("reference", what).values(old, new));
            return;
        }
        let (small, big) = match place.side {
            Side::Request => (old_shapes, new_shapes),
            Side::Response => (new_shapes, old_shapes),
        };
        self.each(place, at, &small, &big);
    }

    fn each(
        &mut self,
        place: &Place,
        at: (Option<&'a Value>, Option<&'a Value>),
        small: &[Shape<'a>],
        big: &[Shape<'a>],
    ) {
        let worlds = self.worlds(place.side);
        let (mut missing, mut lost, mut unsure) = (Types::NONE, Vec::new(), Vec::new());
        for shape in small {
            if let Some(values) = &shape.values {
                for value in values.iter().filter(|value| worlds.0.fits(shape, value) != Some(false)) {
                    self.value(place, value, big, &worlds.1, (&mut missing, &mut lost, &mut unsure));
                }
                continue;
            }
            for types in
                [Types::NULL, Types::BOOLEAN, Types::NUMBER, Types::STRING, Types::ARRAY, Types::OBJECT]
            {
                let piece = shape.only(types);
                if piece.types != Types::NONE {
                    missing = missing.or(self.piece(place, at, piece, big, &worlds));
                }
            }
        }
        self.tell_types(place, at, missing, (small, big));
        lost.dedup_by(|one: &mut Value, other| same(one, other));
        for value in lost {
            let (word, what) = match place.side {
                Side::Request => ("value", format!("no longer takes {}", shown(&value))),
                Side::Response => ("value", format!("may now be {}", shown(&value))),
            };
            let (old, new) = in_time(place.side, shown(&value), String::new());
            self.say(place, at, Told::breaks(word, what).values(old, new));
        }
        for value in unsure {
            let what = format!("cannot say whether {} is still allowed", shown(&value));
            self.say(place, at, Told::doubt("value", what));
        }
    }

    fn value(
        &mut self,
        place: &Place,
        value: &Value,
        big: &[Shape<'a>],
        world: &World<'a>,
        (missing, lost, unsure): (&mut Types, &mut Vec<Value>, &mut Vec<Value>),
    ) {
        let as_text = Value::from(value.to_string());
        let written = (place.is_text && !value.is_string()).then_some(&as_text);
        let all = [Some(value), written].into_iter().flatten();
        let verdict = any(all.flat_map(|value| big.iter().map(move |shape| world.fits(shape, value))));
        let types = Types::of(value);
        match verdict {
            Some(true) => {}
            Some(false) if big.iter().all(|shape| !shape.types.has(types)) => *missing = missing.or(types),
            Some(false) => lost.push(value.clone()),
            None => unsure.push(value.clone()),
        }
    }

    /// What of one type is taken by whom; the types that nobody takes.
    fn piece(
        &mut self,
        place: &Place,
        at: (Option<&'a Value>, Option<&'a Value>),
        mut piece: Shape<'a>,
        big: &[Shape<'a>],
        worlds: &(World<'a>, World<'a>),
    ) -> Types {
        let taken = |types: Types| big.iter().any(|shape| shape.types.has(types));
        let mut missing = Types::NONE;
        // Text takes what is written as text.
        if place.is_text
            && piece.types.has(Types::NUMBER.or(Types::BOOLEAN))
            && !taken(piece.types)
            && taken(Types::STRING)
        {
            let free = big.iter().any(|shape| shape.types.has(Types::STRING) && takes_any_text(shape));
            if !free {
                let what = format!("cannot say whether every {} is still taken as text", piece.types.words());
                self.say(place, at, Told::doubt("type", what));
            }
            return missing;
        }
        if piece.types.has(Types::FRACTION) && !taken(Types::FRACTION) {
            missing = missing.or(Types::FRACTION);
            piece = piece.only(Types::INTEGER);
        }
        if piece.types != Types::NONE && !taken(piece.types) {
            return missing.or(piece.types);
        }
        if piece.types == Types::NONE {
            return missing;
        }
        let candidates: Vec<&Shape<'a>> = big
            .iter()
            .filter(|shape| shape.types.has(piece.types) && !self.are_apart(&piece, shape, worlds))
            .collect();
        if let [only] = candidates.as_slice() {
            self.meet(place, &piece, only, worlds);
            return missing;
        }
        for candidate in &candidates {
            if self.trial(|comparison| comparison.meet(place, &piece, candidate, worlds)) {
                return missing;
            }
        }
        self.union(place, at, &piece, &candidates, worlds);
        missing
    }

    /// A field that both must have says that nothing can be both.
    fn are_apart(&self, one: &Shape<'a>, other: &Shape<'a>, worlds: &(World<'a>, World<'a>)) -> bool {
        let listed = |world: &World<'a>, shape: &Shape<'a>, name: &str| -> Option<Vec<&'a Value>> {
            let told = shape.field(name, &self.regexes);
            match alternatives(world.document, &told.schemas, false) {
                Expanded::Into(shapes) if told.is_named => shapes
                    .into_iter()
                    .map(|shape| shape.values)
                    .collect::<Option<Vec<_>>>()
                    .map(|all| all.concat()),
                _ => None,
            }
        };
        one.types == Types::OBJECT
            && one.required.iter().filter(|name| other.required.contains(**name)).any(|name| {
                let pair = listed(&worlds.0, one, name).zip(listed(&worlds.1, other, name));
                pair.is_some_and(|(one, other)| {
                    !one.iter().any(|one| other.iter().any(|other| same(one, other)))
                })
            })
    }

    /// No alternative alone takes all of it: together they may, unless a value proves that they do not.
    fn union(
        &mut self,
        place: &Place,
        at: (Option<&'a Value>, Option<&'a Value>),
        piece: &Shape<'a>,
        candidates: &[&Shape<'a>],
        worlds: &(World<'a>, World<'a>),
    ) {
        let refused = |value: &Value| {
            any(candidates.iter().map(|candidate| worlds.1.fits(candidate, value))) == Some(false)
        };
        let proof = worlds.0.samples_of(piece).into_iter().find(refused);
        let told = match proof {
            Some(value) => {
                let what = match place.side {
                    Side::Request => format!("no longer takes {}, by any of its alternatives", shown(&value)),
                    Side::Response => format!("may now be {}, which no alternative allowed", shown(&value)),
                };
                let (old, new) = in_time(place.side, shown(&value), String::new());
                Told::breaks("alternative", what).values(old, new)
            }
            None => {
                let what =
                    format!("cannot say whether the alternatives still cover every {}", piece.types.words());
                Told::doubt("alternative", what)
            }
        };
        self.say(place, at, told);
    }

    fn tell_types(
        &mut self,
        place: &Place,
        at: (Option<&'a Value>, Option<&'a Value>),
        missing: Types,
        (small, big): (&[Shape<'a>], &[Shape<'a>]),
    ) {
        if missing == Types::NONE {
            return;
        }
        let of = |shapes: &[Shape<'a>]| shapes.iter().map(|shape| shape.types).fold(Types::NONE, Types::or);
        let (old, new) = in_time(place.side, of(small), of(big));
        let told = if missing == Types::NULL {
            let what = match place.side {
                Side::Request => "no longer takes null",
                Side::Response => "may now be null",
            };
            Told::breaks("null", what)
        } else if old == Types::ALL {
            Told::breaks("type", format!("takes only {} now", new.words()))
        } else if new == Types::ALL {
            Told::breaks("type", format!("may now be anything, it was {}", old.words()))
        } else {
            Told::breaks("type", format!("the type changed from {} to {}", old.words(), new.words()))
        };
        self.say(place, at, told.values(old.words(), new.words()));
    }

    /// Two alternatives of one type, of which the one has no list of values.
    fn meet(&mut self, place: &Place, small: &Shape<'a>, big: &Shape<'a>, worlds: &(World<'a>, World<'a>)) {
        let meeting = Meeting { small, big, worlds };
        if big.values.is_some() {
            self.against_values(place, &meeting);
            return;
        }
        if small.types.has(Types::NUMBER) {
            self.numbers(place, &meeting);
        }
        if small.types == Types::STRING {
            self.texts(place, &meeting);
        }
        if small.types == Types::ARRAY {
            self.lists(place, &meeting);
        }
        if small.types == Types::OBJECT {
            self.objects(place, &meeting);
        }
        self.opaque(place, &meeting);
    }

    fn against_values(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let every: Option<Vec<Value>> = match meeting.small.types {
            Types::NULL => Some(vec![Value::Null]),
            Types::BOOLEAN => Some(vec![Value::from(false), Value::from(true)]),
            Types::INTEGER => meeting.small.lower.zip(meeting.small.upper).and_then(|(lower, upper)| {
                let count = upper.value - lower.value;
                (0.0..LISTED)
                    .contains(&count)
                    .then(|| (0..=count as i64).map(|step| Value::from(lower.value as i64 + step)).collect())
            }),
            _ => None,
        };
        let Some(every) = every else {
            let listed = |shape: &Shape<'a>| match &shape.values {
                Some(values) => values.iter().map(|value| shown(value)).collect::<Vec<_>>().join(", "),
                None => format!("any {}", shape.types.words()),
            };
            let (old, new) = meeting.in_time(place, listed(meeting.small), listed(meeting.big));
            let what = match place.side {
                Side::Request => "takes only certain values now".to_owned(),
                Side::Response => format!("may now be {new}, it was one of {old}"),
            };
            self.say(place, meeting.at(place), Told::breaks("values", what).values(old, new));
            return;
        };
        for value in every {
            if meeting.worlds.0.fits(meeting.small, &value) == Some(true)
                && meeting.worlds.1.fits(meeting.big, &value) == Some(false)
            {
                let what = match place.side {
                    Side::Request => format!("no longer takes {}", shown(&value)),
                    Side::Response => format!("may now be {}", shown(&value)),
                };
                self.say(place, meeting.at(place), Told::breaks("value", what));
            }
        }
    }
}

/// Without objects that must have a field of which nothing can be.
fn possible<'a>(document: &'a Document, mut shapes: Vec<Shape<'a>>, regexes: &Regexes) -> Vec<Shape<'a>> {
    for shape in &mut shapes {
        let never = |name: &&str| {
            let told = shape.field(name, regexes);
            match alternatives(document, &told.schemas, false) {
                Expanded::Into(inner) => inner.is_empty(),
                Expanded::TooMany => false,
            }
        };
        if shape.types.has(Types::OBJECT) && shape.required.iter().any(never) {
            shape.types = shape.types.without(Types::OBJECT);
        }
    }
    shapes.retain(|shape| shape.types != Types::NONE);
    shapes
}

fn takes_any_text(shape: &Shape<'_>) -> bool {
    shape.values.is_none()
        && shape.min_length <= 1
        && shape.max_length.is_none()
        && shape.patterns.is_empty()
        && shape.formats.is_empty()
        && shape.encoding.is_none()
        && shape.nots.is_empty()
        && shape.conditions.is_empty()
}

/// By what the schemas are in the end: the same one is met by many references.
fn pair(place: &Place, old: (&Document, &[&Value]), new: (&Document, &[&Value])) -> Pair {
    let addresses = |(document, schemas): (&Document, &[&Value])| {
        let meant = |schema: &&Value| match schema.as_object() {
            Some(map) if map.len() == 1 => address(document.resolve(schema)),
            _ => address(schema),
        };
        let mut all: Vec<usize> = schemas.iter().map(meant).collect();
        all.sort_unstable();
        all
    };
    (addresses(old), addresses(new), place.side, place.is_text)
}
