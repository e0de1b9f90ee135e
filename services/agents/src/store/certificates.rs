//! Where certificates are, and whose keys signed them.

use async_trait::async_trait;
use bus::{
    Attempt, Change, WriteError,
    subjects::buckets::{CERTIFICATES, SIGNING_KEYS},
};
use certificate::TrustedKey;
use model::{DeploymentId, certificate::CertificateEntry};

use super::BusStore;
use crate::{Error, error::Result};

/// Where each deployment's certificate is.
#[async_trait]
pub trait Certificates: Send + Sync {
    /// Where a deployment's certificate is, and the entry's revision.
    async fn certificate(&self, deployment: &DeploymentId) -> Result<Option<(CertificateEntry, u64)>>;
    /// Writes where a certificate is if the entry's revision is still `expected`; false when it is not.
    async fn set_certificate(&self, entry: &CertificateEntry, expected: Option<u64>) -> Result<bool>;
    /// Every certificate, for a look at start.
    async fn certificates(&self) -> Result<Vec<CertificateEntry>>;
}

/// The public keys that sign certificates.
#[async_trait]
pub trait SigningKeys: Send + Sync {
    /// Tells everybody a public key that signs certificates, and until when. An earlier end that was told before stands.
    async fn publish_key(&self, key: &TrustedKey) -> Result<()>;
}

#[async_trait]
impl Certificates for BusStore {
    async fn certificate(&self, deployment: &DeploymentId) -> Result<Option<(CertificateEntry, u64)>> {
        let found = self.certifier.bucket(&CERTIFICATES).get(deployment.as_str()).await;
        Ok(found.attempt(format!("look for the certificate of {deployment}"))?)
    }

    async fn set_certificate(&self, entry: &CertificateEntry, expected: Option<u64>) -> Result<bool> {
        let (bucket, key) = (self.certifier.bucket(&CERTIFICATES), entry.deployment.as_str());
        let written = match expected {
            Some(revision) => bucket.update(key, entry, revision).await,
            None => bucket.create(key, entry).await,
        };
        match written {
            Err(WriteError::Raced) => Ok(false),
            written => {
                Ok(written.attempt(format!("write where the certificate of {key} is")).map(|_| true)?)
            }
        }
    }

    async fn certificates(&self) -> Result<Vec<CertificateEntry>> {
        let all = self.certifier.bucket(&CERTIFICATES).all().await;
        Ok(all.attempt("list certificates")?.into_iter().filter_map(|entry| entry.value).collect())
    }
}

#[async_trait]
impl SigningKeys for BusStore {
    async fn publish_key(&self, key: &TrustedKey) -> Result<()> {
        let name = &key.id[..key.id.len().min(32)];
        let publish = |found: Option<&serde_json::Value>| {
            // What somebody else said of it stands: a revocation is not taken back.
            let known = found.and_then(|found| serde_json::from_value::<TrustedKey>(found.clone()).ok());
            let told = known.map_or_else(|| key.clone(), |known| key.joined(&known));
            let value = serde_json::to_value(told).unwrap_or_default();
            Ok::<_, Error>(if found == Some(&value) { Change::Keep } else { Change::Put(value) })
        };
        self.certifier.bucket(&SIGNING_KEYS).change(name, publish).await.map(|_| ())
    }
}
