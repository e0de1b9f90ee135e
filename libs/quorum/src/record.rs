//! Records with a checksum over their key, their kind and themselves.

use serde::{Serialize, de::DeserializeOwned};

/// The version of the layout, in front of every record.
const FORMAT: u8 = 1;
/// Format and checksum.
const HEAD: usize = 5;

/// Why a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Torn {
    #[error("{length} bytes are no record")]
    Short { length: usize },
    #[error("its format is {found}, this program reads {FORMAT}")]
    Format { found: u8 },
    #[error("its checksum is {found:08x}, its bytes have {expected:08x}")]
    Checksum { found: u32, expected: u32 },
    #[error("it does not read as what it should be: {0}")]
    Content(String),
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    // The key is in the sum: a sound record in a wrong place is a damage too.
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(&[FORMAT]);
    hasher.update(body);
    hasher.finalize()
}

pub(crate) fn encode<T: Serialize>(key: &[u8], value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, value)?;
    let sum = checksum(key, &bytes[HEAD..]);
    bytes[0] = FORMAT;
    bytes[1..HEAD].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, Torn> {
    let Some(([format, sum @ ..], body)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(Torn::Short { length: bytes.len() });
    };
    if *format != FORMAT {
        return Err(Torn::Format { found: *format });
    }
    let (found, expected) = (u32::from_be_bytes(*sum), checksum(key, body));
    if found != expected {
        return Err(Torn::Checksum { found, expected });
    }
    serde_json::from_slice(body).map_err(|error| Torn::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_with_any_byte_changed_is_refused(
            text in ".{0,200}", key in proptest::collection::vec(any::<u8>(), 1..9), at in any::<proptest::sample::Index>(), bit in 0u8..8,
        ) {
            let mut bytes = encode(&key, &text).unwrap();
            prop_assert_eq!(decode::<String>(&key, &bytes), Ok(text));

            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;

            prop_assert!(decode::<String>(&key, &bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(key in any::<[u8; 8]>(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<crate::types::Entry>(&key, &bytes);
        }
    }

    #[test]
    fn a_sound_record_in_a_wrong_place_is_refused() {
        let bytes = encode(b"vote", &7).unwrap();

        assert_eq!(decode::<i32>(b"vote", &bytes), Ok(7));
        assert!(matches!(decode::<i32>(b"purged", &bytes), Err(Torn::Checksum { .. })));
    }
}
