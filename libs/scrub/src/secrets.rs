//! Where the secrets of a text are, and the text without them.

use std::sync::LazyLock;

use regex::Regex;

use crate::{address, assigned, blocks, encoded, shapes, value, value::MASK_BEGINS};

/// What was made of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// The text with masks.
    pub text: String,
    /// What was masked, one entry per place.
    pub masked: Vec<&'static str>,
}

/// Bytes of a text that look like a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Where it begins.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// What it looks like.
    pub what: &'static str,
}

/// `sk-` and one long word. Names of packages and papers begin like this too, in words and hyphens.
static PROVIDER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&shapes::ascii(r"\bsk-[A-Za-z0-9_-]{20,}")).ok());
/// Rounds over a text, at most. What a mask replaced was also what a neighbour was read by; one more round settles nearly
/// every text.
const ROUNDS: usize = 8;
/// What an earlier round left, where nothing is looked for.
static MASK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[masked: [A-Za-z0-9 .-]*\]").ok());

/// The secrets of a text, in their order, none within another. Takes time in proportion to the text.
pub fn find(text: &str) -> Vec<Secret> {
    let mut found = plain(text);
    found.extend(encoded::find(text, |inside| !plain(inside).is_empty() || is_pair(inside)));
    let masks: Vec<_> = MASK.iter().flat_map(|mask| mask.find_iter(text)).map(|mask| mask.range()).collect();
    found.retain(|(start, end, _)| {
        let next = masks.partition_point(|mask| mask.end <= *start);
        masks.get(next).is_none_or(|mask| mask.start >= *end)
    });
    // Of two that begin alike the longer one counts.
    found.sort_by_key(|(start, end, _)| (*start, std::cmp::Reverse(*end)));
    let mut secrets: Vec<Secret> = Vec::with_capacity(found.len());
    for (start, end, what) in found {
        match secrets.last_mut() {
            Some(last) if start < last.end => last.end = last.end.max(end),
            _ => secrets.push(Secret { start, end, what }),
        }
    }
    secrets
}

/// Masks secrets until none is found. A text without one comes back as it was.
pub fn scrub(text: &str) -> Scrubbed {
    let mut scrubbed = Scrubbed { text: text.to_owned(), masked: Vec::new() };
    for _ in 0..ROUNDS {
        let secrets = find(&scrubbed.text);
        if secrets.is_empty() {
            break;
        }
        scrubbed.text = masked(&scrubbed.text, &secrets);
        scrubbed.masked.extend(secrets.iter().map(|secret| secret.what));
    }
    scrubbed
}

/// The text with a mask in place of each secret.
fn masked(text: &str, secrets: &[Secret]) -> String {
    let (mut shown, mut from) = (String::with_capacity(text.len()), 0);
    for secret in secrets {
        shown.push_str(&text[from..secret.start]);
        // Without quotes or backslashes, so that a JSON string stays one.
        shown.push_str(&format!("{MASK_BEGINS}{}]", secret.what));
        from = secret.end;
    }
    shown.push_str(&text[from..]);
    shown
}

/// Secrets that are not wrapped in anything.
fn plain(text: &str) -> Vec<(usize, usize, &'static str)> {
    let mut found: Vec<_> = shapes::WHOLE.find(text).collect();
    found.extend(blocks::find(text));
    found.extend(address::find(text));
    found.extend(assigned::find(text));
    let provider = PROVIDER.iter().flat_map(|shape| shape.find_iter(text));
    let provider = provider.filter(|key| !value::is_wordy(&key.as_str()[3..]));
    found.extend(provider.map(|key| (key.start(), key.end(), "provider key")));
    found
}

/// `user:password`, as it stands in base64 behind `auth` and `Basic`.
fn is_pair(text: &str) -> bool {
    let Some((user, password)) = text.trim().split_once(':') else { return false };
    let name =
        !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.@-".contains(&byte));
    name && password.len() >= 6
        && password.bytes().all(|byte| byte.is_ascii_graphic())
        && !value::is_number(password)
}

#[cfg(test)]
pub(crate) fn patterns() -> bool {
    PROVIDER.is_some() && MASK.is_some()
}
