//! From bytes to a value, within bounds.

use serde_json::Value;
use spec::Bounds;
use thiserror::Error;

/// Largest document in bytes that is compared.
pub const BYTES: usize = 16 << 20;

/// Most values that a YAML document may hold, aliases included.
const NODES: usize = 2_000_000;
/// Deepest nesting, which is also where the reader of JSON stops.
const DEPTH: usize = 120;

/// Why there is no document.
#[derive(Debug, Error)]
pub enum Unread {
    /// Longer than [`BYTES`].
    #[error("it has {0} bytes, {BYTES} are compared at most")]
    TooLarge(usize),
    /// Not text at all.
    #[error("it is not UTF-8 text: byte {0}")]
    NotText(usize),
    /// Text that is neither JSON nor YAML.
    #[error("it is neither JSON nor YAML: {0}")]
    NotRead(String),
    /// Something else than an API's description.
    #[error("it is no OpenAPI document: it has neither `openapi` nor `swagger` nor `paths`")]
    NotOpenApi,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Value, Unread> {
    if bytes.len() > BYTES {
        return Err(Unread::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Unread::NotText(error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = text.trim_start().starts_with('{');
    let broken = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error.to_string(),
    };
    // YAML takes most of what JSON is; what looks like JSON is named by the complaint about JSON.
    let bounds = Bounds { bytes: BYTES, expanded: 2 * BYTES, nodes: NODES, depth: DEPTH };
    spec::value(text, bounds).map_err(|complaint| Unread::NotRead(if is_json { broken } else { complaint }))
}
