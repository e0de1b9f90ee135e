//! Whether a value of a spec is a secret in plain text. The value itself never leaves this module.

use std::fmt;

use crate::{
    name::{Telling, telling},
    secrets::find,
    value,
};

/// Why a text is suspicious; without the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    what: &'static str,
    length: usize,
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} characters)", self.what, self.length)
    }
}

/// Words in names of values that are random and no secrets.
const HARMLESS: [&str; 12] = [
    "sha",
    "digest",
    "checksum",
    "commit",
    "revision",
    "fingerprint",
    "etag",
    "hash",
    "uuid",
    "nonce",
    "version",
    "build",
];

/// Whether a value under a name looks like a secret in plain text. The name may be empty.
pub fn suspicious(name: &str, value: &str) -> Option<Suspicion> {
    let value = value.trim().trim_matches(['"', '\'']);
    let found = |what| Some(Suspicion { what, length: value.chars().count() });
    if value.len() < 6 {
        return None;
    }
    if let Some(secret) = find(value).first() {
        return found(secret.what);
    }
    // Of a block in a file the line that begins it may be all that is seen.
    if value.contains("-----BEGIN") && value.contains("PRIVATE KEY") {
        return found("private key");
    }
    if value::is_reference(value) || value::is_placeholder(value) {
        return None;
    }
    let told = telling(name);
    if matches!(told, Some(Telling::Password | Telling::Key)) && is_literal(value) {
        return found("secret by its name");
    }
    let lower = name.to_ascii_lowercase();
    let digest = value.contains("sha256:") || value.contains("sha512-");
    if digest || HARMLESS.iter().any(|word| lower.contains(word)) {
        return None;
    }
    pieces(value).any(is_key).then_some(()).and_then(|()| found("random key"))
}

/// Whether a text of any kind holds what has the shape of a secret.
pub fn shaped(text: &str) -> Option<Suspicion> {
    let secret = *find(text).first()?;
    Some(Suspicion { what: secret.what, length: text[secret.start..secret.end].chars().count() })
}

/// One word that a person or a generator put there, and no number, span or sentence.
fn is_literal(value: &str) -> bool {
    let number = value::is_number(value) && !value.bytes().all(|byte| byte.is_ascii_digit());
    !number && value.split_whitespace().count() <= 2
}

fn pieces(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|letter: char| {
            !(letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '=' | '_' | '-'))
        })
        .filter(|piece| piece.len() >= 20)
}

/// A piece is too random to be words. Digests, commits, UUIDs and paths are random and no secrets.
fn is_key(piece: &str) -> bool {
    if is_uuid(piece) || piece.matches('/').count() > 2 || piece.starts_with('/') {
        return false;
    }
    if piece.chars().all(|letter| letter.is_ascii_hexdigit()) {
        return piece.len() >= 32 && piece.len() != 40 && value::is_random(piece);
    }
    // Words joined by - or _ are long and have many letters, but keys mix cases and digits within one word.
    let mixed = |word: &str| {
        word.len() >= 16
            && word.bytes().any(|byte| byte.is_ascii_digit())
            && word.bytes().any(|byte| byte.is_ascii_uppercase())
            && word.bytes().any(|byte| byte.is_ascii_lowercase())
    };
    let long = piece.split(['-', '_']).any(mixed)
        || (mixed(piece) && piece.split(['-', '_']).any(|word| word.len() >= 12));
    long && value::is_random(piece)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-')
}
