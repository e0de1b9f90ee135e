//! SHA-256 digests over canonical JSON: what a plan, a spec or a snapshot is known by.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, written `sha256:<64 hex digits>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The text is not a digest.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a digest: expected sha256: and 64 hex digits")]
pub struct BadDigest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The digest of a value's canonical JSON: object keys sorted, no blanks. Numbers in our documents are
    /// integers or short decimals, for which this equals RFC 8785.
    pub fn of<T: Serialize>(value: &T) -> Digest {
        Digest::of_bytes(&canonical_json(value))
    }

    /// The first 12 hex digits: enough to tell revisions apart in names and on screen.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

/// The bytes a digest is taken over. A value that cannot be JSON (a map with non-text keys) has no digest
/// and yields the bytes of `null`; none of our types is such.
pub fn canonical_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut value = serde_json::to_value(value).unwrap_or(serde_json::Value::Null);
    // Whether objects keep their own order hangs on a feature that any crate in the build may switch on.
    value.sort_all_objects();
    serde_json::to_vec(&value).unwrap_or_default()
}

/// Whether the bytes are one JSON value as [`canonical_json`] writes it: no blanks, and in every object the keys sorted,
/// each once, so that two readers cannot take two things from one text. How numbers and texts are spelled is not looked
/// at. The reason when not.
pub fn check_canonical(bytes: &[u8]) -> Result<(), String> {
    let (mut within, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            b'"' if !escaped => within = !within,
            b' ' | b'\t' | b'\n' | b'\r' if !within => {
                return Err("it has blanks between its values".to_owned());
            }
            _ => {}
        }
        escaped = within && *byte == b'\\' && !escaped;
    }
    serde_json::from_slice::<Sorted>(bytes).map(drop).map_err(|error| error.to_string())
}

/// Any JSON value in whose objects the keys grow.
struct Sorted;

impl<'de> Deserialize<'de> for Sorted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Sorted, D::Error> {
        deserializer.deserialize_any(Sorted)
    }
}

impl<'de> serde::de::Visitor<'de> for Sorted {
    type Value = Sorted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Sorted, E> {
        Ok(Sorted)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Sorted, E> {
        Ok(Sorted)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Sorted, E> {
        Ok(Sorted)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Sorted, E> {
        Ok(Sorted)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Sorted, E> {
        Ok(Sorted)
    }
    fn visit_str<E>(self, _: &str) -> Result<Sorted, E> {
        Ok(Sorted)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Sorted, A::Error> {
        while elements.next_element::<Sorted>()?.is_some() {}
        Ok(Sorted)
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut fields: A) -> Result<Sorted, A::Error> {
        let mut last: Option<String> = None;
        while let Some(key) = fields.next_key::<String>()? {
            if last.as_ref() == Some(&key) {
                return Err(serde::de::Error::custom(format_args!("the key {key:?} stands there twice")));
            }
            if last.as_ref().is_some_and(|last| *last > key) {
                return Err(serde::de::Error::custom(format_args!("the key {key:?} is not in order")));
            }
            fields.next_value::<Sorted>()?;
            last = Some(key);
        }
        Ok(Sorted)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.short())
    }
}

impl FromStr for Digest {
    type Err = BadDigest;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadDigest(text.to_owned());
        let bytes = hex::decode(text.strip_prefix("sha256:").ok_or_else(bad)?).map_err(|_| bad())?;
        Ok(Digest(bytes.try_into().map_err(|_| bad())?))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_keys() {
        let one: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":[2,{"d":4,"c":3}]}"#).unwrap();
        let two: serde_json::Value = serde_json::from_str(r#"{"b":[2,{"c":3,"d":4}],"a":1}"#).unwrap();
        assert_eq!(Digest::of(&one), Digest::of(&two));
    }

    #[test]
    fn what_is_written_canonically_is_canonical() {
        let value =
            serde_json::json!({"b": [1, -2, 0.5, null, true, {"z": "a \" b\\", "é": {}}], "a": "{ }"});
        assert_eq!(check_canonical(&canonical_json(&value)), Ok(()));
    }

    #[test]
    fn a_text_that_can_be_read_in_two_ways_is_not_canonical() {
        for (text, why) in [
            (r#"{"a":1,"a":2}"#, "twice"),
            (r#"{"x":[{"a":1,"b":2,"a":3}]}"#, "not in order"),
            (r#"{"x":[{"a":1,"\u0061":3}]}"#, "twice"),
            (r#"{"b":1,"a":2}"#, "not in order"),
            (r#"{"a": 1}"#, "blanks"),
            (r#"{"a":"\\" }"#, "blanks"),
            ("{\"a\":1}\n", "blanks"),
            (r#"{"a":1}{"a":1}"#, "trailing"),
            ("{\"a\":1", "EOF"),
            ("", "EOF"),
        ] {
            let found = check_canonical(text.as_bytes()).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_digest_survives_text() {
        let digest = Digest::of_bytes(b"abc");
        assert_eq!(
            digest.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }
}
