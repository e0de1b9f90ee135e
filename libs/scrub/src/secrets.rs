//! What looks like a secret: shapes that issuers document, and values behind telling names.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What was made of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// The text with masks.
    pub text: String,
    /// What was masked, one entry per place.
    pub masked: Vec<&'static str>,
}

/// Shapes whose whole match is the secret.
const SHAPES: [(&str, &str); 18] = [
    // The block may stand in a JSON string, where its lines end with an escaped n.
    (
        "private key",
        r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[A-Za-z0-9+/=\s\\,:-]*(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----)?",
    ),
    ("AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("GitHub token", r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,}\b"),
    ("GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{50,}\b"),
    ("GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("Slack token", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    ("Slack webhook", r"hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+"),
    ("Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{16,}"),
    ("provider key", r"\bsk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,}"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("PyPI token", r"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("SendGrid key", r"\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    ("Vault token", r"\bhvs\.[A-Za-z0-9_-]{20,}"),
    ("NATS seed", r"\bS[UAONCX][A-Z2-7]{56}\b"),
    ("age key", r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    ("JSON web token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("Azure connection key", r"AccountKey=[A-Za-z0-9+/=]{40,}"),
];

/// Shapes whose second group is the secret; the first one stays.
const BEHIND: [(&str, &str); 3] = [
    ("password in an address", r#"(\b[a-z][a-z0-9+.-]*://[^\s/:@{}$<"']*:)([^\s/@{}$<"']{3,})"#),
    ("bearer token", r"(?i)(\b(?:bearer|basic)\s+)([A-Za-z0-9._~+/=-]{16,})"),
    (
        "value of a telling name",
        r#"(?i)((?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|auth[_-]?key)\\?["']?\s*[:=]\s*\\?["']?)([^\s"'\\,;{}\[\]()]{6,})"#,
    ),
];

/// How a value begins that is taken from elsewhere when it is used.
const REFERENCES: [&str; 9] = ["$", "{{", "<", "vault:", "secretref:", "env:", "file:", "/", "[masked"];

static WHOLE: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| compiled(&SHAPES));
static TAIL: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| compiled(&BEHIND));

/// A shape that were not a pattern would be missing; a test counts them.
fn compiled(shapes: &[(&'static str, &str)]) -> Vec<(&'static str, Regex)> {
    shapes.iter().filter_map(|(what, shape)| Some((*what, Regex::new(shape).ok()?))).collect()
}

/// Masks secrets. A text without one comes back as it was.
pub fn scrub(text: &str) -> Scrubbed {
    let mut masked = Vec::new();
    let mut text = text.to_owned();
    for (what, shape) in WHOLE.iter() {
        if !shape.is_match(&text) {
            continue;
        }
        text = shape
            .replace_all(&text, |_: &Captures<'_>| {
                masked.push(*what);
                mask(what)
            })
            .into_owned();
    }
    for (what, shape) in TAIL.iter() {
        if !shape.is_match(&text) {
            continue;
        }
        text = shape
            .replace_all(&text, |found: &Captures<'_>| {
                if is_reference(&found[2]) {
                    return found[0].to_owned();
                }
                masked.push(*what);
                format!("{}{}", &found[1], mask(what))
            })
            .into_owned();
    }
    Scrubbed { text, masked }
}

/// Without quotes or backslashes, so that a JSON string stays one.
fn mask(what: &str) -> String {
    format!("[masked: {what}]")
}

fn is_reference(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    REFERENCES.iter().any(|begin| lower.starts_with(begin))
        || value.chars().all(|letter| matches!(letter, '*' | 'x' | 'X' | '.' | '-' | '_'))
}

#[cfg(test)]
pub(crate) fn shapes() -> (usize, usize) {
    (WHOLE.len(), TAIL.len())
}

#[cfg(test)]
pub(crate) const NAMED: (usize, usize) = (SHAPES.len(), BEHIND.len());
