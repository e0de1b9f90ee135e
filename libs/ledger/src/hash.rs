//! A hash, and how it is spelled.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// A SHA-256 hash of a leaf, a node or a tree. Shown in base64, as in checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Hash::read(&text).map_err(|why| serde::de::Error::custom(format_args!("hash: {why}")))
    }
}

impl Hash {
    /// From its base64, or why it is none.
    pub(crate) fn read(text: &str) -> Result<Hash, String> {
        let bytes = STANDARD.decode(text).map_err(|error| format!("{text:?} is not base64: {error}"))?;
        let bytes = bytes.try_into().map_err(|_| format!("{text:?} is not 32 bytes"))?;
        Ok(Hash(bytes))
    }
}
