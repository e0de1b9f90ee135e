//! Numbers: range, steps, formats.

use crate::{
    compare::{Comparison, Place, Told},
    schemas::Meeting,
    shape::{Bound, Shape, Types},
    validate::is_multiple,
};

const INT32: (f64, f64) = (-2_147_483_648.0, 2_147_483_647.0);
const INT64: (f64, f64) = (-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_807.0);

impl<'a> Comparison<'a> {
    pub(crate) fn numbers(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let (small, big) = (meeting.small, meeting.big);
        let (lower, upper) = ends(small);
        if big.lower.is_some_and(|end| lower.is_none_or(|small| end.is_above(small))) {
            self.end(place, meeting, "minimum", (small.lower, big.lower));
        }
        if big.upper.is_some_and(|end| upper.is_none_or(|small| end.is_below(small))) {
            self.end(place, meeting, "maximum", (small.upper, big.upper));
        }
        for step in &big.multiples {
            let is_whole = !small.types.has(Types::FRACTION) && is_multiple(1.0, *step);
            if is_whole || small.multiples.iter().any(|other| is_multiple(*other, *step)) {
                continue;
            }
            let list = |shape: &Shape<'a>| match shape.multiples.as_slice() {
                [] => "none".to_owned(),
                steps => steps.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
            };
            let (old, new) = meeting.in_time(place, list(small), list(big));
            let what = format!("multipleOf is now {new}, it was {old}");
            self.say(place, meeting.at(place), Told::breaks("multiple-of", what).values(old, new));
            break;
        }
        let within = |range: (f64, f64)| {
            lower.is_some_and(|end| end.value >= range.0) && upper.is_some_and(|end| end.value <= range.1)
        };
        for format in &big.formats {
            let fits = small.formats.contains(format)
                || match *format {
                    "int32" => within(INT32),
                    "int64" => !small.types.has(Types::FRACTION),
                    "float" => !small.formats.contains("double"),
                    "double" => true,
                    _ => false,
                };
            if !fits {
                let is_known = ["int32", "int64", "float"].contains(format);
                self.format(place, meeting, format, is_known);
            }
        }
    }

    fn end(
        &mut self,
        place: &Place,
        meeting: &Meeting<'a, '_>,
        word: &'static str,
        (small, big): (Option<Bound>, Option<Bound>),
    ) {
        let shown = |end: Option<Bound>| match end {
            None => "none".to_owned(),
            Some(Bound { value, is_out: true }) => format!("{value} (left out)"),
            Some(Bound { value, is_out: false }) => value.to_string(),
        };
        let (old, new) = meeting.in_time(place, shown(small), shown(big));
        let what = format!("{word} is now {new}, it was {old}");
        self.say(place, meeting.at(place), Told::breaks(word, what).values(old, new));
    }

    /// A format that the other side does not have.
    pub(crate) fn format(&mut self, place: &Place, meeting: &Meeting<'a, '_>, format: &str, is_sure: bool) {
        let list = |shape: &Shape<'a>| match shape.formats.iter().copied().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "none".to_owned(),
            some => some,
        };
        let (old, new) = meeting.in_time(place, list(meeting.small), list(meeting.big));
        let what = format!("the format is now {new}, it was {old}");
        let told = if is_sure {
            Told::breaks("format", what)
        } else {
            Told::doubt("format", format!("{what}: cannot say whether every value is of the format {format}"))
        };
        self.say(place, meeting.at(place), told.values(old, new));
    }
}

/// The ends of a range, those of its formats included.
fn ends(shape: &Shape<'_>) -> (Option<Bound>, Option<Bound>) {
    let range = if shape.formats.contains("int32") {
        Some(INT32)
    } else if shape.formats.contains("int64") {
        Some(INT64)
    } else {
        None
    };
    let bound = |value: f64| Bound { value, is_out: false };
    let lower = range.map(|range| bound(range.0));
    let upper = range.map(|range| bound(range.1));
    let both =
        |one: Option<Bound>, other: Option<Bound>, stricter: fn(Bound, Bound) -> Bound| match (one, other) {
            (Some(one), Some(other)) => Some(stricter(one, other)),
            (one, other) => one.or(other),
        };
    (both(shape.lower, lower, Bound::higher), both(shape.upper, upper, Bound::lower))
}
