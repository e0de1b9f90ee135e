//! What a reader cannot see.

use std::{borrow::Cow, iter::Peekable, str::Chars};

/// Whether a character could deceive a reader or a terminal: controls but for new lines and tabs, marks of writing
/// direction, separators of lines that no line ends at, all that Unicode shows as nothing (default ignorable, blanks
/// with the rank of a letter), private use and tags.
pub fn deceives(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => true,
        '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' => true,
        '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' => true,
        '\u{13430}'..='\u{1345f}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}' => true,
        '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        '\u{f0000}'..='\u{10ffff}' => true,
        _ => letter.is_control(),
    }
}

/// The text as a reader sees it: without [deceiving](deceives) characters and without terminal sequences. Separators of
/// lines and paragraphs become new lines.
pub fn visible(text: &str) -> Cow<'_, str> {
    // Everything below the first suspicious byte is printable ASCII, which is all of most texts.
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) || byte == b'\n' || byte == b'\t';
    if text.bytes().all(plain) || !text.chars().any(deceives) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\u{1b}' => escape(&mut rest),
            '\u{9b}' => sequence(&mut rest),
            '\u{85}' | '\u{2028}' | '\u{2029}' => shown.push('\n'),
            letter if deceives(letter) => {}
            letter => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// What ends a line, in a text that is shown on one.
const LINE_END: &str = " ⏎ ";

/// A [visible](visible) text on one line: ends of lines are shown as `⏎`, tabs are blanks. So a text that somebody gives can
/// neither begin a line of its own among those of the engine nor move a terminal.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    if !shown.contains(['\n', '\t']) {
        return shown;
    }
    let lines: Vec<&str> = shown.trim_end_matches('\n').split('\n').map(str::trim_end).collect();
    Cow::Owned(lines.join(LINE_END).replace('\t', " "))
}

/// Skips what follows an escape: a control sequence up to its letter, an operating system command up to its end.
fn escape(rest: &mut Peekable<Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            sequence(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            while let Some(letter) = rest.next() {
                if letter == '\u{7}' || letter == '\u{9c}' {
                    break;
                }
                if letter == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some(_) => {
            rest.next_if(|letter| letter.is_ascii() && !letter.is_ascii_control());
        }
        None => {}
    }
}

fn sequence(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|letter| (' '..='?').contains(letter)).is_some() {}
    rest.next_if(|letter| ('@'..='~').contains(letter));
}
