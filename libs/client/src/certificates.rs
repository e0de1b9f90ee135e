//! Certificates of deployments, and the keys that certifiers sign them with.

use bus::{BucketHandle, subjects};
use model::{DeploymentId, Digest, certificate::CertificateEntry};

use crate::{Client, Error};

impl Client {
    /// Where the certificate of a deployment is; none when none is made yet.
    pub async fn certificate(&self, deployment: &DeploymentId) -> Result<Option<CertificateEntry>, Error> {
        let bucket = self.bus.bucket(&subjects::buckets::CERTIFICATES);
        Ok(bucket.get(deployment.as_str()).await?.map(|(entry, _)| entry))
    }

    /// Stored bytes, checked against their digest: a certificate's file, or what a gate measured.
    pub async fn evidence(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        Ok(self.bus.get_evidence(digest).await?)
    }

    /// What certifiers tell of their public keys, by the keys' ids.
    pub fn signing_keys(&self) -> BucketHandle<serde_json::Value> {
        self.bus.bucket(&subjects::buckets::SIGNING_KEYS)
    }
}
