//! Values as they stand in a complaint: short, on one line, without control characters.

use super::{Kind, Node};

/// Longest text that is repeated in a complaint, in characters.
const SHOWN: usize = 60;

/// A value, in words when it is not a scalar.
pub(crate) fn shown(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number { written, .. } => shown_word(written),
        Kind::Text(text) => shown_text(text),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a mapping".to_owned(),
    }
}

/// A text in quotes.
pub(crate) fn shown_text(text: &str) -> String {
    format!("\"{}\"", shown_word(text))
}

/// A text without quotes.
pub(crate) fn shown_word(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).flat_map(escaped).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() || matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}') {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}
