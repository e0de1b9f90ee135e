//! Sigstore bundles, version 0.3, of one DSSE envelope signed with a key that the verifier knows.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{PublicKey, dsse::Envelope};

/// The media type of the bundle.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    /// Always [`MEDIA_TYPE`].
    pub media_type: String,
    /// What it takes to verify the signature.
    pub verification_material: Material,
    /// What is signed. Exactly one signature.
    pub dsse_envelope: Envelope,
}

/// What it takes to verify the signature: only a hint at the key, which the verifier must have from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Material {
    /// The key.
    pub public_key: Hint,
    /// Entries of Sigstore's own log. Always empty: ours is proven beside the bundle. Tools want the field all the same.
    pub tlog_entries: Vec<serde_json::Value>,
}

/// A hint at a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// The SHA-256 of the key's SubjectPublicKeyInfo in base64, as cosign writes it.
    pub hint: String,
}

impl Bundle {
    /// A bundle of this envelope.
    pub fn new(key: &PublicKey, dsse_envelope: Envelope) -> Bundle {
        Bundle {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material {
                public_key: Hint { hint: hint(key) },
                tlog_entries: Vec::new(),
            },
            dsse_envelope,
        }
    }
}

/// The hint at a key.
pub fn hint(key: &PublicKey) -> String {
    STANDARD.encode(key.fingerprint())
}
