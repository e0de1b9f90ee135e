//! Instants and spans as they stand in documents: milliseconds since 1970, and texts such as `30s`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This instant and `span` later.
    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(span.as_millis().min(i64::MAX as u128) as i64))
    }

    /// How long after `earlier` this is; zero when it is not after it (clocks jump).
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

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
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<At, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let wrong = || {
            serde::de::Error::custom(format!("{text:?} is not an instant such as 2026-11-21T05:51:00.142Z"))
        };
        let at = text.parse::<jiff::Timestamp>().map_err(|_| wrong())?;
        let at = At(Timestamp(at.as_millisecond()));
        if at.to_string() == text { Ok(at) } else { Err(wrong()) }
    }
}

/// A span of time, written `250ms`, `30s`, `5m`, `2h` or `1d` in documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }
    /// A span of milliseconds.
    pub const fn millis(millis: u64) -> Span {
        Span(Duration::from_millis(millis))
    }
}

/// The text is not a span of time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a span of time: write a number and a unit, such as 250ms, 30s, 5m or 2h")]
pub struct BadSpan(String);

impl FromStr for Span {
    type Err = BadSpan;
    fn from_str(text: &str) -> Result<Self, BadSpan> {
        humantime::parse_duration(text).map(Span).map_err(|_| BadSpan(text.to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^([0-9]+(ns|us|ms|s|m|h|d))+$", "examples": ["250ms", "30s", "5m"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_back_as_written() {
        for text in ["250ms", "30s", "5m", "1h30m"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert!("30".parse::<Span>().is_err());
        assert!("-1s".parse::<Span>().is_err());
    }

    #[test]
    fn a_clock_that_jumps_back_gives_no_negative_span() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
