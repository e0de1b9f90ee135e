//! Codes of an authenticator app (RFC 6238): SHA-1, six digits, thirty seconds, one step before and after.

use model::Timestamp;
use totp_rs::{Algorithm, Builder, Totp};

use crate::random::{NoChance, bytes};

/// What the app and the engine share. To be kept where it cannot be read.
pub struct TotpSecret([u8; 20]);

impl TotpSecret {
    /// A new one.
    pub fn new() -> Result<TotpSecret, NoChance> {
        bytes().map(TotpSecret)
    }

    /// From where it was kept.
    pub fn from_bytes(bytes: [u8; 20]) -> TotpSecret {
        TotpSecret(bytes)
    }

    /// To where it is kept.
    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// What the app reads, as an address that is shown as a picture or typed: `otpauth://totp/…`.
    pub fn address(&self, organisation: &model::Token, name: &model::principal::Name) -> String {
        let secret = totp_rs::Secret::new(Box::new(self.0)).to_base32();
        let name: String = name.as_str().bytes().map(escaped).collect();
        format!("otpauth://totp/CODE%20{organisation}:{name}?secret={secret}&issuer=CODE%20{organisation}")
    }

    /// The step that a code belongs to, when it is later than the last one that was used: a code is good once.
    pub fn check(&self, typed: &str, now: Timestamp, last: Option<u64>) -> Option<u64> {
        let seconds = u64::try_from(now.0.div_euclid(1000)).ok()?;
        let is_code = typed.len() == 6 && typed.bytes().all(|byte| byte.is_ascii_digit());
        let step = is_code.then(|| self.totp(6))??.check(typed, seconds)?;
        last.is_none_or(|last| step > last).then_some(step)
    }

    fn totp(&self, digits: u8) -> Option<Totp> {
        let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(digits).with_skew(1);
        builder.with_step_duration(30).with_secret(self.0.to_vec()).build().ok()
    }
}

fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix B of RFC 6238.
    const SECRET: &[u8; 20] = b"12345678901234567890";
    const VECTORS: [(u64, &str); 6] = [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ];

    fn at(seconds: u64) -> Timestamp {
        Timestamp(i64::try_from(seconds).unwrap() * 1000)
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = TotpSecret::from_bytes(*SECRET);
        for (seconds, code) in VECTORS {
            assert_eq!(secret.totp(8).unwrap().check(code, seconds), Some(seconds / 30));
            // Six digits are the last six of eight.
            assert_eq!(secret.check(&code[2..], at(seconds), None), Some(seconds / 30));
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_step_before_and_after() {
        let secret = TotpSecret::from_bytes(*SECRET);
        let (step, code) = (1_111_111_109 / 30, "081804");
        let check = |seconds: u64, last| secret.check(code, at(seconds), last);

        assert_eq!(check(step * 30, None), Some(step));
        assert_eq!(check(step * 30, Some(step - 1)), Some(step));
        assert_eq!(check(step * 30, Some(step)), None, "used");
        assert_eq!(check(step * 30, Some(step + 5)), None, "a later one was used");
        assert_eq!(check((step + 1) * 30 + 29, None), Some(step));
        assert_eq!(check((step + 2) * 30, None), None, "too old");
        assert_eq!(check((step - 1) * 30, None), Some(step));
        assert_eq!(check((step - 1) * 30 - 1, None), None, "too early");
    }

    #[test]
    fn what_is_no_code_is_none() {
        let secret = TotpSecret::from_bytes(*SECRET);
        for bad in ["", "081 804", "81804", "0081804", "+81804", "08180４", "081804 "] {
            assert_eq!(secret.check(bad, at(1_111_111_109), None), None, "{bad:?}");
        }
        assert_eq!(secret.check("081804", Timestamp(-1), None), None);
    }

    #[test]
    fn the_address_holds_what_the_app_needs() {
        let secret = TotpSecret::from_bytes(*SECRET);
        let address = secret.address(&"acme".parse().unwrap(), &"ann lee?x=1".parse().unwrap());

        assert_eq!(
            address,
            "otpauth://totp/CODE%20acme:ann%20lee%3Fx%3D1?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=CODE%20acme"
        );
    }
}
