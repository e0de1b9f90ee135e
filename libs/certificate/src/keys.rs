//! Private keys: who can sign.

pub mod file;
pub mod vault;

use async_trait::async_trait;

use crate::{Error, PublicKey};

/// Someone who holds a private key: a file, or a service that never gives it away.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The public half.
    fn key(&self) -> &PublicKey;
    /// Signs the message itself, not a digest of it: ECDSA in ASN.1, ML-DSA pure and without a context.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}
