//! Public keys of SSH, and what they say to a signature. Ed25519 and ECDSA P-256, also in hardware (`sk-…`); others are
//! refused by name (docs/decisions/0017-approvals-are-signatures.md).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::parts::Parts;

/// Longest key in bytes; those we know have at most a few hundred.
const MOST: usize = 2048;

const ED: &str = "ssh-ed25519";
const P256: &str = "ecdsa-sha2-nistp256";
const SK_ED: &str = "sk-ssh-ed25519@openssh.com";
const SK_P256: &str = "sk-ecdsa-sha2-nistp256@openssh.com";

/// Flags of a hardware key: it was touched; it asked for its PIN or a finger.
const TOUCHED: u8 = 0x01;
const VERIFIED: u8 = 0x04;

/// The bytes are no key that may approve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Of a kind that is not taken.
    #[error(
        "keys of kind {0} are not taken: use ssh-ed25519, ecdsa-sha2-nistp256 or a hardware key (ssh-keygen -t ed25519-sk)"
    )]
    Kind(String),
    /// Not what its kind says.
    #[error("is no key of kind {0}: {1}")]
    Malformed(String, &'static str),
    /// Not even a kind can be read.
    #[error("is no SSH key: {0}")]
    Unreadable(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Curve {
    Ed25519,
    P256,
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    blob: Vec<u8>,
    curve: Curve,
    point: Vec<u8>,
    /// Of a hardware key: for which application it was made.
    application: Option<String>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.kind(), self.fingerprint())
    }
}

impl Key {
    /// From its bytes.
    ///
    /// # Errors
    /// [`BadKey`] when it is none, has more after its end, or is of a kind that is not taken.
    pub fn from_blob(blob: &[u8]) -> Result<Key, BadKey> {
        if blob.len() > MOST {
            return Err(BadKey::Unreadable("it has more than 2048 bytes"));
        }
        let mut parts = Parts::new(blob);
        let kind = parts.text().ok_or(BadKey::Unreadable("it does not begin with its kind"))?;
        let (curve, hardware) = match kind {
            ED => (Curve::Ed25519, false),
            P256 => (Curve::P256, false),
            SK_ED => (Curve::Ed25519, true),
            SK_P256 => (Curve::P256, true),
            other if other.len() <= 60 && other.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(BadKey::Kind(other.to_owned()));
            }
            _ => return Err(BadKey::Unreadable("its kind is no word")),
        };
        let wrong = |why| BadKey::Malformed(kind.to_owned(), why);
        if curve == Curve::P256 && parts.text() != Some("nistp256") {
            return Err(wrong("it is not of curve nistp256"));
        }
        let point = parts.part().ok_or_else(|| wrong("it is cut off"))?.to_vec();
        let sound = match curve {
            Curve::Ed25519 => point.len() == 32,
            Curve::P256 => point.len() == 65 && point.first() == Some(&4),
        };
        if !sound {
            return Err(wrong("its point has the wrong length"));
        }
        let application = match hardware {
            true => Some(parts.text().ok_or_else(|| wrong("it names no application"))?.to_owned()),
            false => None,
        };
        if !parts.is_done() {
            return Err(wrong("bytes follow after its end"));
        }
        Ok(Key { blob: blob.to_vec(), curve, point, application })
    }

    /// From a word of a file: base64.
    ///
    /// # Errors
    /// [`BadKey`], as [`Key::from_blob`].
    pub fn from_base64(text: &str) -> Result<Key, BadKey> {
        Key::from_blob(&STANDARD.decode(text).map_err(|_| BadKey::Unreadable("it is no standard base64"))?)
    }

    /// Its bytes.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its bytes in base64, as files hold it.
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.blob)
    }

    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match (self.curve, self.application.is_some()) {
            (Curve::Ed25519, false) => ED,
            (Curve::P256, false) => P256,
            (Curve::Ed25519, true) => SK_ED,
            (Curve::P256, true) => SK_P256,
        }
    }

    /// What `ssh-keygen -l` prints.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }

    /// Whether `signature`, in the encoding of SSH, is of this key over `message`. A hardware key must have been touched,
    /// and with `verified` have asked for its PIN or a finger. The reason when not.
    pub(crate) fn verifies(
        &self,
        message: &[u8],
        signature: &[u8],
        verified: bool,
    ) -> Result<(), &'static str> {
        const CUT: &str = "the signature is cut off";
        let mut parts = Parts::new(signature);
        if parts.text() != Some(self.kind()) {
            return Err("the signature is of another kind than the key");
        }
        let raw = parts.part().ok_or(CUT)?;
        let mut over = message.to_vec();
        if let Some(application) = &self.application {
            let rest = parts.take(5).ok_or(CUT)?;
            let flags = rest.first().copied().unwrap_or_default();
            if flags & TOUCHED == 0 {
                return Err("the hardware key was not touched for it (made with no-touch-required?)");
            }
            if verified && flags & VERIFIED == 0 {
                return Err(
                    "the hardware key did not ask for its PIN or a finger, and verified = true wants it: make one with \
                            ssh-keygen -t ed25519-sk -O verify-required",
                );
            }
            over = Sha256::digest(application.as_bytes()).to_vec();
            over.extend_from_slice(rest);
            over.extend_from_slice(&Sha256::digest(message));
        }
        if !parts.is_done() {
            return Err("bytes follow after the signature's end");
        }
        let holds = match self.curve {
            Curve::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.point).verify(&over, raw).is_ok(),
            Curve::P256 => {
                let fixed = fixed(raw).ok_or("the signature is no pair of numbers")?;
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point).verify(&over, &fixed).is_ok()
            }
        };
        if holds { Ok(()) } else { Err("the signature does not fit the statement and the key") }
    }
}

/// What `ssh-keygen -l` prints for the key of these bytes, of whatever kind it is.
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// Two numbers in the encoding of SSH as two times 32 bytes.
fn fixed(raw: &[u8]) -> Option<[u8; 64]> {
    let mut parts = Parts::new(raw);
    let mut fixed = [0_u8; 64];
    for half in fixed.chunks_exact_mut(32) {
        let number = parts.part()?;
        // A leading zero only where the number would else be negative.
        let digits = match number {
            [0, second, ..] if *second >= 0x80 => number.get(1..)?,
            [first, ..] if *first > 0 && *first < 0x80 => number,
            _ => return None,
        };
        let place = 32_usize.checked_sub(digits.len())?;
        half.get_mut(place..)?.copy_from_slice(digits);
    }
    parts.is_done().then_some(fixed)
}
