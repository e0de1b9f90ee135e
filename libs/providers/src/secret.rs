//! Keys that cannot be printed.

use std::fmt;

use zeroize::Zeroizing;

/// What stands where a key would.
const REDACTED: &str = "[secret]";

/// A key. It has no text form but [`Secret::expose`], is serialized as `[secret]`, and its memory is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Holds this key. Blanks and line ends around it (files end with one) are not part of it.
    pub fn new(key: impl Into<String>) -> Secret {
        let whole = Zeroizing::new(key.into());
        Secret(Zeroizing::new(whole.trim().to_owned()))
    }

    /// The key itself, to be sent and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no key in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text without the key: vendors like to repeat it in their errors.
    pub fn scrub(&self, text: &str) -> String {
        // A very short "key" (a test's) would riddle every text.
        if self.0.len() < 6 { text.to_owned() } else { text.replace(self.0.as_str(), REDACTED) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_no_text_form() {
        let key = Secret::new("sk-very-secret\n");

        let forms = format!("{key} {key:?} {key:#?} {}", serde_json::to_string(&key).unwrap());

        assert!(!forms.contains("very"), "{forms}");
        assert_eq!(key.expose(), "sk-very-secret");
        assert_eq!(key.scrub("bad key sk-very-secret."), "bad key [secret].");
    }
}
