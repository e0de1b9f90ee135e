//! Base64 and numbers as the C2SP formats spell them: one spelling each, all others refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Error, Hash};

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_base64(what: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|error| Error::format(what, format!("{text:?} is not base64: {error}")))
}

pub(crate) fn hash(what: &'static str, text: &str) -> Result<Hash, Error> {
    Hash::read(text).map_err(|why| Error::format(what, why))
}

/// A decimal without sign or leading zeroes.
pub(crate) fn decimal(what: &'static str, text: &str) -> Result<u64, Error> {
    let bad = || Error::format(what, format!("{text:?} is not a number"));
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| bad()) } else { Err(bad()) }
}
