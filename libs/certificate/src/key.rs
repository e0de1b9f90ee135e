//! Public keys and the two kinds of signatures.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ML_DSA_65, ParsedPublicKey, VerificationAlgorithm};
use pkcs8::der::pem;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// The label of a public key in PEM.
const LABEL: &str = "PUBLIC KEY";

/// A kind of signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256; signatures in ASN.1. Every tool of the trade checks it.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256,
    /// ML-DSA-65 of FIPS 204, pure, without a context. It holds when quantum computers break the other.
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
}

impl Algorithm {
    /// The name in files and on screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::EcdsaP256 => "ecdsa-p256-sha256",
            Algorithm::MlDsa65 => "ml-dsa-65",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Algorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Algorithm::MlDsa65 => &ML_DSA_65,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A public key, ready to verify.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The SubjectPublicKeyInfo.
    der: Vec<u8>,
    fingerprint: [u8; 32],
    id: String,
    parsed: ParsedPublicKey,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.id)
    }
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo. A key of another kind is refused.
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<PublicKey, Error> {
        let fingerprint: [u8; 32] = Sha256::digest(der).into();
        let id = hex::encode(fingerprint);
        let refused = |why: &str| Error::Key { key: id.clone(), why: why.to_owned() };
        // The library also takes a bare point; the id must be over one encoding only.
        let info = pkcs8::spki::SubjectPublicKeyInfoRef::try_from(der)
            .map_err(|_| refused("is no SubjectPublicKeyInfo"))?;
        let expected = match algorithm {
            Algorithm::EcdsaP256 => "1.2.840.10045.2.1",
            Algorithm::MlDsa65 => "2.16.840.1.101.3.4.3.18",
        };
        if info.algorithm.oid.to_string() != expected {
            return Err(refused("is a key of another kind"));
        }
        let parsed = ParsedPublicKey::new(algorithm.verification(), der)
            .map_err(|_| Error::Key { key: id.clone(), why: format!("is no {algorithm} key") })?;
        Ok(PublicKey { algorithm, der: der.to_vec(), fingerprint, id, parsed })
    }

    /// From PEM.
    pub fn from_pem(algorithm: Algorithm, text: &str) -> Result<PublicKey, Error> {
        let unreadable = |why: String| Error::Key { key: "(unread)".to_owned(), why };
        let (label, der) =
            pem::decode_vec(text.as_bytes()).map_err(|error| unreadable(format!("is no PEM: {error}")))?;
        if label != LABEL {
            return Err(unreadable(format!("is a {label}, not a {LABEL}")));
        }
        PublicKey::from_der(algorithm, &der)
    }

    /// As PEM, the form that `openssl`, `cosign` and `slsa-verifier` read.
    pub fn pem(&self) -> String {
        pem::encode_string(LABEL, pem::LineEnding::LF, &self.der).unwrap_or_default()
    }

    /// Its kind.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What it is known by: the SHA-256 of its SubjectPublicKeyInfo, 64 hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same as bytes.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The SubjectPublicKeyInfo.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether this key signed the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}
