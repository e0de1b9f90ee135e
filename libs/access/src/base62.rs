//! Letters and digits only, so that a double click takes the whole text.

use crate::random::{NoChance, bytes};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digits that these bytes give. Those that would make some digits likelier than others are left out.
pub(crate) fn digits(bytes: &[u8]) -> impl Iterator<Item = char> {
    let fair = bytes.iter().filter(|byte| **byte < 248);
    fair.map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()]))
}

/// So many digits by chance.
pub(crate) fn random(length: usize) -> Result<String, NoChance> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let more: String = digits(&bytes::<64>()?).take(length - text.len()).collect();
        text.push_str(&more);
    }
    Ok(text)
}

/// The number in six digits, which hold every number of 32 bits.
pub(crate) fn six(mut number: u32) -> String {
    let mut text = [b'0'; 6];
    for place in text.iter_mut().rev() {
        *place = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text.iter().copied().map(char::from).collect()
}

/// It is made of digits only.
pub(crate) fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_digit_is_as_likely_as_every_other() {
        let all: Vec<u8> = (0..=255).collect();
        let mut counts = BTreeMap::new();
        for digit in digits(&all) {
            *counts.entry(digit).or_insert(0) += 1;
        }

        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| *count == 4), "{counts:?}");
    }

    #[test]
    fn numbers_are_written_at_one_length_and_apart() {
        assert_eq!(six(0), "000000");
        assert_eq!(six(61), "00000z");
        assert_eq!(six(62), "000010");
        assert_ne!(six(u32::MAX), six(u32::MAX - 1));
    }
}
