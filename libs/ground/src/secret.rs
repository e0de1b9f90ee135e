//! A text that is never shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// What stands where a secret would.
const MASK: &str = "***";
/// A shorter secret (a test's) is not searched for in texts: it would riddle every one of them.
const SHORTEST_SCRUBBED: usize = 6;

/// A key, a passphrase, a token. `Debug`, `Display` and `Serialize` show a mask; the text itself must be asked for, and
/// its memory is wiped when it is dropped. The mask is refused as a value, so that a printed configuration pasted back
/// fails instead of authenticating with asterisks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Holds exactly this text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// Holds this text without the line ends behind it, which an editor leaves in a file.
    pub fn line(text: impl Into<String>) -> Secret {
        let whole = Zeroizing::new(text.into());
        Secret::new(whole.trim_end_matches(['\r', '\n']))
    }

    /// Holds this text without blanks and line ends around it, for what never has any, such as a vendor's key.
    pub fn trimmed(text: impl Into<String>) -> Secret {
        let whole = Zeroizing::new(text.into());
        Secret::new(whole.trim())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with a mask wherever the secret stands in it: neighbours like to repeat keys in their errors. A secret
    /// of less than 6 bytes is not searched for.
    pub fn scrub(&self, text: &str) -> String {
        if self.0.len() < SHORTEST_SCRUBBED { text.to_owned() } else { text.replace(self.reveal(), MASK) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(none)" } else { MASK })
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { MASK })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let secret = Secret::new(String::deserialize(deserializer)?);
        if secret.reveal() == MASK {
            return Err(serde::de::Error::custom("*** is the mask of a secret, not the secret"));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_no_text_form() {
        let key = Secret::new("sk-very-secret");

        let forms = format!("{key} {key:?} {key:#?} {}", serde_json::to_string(&key).unwrap());

        assert_eq!(forms, "*** *** *** \"***\"");
        assert_eq!(key.reveal(), "sk-very-secret");
        assert_eq!(key.scrub("bad key sk-very-secret."), "bad key ***.");
        assert_eq!(Secret::new("a").scrub("a bad key"), "a bad key");
    }

    #[test]
    fn only_what_surely_is_no_part_of_it_is_cut_off() {
        assert_eq!(Secret::new(" a\n").reveal(), " a\n");
        assert_eq!(Secret::line(" a \r\n\n").reveal(), " a ");
        assert_eq!(Secret::trimmed(" a \n").reveal(), "a");
    }

    #[test]
    fn the_mask_is_no_secret() {
        let pasted = serde_json::from_str::<Secret>("\"***\"");

        assert!(pasted.unwrap_err().to_string().contains("mask of a secret"));
        assert_eq!(serde_json::from_str::<Secret>("\"open\"").unwrap(), Secret::new("open"));
    }
}
