//! What a reader cannot see.

/// The text as a reader sees it: without control characters other than line ends and tabs, terminal sequences, marks
/// that turn the direction of writing, and characters of no width, all of which can hide words from a person.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            skip_sequence(&mut letters);
        } else if !is_hidden(letter) {
            shown.push(letter);
        }
    }
    shown
}

/// After an escape character: `[`, parameters, one final letter; or one letter.
fn skip_sequence(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if letters.next_if_eq(&'[').is_none() {
        letters.next_if(|letter| letter.is_ascii() && !letter.is_ascii_control());
        return;
    }
    while letters.next_if(|letter| matches!(letter, '0'..='?')).is_some() {}
    letters.next_if(|letter| matches!(letter, '@'..='~'));
}

pub(crate) fn is_hidden(letter: char) -> bool {
    (letter.is_control() && !matches!(letter, '\n' | '\t'))
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
