//! Recovery codes: for those who lost their second factor. Each is good once.

use ground::Secret;
use model::Digest;

use crate::random::{NoChance, bytes};

/// How many are made at once.
pub const CODES: usize = 10;

/// No letters that look like others.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// New codes, which are shown once.
pub struct RecoveryCodes(Vec<Secret>);

impl RecoveryCodes {
    /// Ten codes of 80 bits.
    pub fn new() -> Result<RecoveryCodes, NoChance> {
        let mut codes = Vec::with_capacity(CODES);
        for _ in 0..CODES {
            let letters: Vec<char> =
                bytes::<16>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
            let parts: Vec<String> = letters.chunks(4).map(|part| part.iter().collect()).collect();
            codes.push(Secret::new(parts.join("-")));
        }
        Ok(RecoveryCodes(codes))
    }

    /// The codes.
    pub fn texts(&self) -> &[Secret] {
        &self.0
    }

    /// What is kept of them.
    pub fn digests(&self) -> Vec<Digest> {
        self.0.iter().map(|code| digest(code.reveal())).collect()
    }
}

/// What is kept of a code, however it is typed: large or small, with or without what divides it.
pub(crate) fn digest(typed: &str) -> Digest {
    let plain: String =
        typed.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    Digest::of_bytes(format!("recovery {plain}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_apart_and_known_again_however_they_are_typed() {
        let codes = RecoveryCodes::new().unwrap();
        let digests = codes.digests();

        assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), CODES);
        let text = codes.texts()[3].reveal();
        assert_eq!(text.len(), 19);
        for typed in [text.to_uppercase(), text.replace('-', ""), text.replace('-', " ")] {
            assert_eq!(digest(&typed), digests[3]);
        }
        assert_ne!(digest(&text[1..]), digests[3]);
    }
}
