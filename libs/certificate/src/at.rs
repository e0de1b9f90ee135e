//! How the fields of a certificate are read.

use serde::{Deserialize, Deserializer};

/// Reads a field that may be `null` but must be there: what is absent must not pass for what was denied.
pub(crate) fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads a field that may be absent and is never `null`: there is one way to say nothing.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
