//! DSSE envelopes: bytes, what they are, and signatures over both (<https://github.com/secure-systems-lab/dsse>).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::Digest;
use serde::{Deserialize, Serialize};

use crate::{Error, Signer};

/// The payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Bytes with their signatures. Fields are in the order in which the envelope's digest is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// The signed bytes, in standard base64.
    pub payload: String,
    /// What they are.
    pub payload_type: String,
    /// The signatures.
    pub signatures: Vec<Signature>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The key's id: 64 hex digits.
    pub keyid: String,
    /// The signature, in standard base64.
    pub sig: String,
}

/// What is signed: the "pre-authentication encoding" of type and bytes.
pub fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    text.extend_from_slice(payload);
    text
}

impl Envelope {
    /// Signs the bytes with every signer, in order.
    pub async fn sign(payload: &[u8], signers: &[&dyn Signer]) -> Result<Envelope, Error> {
        let message = encoding(IN_TOTO, payload);
        let mut signatures = Vec::new();
        for signer in signers {
            let sig = STANDARD.encode(signer.sign(&message).await?);
            signatures.push(Signature { keyid: signer.key().id().to_owned(), sig });
        }
        Ok(Envelope { payload: STANDARD.encode(payload), payload_type: IN_TOTO.to_owned(), signatures })
    }

    /// The signed bytes; none when they are no standard base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.payload).ok()
    }

    /// What the envelope is known by in the audit log and in other statements: the SHA-256 of its canonical JSON,
    /// signatures included.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }
}
