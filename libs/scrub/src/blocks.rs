//! Private keys as blocks of lines, whole or cut off.

use std::sync::LazyLock;

use regex::Regex;

const WHAT: &str = "private key";
/// Longest block that is looked for, in bytes: an RSA key of 16,384 bits as PEM has 13 KiB.
const LONGEST: usize = 16 * 1024;
/// A block has at least so many letters of base64 in one line; the bare mark in a sentence has none. One that ends as it
/// should may be shorter.
const LEAST: usize = 16;
const LEAST_WHOLE: usize = 8;

/// What begins a block, and what ends it.
static BEGIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[0-9]:").ok()
});
static END: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"-----END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: *[0-9a-f]*").ok()
});

/// Every block of a private key. Its lines may be real ones or, within a JSON string, end with an escaped n.
pub(crate) fn find(text: &str) -> Vec<(usize, usize, &'static str)> {
    let (Some(begin), Some(end)) = (&*BEGIN, &*END) else { return Vec::new() };
    let ends: Vec<_> = end.find_iter(text).map(|end| end.range()).collect();
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(mark) = begin.find_at(text, from) {
        let window = &text[mark.end()..floor(text, mark.end() + LONGEST)];
        let next = ends.partition_point(|end| end.start < mark.end());
        let (body, least) = match ends.get(next).filter(|end| end.end <= mark.end() + window.len()) {
            Some(end) => (end.end - mark.end(), LEAST_WHOLE),
            None => (window.find(|letter| !is_body(letter)).unwrap_or(window.len()), LEAST),
        };
        from = mark.end() + body;
        if has_key(&window[..body], least) {
            found.push((mark.start(), from, WHAT));
        }
    }
    found
}

/// The largest end of a character that is not beyond `at`.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn is_body(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter.is_ascii_whitespace() || "+/=\\,:-".contains(letter)
}

fn has_key(body: &str, least: usize) -> bool {
    body.split(|letter: char| !(letter.is_ascii_alphanumeric() || "+/=".contains(letter)))
        .any(|word| word.len() >= least && word != "PRIVATE")
}

#[cfg(test)]
pub(crate) fn patterns() -> bool {
    BEGIN.is_some() && END.is_some()
}
