//! Instants as they stand in a certificate: RFC 3339 with milliseconds, in UTC.

use std::{borrow::Cow, fmt};

use model::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, written `2026-11-21T05:51:00.142Z`. No other spelling of it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At(pub Timestamp);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Timestamp> for At {
    fn from(at: Timestamp) -> At {
        At(at)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<At, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let wrong = || {
            serde::de::Error::custom(format!("{text:?} is not an instant such as 2026-11-21T05:51:00.142Z"))
        };
        let at = text.parse::<jiff::Timestamp>().map_err(|_| wrong())?;
        let at = At(Timestamp(at.as_millisecond()));
        if at.to_string() == text { Ok(at) } else { Err(wrong()) }
    }
}

/// Reads a field that may be `null` but must be there: what is absent must not pass for what was denied.
pub(crate) fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}
