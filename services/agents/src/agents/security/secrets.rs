//! What looks like a secret: known shapes of keys, telling names, and texts too random to be words. Pure; the value
//! itself never leaves this module.

use std::{fmt, sync::LazyLock};

use regex::Regex;

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

/// Shapes that issuers document, so that leaked keys can be found.
const SHAPES: [(&str, &str); 17] = [
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,}\b"),
    ("a GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{50,}\b"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("a Slack token", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    ("a Slack webhook", r"hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+"),
    ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{16,}"),
    ("a key of an LLM provider", r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a PyPI token", r"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("a SendGrid key", r"\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    ("a Vault token", r"\bhvs\.[A-Za-z0-9_-]{20,}"),
    ("a NATS seed", r"\bS[UAONCX][A-Z2-7]{56}\b"),
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY"),
    ("a JSON web token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("an address with a password", r"\b[a-z][a-z0-9+.-]*://[^\s/:@{}$<]*:[^\s/@{}$<]{3,}@"),
];

static PATTERNS: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    // A shape that were not a pattern would be missing here; a test counts them.
    SHAPES.iter().filter_map(|(what, shape)| Some((*what, Regex::new(shape).ok()?))).collect()
});

/// Words in a name that tell what its value is.
const TELLING: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "accesskey",
    "access_key",
    "privatekey",
    "private_key",
    "credential",
    "auth_key",
];
/// Words that say that the value is about a secret and is none.
const ABOUT: [&str; 16] = [
    "file", "path", "dir", "url", "uri", "name", "ttl", "expiry", "length", "size", "count", "limit", "max",
    "id", "issuer", "enabled",
];
/// Values that people write where the real one comes from elsewhere.
const PLACEHOLDERS: [&str; 14] = [
    "changeme",
    "change-me",
    "change_me",
    "example",
    "placeholder",
    "redacted",
    "none",
    "null",
    "true",
    "false",
    "todo",
    "default",
    "disabled",
    "required",
];

/// Bits per character from which a text of mixed characters is more random than words or paths. Random base64 of 20
/// and more characters lies above 4; English and identifiers lie below 3.8 (Shannon 1951; truffleHog uses 4.5 for
/// long texts).
const MIXED_BITS: f64 = 4.2;
/// The same for hexadecimal digits, of at most 4 bits (truffleHog uses 3.0).
const HEX_BITS: f64 = 3.2;

/// Whether a value under a name looks like a secret in plain text.
pub fn suspicious(name: &str, value: &str) -> Option<Suspicion> {
    let value = value.trim().trim_matches(['"', '\'']);
    let found = |what| Some(Suspicion { what, length: value.chars().count() });
    if value.len() < 6 {
        return None;
    }
    if let Some((what, _)) = PATTERNS.iter().find(|(_, pattern)| pattern.is_match(value)) {
        return found(what);
    }
    if is_reference(value) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let parts: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let telling = TELLING.iter().any(|word| name.contains(word) || name.replace('-', "_").contains(word));
    let about = parts.last().is_some_and(|last| ABOUT.contains(last));
    if telling && !about && is_literal(value) {
        return found("a secret by its name");
    }
    if !about && is_random(&name, value) {
        return found("a random key");
    }
    None
}

/// Taken from elsewhere when it is used: `${A}`, `{{ a }}`, `<a>`, `$A`, `vault:…`, `/run/secrets/a`.
fn is_reference(value: &str) -> bool {
    let begins =
        ["${", "{{", "<", "$(", "vault:", "secretref:", "env:", "file:", "/run/secrets/", "/etc/", "{port"];
    let lower = value.to_ascii_lowercase();
    begins.iter().any(|begin| lower.starts_with(begin))
        || value
            .strip_prefix('$')
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// One word that a person or a generator put there, and no placeholder, number, span or path.
fn is_literal(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let placeholder = PLACEHOLDERS.contains(&lower.as_str())
        || lower.chars().all(|c| matches!(c, '*' | 'x' | '.' | '-' | '_'))
        || lower.starts_with("your-")
        || lower.starts_with("your_");
    let plain = value.parse::<f64>().is_ok()
        || value.starts_with('/')
        || value.starts_with("./")
        || value.contains("://");
    let words = value.split_whitespace().count() > 2;
    let span = value.parse::<model::Span>().is_ok();
    !placeholder && !plain && !words && !span
}

/// A piece of the value is too random to be words. Digests, commits, UUIDs and paths are random and no secrets.
fn is_random(name: &str, value: &str) -> bool {
    let harmless = [
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
    if harmless.iter().any(|word| name.contains(word))
        || value.contains("sha256:")
        || value.contains("sha512-")
    {
        return false;
    }
    let pieces =
        value.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-')));
    pieces.filter(|piece| piece.len() >= 20).any(|piece| {
        if is_uuid(piece) || piece.matches('/').count() > 2 || piece.starts_with('/') {
            return false;
        }
        if piece.chars().all(|c| c.is_ascii_hexdigit()) {
            return piece.len() >= 32
                && piece.len() != 40
                && piece.chars().any(|c| c.is_ascii_digit())
                && entropy(piece) >= HEX_BITS;
        }
        // Words joined by - or _ are long and have many letters, but keys mix cases and digits within one word.
        let mixed = |word: &str| {
            word.len() >= 16
                && word.chars().any(|c| c.is_ascii_digit())
                && word.chars().any(|c| c.is_ascii_uppercase())
                && word.chars().any(|c| c.is_ascii_lowercase())
        };
        let long = piece.split(['-', '_']).any(mixed)
            || (mixed(piece) && piece.split(['-', '_']).any(|word| word.len() >= 12));
        long && entropy(piece) >= MIXED_BITS.min((piece.len() as f64).log2() * 0.9)
    })
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// Shannon's entropy in bits per character.
pub(super) fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let all = text.len().max(1) as f64;
    let share = |count: u32| f64::from(count) / all;
    counts.into_iter().filter(|count| *count > 0).map(|count| -share(count) * share(count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_pattern() {
        assert_eq!(PATTERNS.len(), SHAPES.len());
    }

    #[test]
    fn entropy_is_that_of_shannon() {
        assert_eq!(entropy("aaaa"), 0.0);
        assert_eq!(entropy("abcd"), 2.0);
        assert_eq!(entropy(""), 0.0);
    }
}
