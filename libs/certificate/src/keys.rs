//! Private keys: who can sign.

pub mod file;
pub mod vault;

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::{Error, PublicKey};

/// Someone who holds a private key: a file, or a service that never gives it away.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The public half.
    fn key(&self) -> &PublicKey;
    /// Signs the message itself, not a digest of it: ECDSA in ASN.1, ML-DSA pure and without a context.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// What unlocks a file of keys. Never shown; wiped when dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Wraps a text. A line end that an editor left behind is no part of it.
    pub fn new(text: impl Into<String>) -> Passphrase {
        let text = Zeroizing::new(text.into());
        Passphrase(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
