//! What of a text may reach a terminal. Records of older engines hold texts as somebody gave them.

use std::borrow::Cow;

/// The colours that [`super::paint`] gives, without `ESC [` and `m`; none of them hides anything.
const COLOURS: [&str; 9] = ["0", "1", "2", "22", "31", "32", "33", "36", "39"];

/// A text that cannot move a terminal or show itself as another: what cannot be seen is left out, but for ends of lines and
/// our own colours, where colour is wanted.
pub fn clean(text: &str) -> Cow<'_, str> {
    cleaned(text, super::colour())
}

pub(super) fn cleaned(text: &str, colour: bool) -> Cow<'_, str> {
    if !text.chars().any(scrub::deceives) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    // What lies between two of our colours is cleaned by itself, so that a sequence of somebody else cannot swallow one.
    while let Some((before, code, after)) = next_colour(rest).filter(|_| colour) {
        shown.push_str(&scrub::visible(before));
        shown.push_str(code);
        rest = after;
    }
    shown.push_str(&scrub::visible(rest));
    Cow::Owned(shown)
}

/// The same on one line; ends of lines are shown as `⏎`.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match clean(text) {
        shown if shown.contains('\n') => Cow::Owned(shown.trim_end_matches('\n').replace('\n', " ⏎ ")),
        shown => shown,
    }
}

fn next_colour(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices("\x1b[").find_map(|(start, sign)| {
        let (code, _) = text[start + sign.len()..].split_once('m')?;
        let end = start + sign.len() + code.len() + 1;
        COLOURS.contains(&code).then(|| (&text[..start], &text[start..end], &text[end..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_colours_and_what_can_be_seen_reach_a_terminal() {
        for (text, shown) in [
            ("promoted", "promoted"),
            ("\x1b[32mpromoted\x1b[39m", "\x1b[32mpromoted\x1b[39m"),
            ("wrong\x1b[2J\x1b[1;1Hday", "wrongday"),
            ("\x1b]0;a title\x07day", "day"),
            ("\x1b[8mhidden", "hidden"),
            ("\u{202e}yad", "yad"),
            ("a\rb\u{9b}2Jc", "abc"),
            ("\x1b]0;\x1b[31mno end", "\x1b[31mno end"),
        ] {
            assert_eq!(cleaned(text, true), shown, "{text:?}");
        }
        assert_eq!(cleaned("\x1b[32mpromoted\x1b[39m", false), "promoted", "nobody wanted colour");
    }

    #[test]
    fn a_text_begins_no_line_of_its_own() {
        assert_eq!(one_line("wrong day\nerror: all is lost\n"), "wrong day ⏎ error: all is lost");
        assert_eq!(one_line("as it is"), "as it is");
    }
}
