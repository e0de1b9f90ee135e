//! JSON writes characters beyond U+FFFF as two escapes, `\ud83d\ude00`, which YAML does not know: they become the
//! character itself, and places after them are counted as if they had not.

use std::borrow::Cow;

use super::Place;

/// How many columns less a character takes than its two escapes.
const SHORTER: u32 = 11;

/// Where characters were put, as they stand in the new text.
#[derive(Default)]
pub(super) struct Replaced(Vec<Place>);

impl Replaced {
    /// The place in the original text.
    pub fn original(&self, place: Place) -> Place {
        // They stand in order, so that even many cost little.
        let until = |place: Place| self.0.partition_point(|put| *put < place);
        let before = until(place) - until(Place { line: place.line, column: 0 });
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        Place { line: place.line, column: place.column.saturating_add(before.saturating_mul(SHORTER)) }
    }
}

/// Replaces the pairs in a text that looks like JSON; any other text stays as it is.
pub(super) fn replace(text: &str) -> (Cow<'_, str>, Replaced) {
    let mut replaced = Replaced::default();
    if !text.trim_start().starts_with(['{', '[']) || !text.contains("\\u") {
        return (Cow::Borrowed(text), replaced);
    }
    let mut out = String::with_capacity(text.len());
    let mut place = Place { line: 1, column: 1 };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (taken, length) = match (first, pair(rest)) {
            (_, Some(character)) => {
                replaced.0.push(place);
                (character.to_string(), 12)
            }
            // An escape is taken whole, so that the backslash of `\\` begins no other.
            ('\\', None) => {
                let length = rest.chars().take(2).map(char::len_utf8).sum();
                (rest[..length].to_owned(), length)
            }
            _ => (first.to_string(), first.len_utf8()),
        };
        for c in taken.chars() {
            match c {
                '\n' => place = Place { line: place.line + 1, column: 1 },
                _ => place.column += 1,
            }
        }
        out += &taken;
        rest = &rest[length..];
    }
    (Cow::Owned(out), replaced)
}

/// The character of two escapes at the beginning of the text.
fn pair(text: &str) -> Option<char> {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?, 16).ok();
    let units = [unit(text.get(..6)?)?, unit(text.get(6..12)?)?];
    let mut characters = char::decode_utf16(units);
    match (characters.next(), characters.next()) {
        (Some(Ok(character)), None) => Some(character),
        _ => None,
    }
}
