//! Texts: length, patterns, formats, what is written in them.

use crate::{
    compare::{Comparison, Place, Told},
    schemas::Meeting,
    shape::Shape,
    validate::is_of_format,
};

/// A text of the first format is one of the second.
const WITHIN: [(&str, &str); 8] = [
    ("uri", "uri-reference"),
    ("uri", "iri"),
    ("uri", "iri-reference"),
    ("uri-reference", "iri-reference"),
    ("iri", "iri-reference"),
    ("email", "idn-email"),
    ("hostname", "idn-hostname"),
    ("uuid", "guid"),
];

impl<'a> Comparison<'a> {
    pub(crate) fn texts(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let (small, big) = (meeting.small, meeting.big);
        if big.min_length > small.min_length {
            self.count(place, meeting, "minLength", (Some(small.min_length), Some(big.min_length)));
        }
        if big.max_length.is_some_and(|most| small.max_length.is_none_or(|other| other > most)) {
            self.count(place, meeting, "maxLength", (small.max_length, big.max_length));
        }
        self.patterns(place, meeting);
        let samples = if big.formats.is_subset(&small.formats) {
            Vec::new()
        } else {
            meeting.worlds.0.samples_of(&Shape { encoding: None, ..small.clone() })
        };
        for format in big.formats.difference(&small.formats) {
            if small.formats.iter().any(|other| WITHIN.contains(&(*other, *format))) {
                continue;
            }
            let refused = |text: &serde_json::Value| {
                text.as_str().is_some_and(|text| is_of_format(format, text) == Some(false))
            };
            let is_proof = samples.iter().any(refused);
            self.format(place, meeting, format, is_proof);
        }
        self.embedded(place, meeting, "contentEncoding", (small.encoding, big.encoding));
        self.embedded(place, meeting, "contentMediaType", (small.media, big.media));
        if !big.content.is_empty() {
            let (old, new) = meeting.in_time(place, small.content.clone(), big.content.clone());
            self.schema(&place.within("content"), &old, &new);
        }
    }

    fn patterns(&mut self, place: &Place, meeting: &Meeting<'a, '_>) {
        let (small, big) = (meeting.small, meeting.big);
        if big.patterns.is_subset(&small.patterns) {
            return;
        }
        let list = |shape: &Shape<'a>| match shape.patterns.iter().copied().collect::<Vec<_>>().join(" and ")
        {
            none if none.is_empty() => "none".to_owned(),
            some => some,
        };
        let (old, new) = meeting.in_time(place, list(small), list(big));
        let samples = meeting.worlds.0.samples_of(small);
        let misses = |pattern: &&&str| {
            let refused = |text: &serde_json::Value| {
                text.as_str().is_some_and(|text| self.regexes.matches(pattern, text) == Some(false))
            };
            samples.iter().any(refused)
        };
        let what = format!("the pattern is now {new}, it was {old}");
        let told = if big.patterns.difference(&small.patterns).any(|pattern| misses(&pattern)) {
            Told::breaks("pattern", what)
        } else {
            Told::doubt(
                "pattern",
                format!("{what}: cannot say whether the one takes all that the other does"),
            )
        };
        self.say(place, meeting.at(place), told.values(old, new));
    }

    /// A number that is a bound of some count.
    pub(crate) fn count(
        &mut self,
        place: &Place,
        meeting: &Meeting<'a, '_>,
        word: &'static str,
        (small, big): (Option<u64>, Option<u64>),
    ) {
        let is_least = word.starts_with("min");
        let shown = |count: Option<u64>| match count {
            None => "none".to_owned(),
            Some(0) if is_least => "none".to_owned(),
            Some(count) => count.to_string(),
        };
        let (old, new) = meeting.in_time(place, shown(small), shown(big));
        let what = format!("{word} is now {new}, it was {old}");
        let id = match word {
            "minLength" => "min-length",
            "maxLength" => "max-length",
            "minItems" => "min-items",
            "maxItems" => "max-items",
            "minProperties" => "min-properties",
            _ => "max-properties",
        };
        self.say(place, meeting.at(place), Told::breaks(id, what).values(old, new));
    }

    /// How something is written within a text.
    fn embedded(
        &mut self,
        place: &Place,
        meeting: &Meeting<'a, '_>,
        word: &'static str,
        (small, big): (Option<&str>, Option<&str>),
    ) {
        let Some(asked) = big.filter(|_| small != big) else { return };
        let (old, new) = meeting.in_time(place, small.unwrap_or("none"), asked);
        let what = format!("{word} is now {new}, it was {old}");
        let id = if word == "contentEncoding" { "content-encoding" } else { "content-media-type" };
        let told = if small.is_some() { Told::breaks(id, what) } else { Told::doubt(id, what) };
        self.say(place, meeting.at(place), told.values(old, new));
    }
}
