//! Makes tokens as an attacker does: any header, any claims, signed with any key or not at all.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256, RsaEncoding,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Keys of an issuer.
pub struct Keys {
    pub ed: Ed25519KeyPair,
    pub ec: EcdsaKeyPair,
    pub rsa: RsaKeyPair,
}

impl Keys {
    pub fn new() -> Keys {
        Keys {
            ed: Ed25519KeyPair::generate().unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    pub fn jwk(&self, kind: &str, name: &str) -> String {
        let value = match kind {
            "ed" => json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": encode(self.ed.public_key())}),
            "ec" => {
                let point = self.ec.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": name, "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
            _ => {
                // A sequence of two numbers in DER: 256 bytes behind nine, and the last three.
                let der = self.rsa.public_key().as_ref().to_vec();
                let (n, e) = (&der[9..265], &der[der.len() - 3..]);
                json!({"kty": "RSA", "kid": name, "n": encode(n), "e": encode(e)})
            }
        };
        value.to_string()
    }

    /// Signed with the key of this kind over exactly these texts.
    pub fn sign(&self, kind: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, message.as_bytes(), &mut signature).unwrap();
            signature
        };
        let signature = match kind {
            "ed" => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            "ec" => self.ec.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            "rsa" => rsa(&RSA_PKCS1_SHA256),
            _ => rsa(&RSA_PSS_SHA256),
        };
        format!("{message}.{}", encode(signature))
    }
}

/// "Signed" with a text that everybody knows.
pub fn hmac_with(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", encode(tag))
}

/// The claims with some changed; null takes one away.
pub fn changed(mut claims: Value, changes: Value) -> String {
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(key);
        } else {
            claims[key] = value.clone();
        }
    }
    claims.to_string()
}
