//! Secrets in base64: what is one when decoded, and the data of a Kubernetes secret.

use std::sync::LazyLock;

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use regex::Regex;

type Found = (usize, usize, &'static str);

const WHAT: &str = "secret in base64";
/// Longest run of base64 that is decoded, in bytes.
const LONGEST: usize = 16 * 1024;

static RUN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[A-Za-z0-9+/_-]{16,}={0,2}").ok());
static SECRET: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?i)\bkind\\*["']?[ \t]*:[ \t]*\\*["']?secret\b"#).ok());
static DATA: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?:\n[ \t]+|\\n[ \t]+|[{,][ \t]*)\\*["']?[A-Za-z0-9_.-]+\\*["']?[ \t]*:[ \t]*\\*["']?([A-Za-z0-9+/]{8,}={0,2})\\*["']?[ \t]*(?:\r?\n|\\n|[,}]|$)"#).ok()
});

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

/// Runs of base64 in which `inner` finds a secret.
pub(crate) fn find(text: &str, inner: impl Fn(&str) -> bool) -> Vec<Found> {
    let runs = RUN.iter().flat_map(|pattern| pattern.find_iter(text));
    let mut found: Vec<Found> = runs
        .filter(|run| run.len() <= LONGEST)
        .filter(|run| decoded(run.as_str()).is_some_and(|text| inner(&text)))
        .map(|run| (run.start(), run.end(), WHAT))
        .collect();
    if let Some(kind) = SECRET.as_ref().and_then(|pattern| pattern.find(text)) {
        found.extend(data(text, kind.start()));
    }
    found
}

/// The text in a run, when it is one that can be read.
fn decoded(run: &str) -> Option<String> {
    let engine = if run.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let text = String::from_utf8(engine.decode(run).ok()?).ok()?;
    text.chars().all(|letter| !letter.is_control() || letter.is_ascii_whitespace()).then_some(text)
}

/// The values below `data` or `stringData` of a document that is a secret.
fn data(text: &str, kind: usize) -> Vec<Found> {
    let begin = text[..kind].rfind("\n---").unwrap_or(0);
    let end = text[kind..].find("\n---").map_or(text.len(), |end| kind + end);
    let document = &text[begin..end];
    let (mut found, mut from) =
        (Vec::new(), document.find("data").or_else(|| document.find("Data")).unwrap_or(document.len()));
    while let Some(value) =
        DATA.as_ref().and_then(|pattern| pattern.captures_at(document, from)).and_then(|it| it.get(1))
    {
        from = value.end();
        if decoded(value.as_str()).is_some() && value.as_str().len() % 4 == 0 {
            found.push((begin + value.start(), begin + value.end(), WHAT));
        }
    }
    found
}

#[cfg(test)]
pub(crate) fn patterns() -> bool {
    RUN.is_some() && SECRET.is_some() && DATA.is_some()
}
