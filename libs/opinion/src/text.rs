//! Untrusted text: what is taken out of it before a person sees it.

use std::borrow::Cow;

/// Whether a character could deceive a reader or a terminal: controls but for new lines and tabs, marks of writing
/// direction, invisible characters, private use and tags.
pub fn deceives(one: char) -> bool {
    match one {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => true,
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' => true,
        '\u{fff0}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}' => true,
        '\u{f0000}'..='\u{10ffff}' => true,
        _ => one.is_control(),
    }
}

/// The text without [deceiving](deceives) characters and without ANSI escape sequences.
pub fn clean(text: &str) -> Cow<'_, str> {
    // Everything below the first suspicious byte is printable ASCII, which is all of most texts.
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) || byte == b'\n' || byte == b'\t';
    if text.bytes().all(plain) || !text.chars().any(deceives) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(one) = rest.next() {
        if one == '\u{1b}' {
            escape(&mut rest);
        } else if one == '\u{9b}' {
            sequence(&mut rest);
        } else if !deceives(one) {
            out.push(one);
        }
    }
    Cow::Owned(out)
}

/// Skips what follows an escape: a control sequence up to its letter, an operating system command up to its end.
fn escape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            sequence(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            while let Some(one) = rest.next() {
                if one == '\u{7}' || one == '\u{9c}' {
                    break;
                }
                if one == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some(_) => {
            rest.next_if(char::is_ascii);
        }
        None => {}
    }
}

fn sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while rest.next_if(|one| ('\u{20}'..='\u{3f}').contains(one)).is_some() {}
    rest.next_if(|one| ('\u{40}'..='\u{7e}').contains(one));
}

/// The beginning of a text, at most so many characters; an ellipsis stands for the rest.
pub fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let end = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(at, _)| at);
            format!("{}…", text[..end].trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_taken_out() {
        let cases = [
            ("plain\ttext\n", "plain\ttext\n"),
            ("Grüße, 東京", "Grüße, 東京"),
            ("\u{202e}evorppa", "evorppa"),
            ("ap\u{200b}prove", "approve"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("bell\u{7}\u{0}\u{8}", "bell"),
            ("tag\u{e0041}\u{e0042}", "tag"),
        ];
        for (dirty, expected) in cases {
            assert_eq!(clean(dirty), expected, "{dirty:?}");
        }
    }

    #[test]
    fn a_beginning_ends_between_characters() {
        assert_eq!(beginning("äöü", 3), "äöü");
        assert_eq!(beginning("äöüß", 3), "äö…");
    }
}
