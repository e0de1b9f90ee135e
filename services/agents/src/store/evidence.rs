//! What is stored under its digest, and the journals that agents read.

use std::time::Duration;

use async_trait::async_trait;
use bus::{Attempt, subjects};
use model::{DeploymentId, Digest, Record, command::HistoryRequest};

use super::BusStore;
use crate::error::Result;

/// How long the orchestrator may take to answer with a journal.
const HISTORY: Duration = Duration::from_secs(10);

/// Evidence and journals.
#[async_trait]
pub trait Evidence: Send + Sync {
    /// Stores evidence under its digest.
    async fn keep(&self, evidence: &[u8]) -> Result<Digest>;
    /// Evidence by its digest.
    async fn evidence(&self, digest: &Digest) -> Result<Vec<u8>>;
    /// A deployment's whole journal.
    async fn history(&self, deployment: &DeploymentId) -> Result<Vec<Record>>;
}

#[async_trait]
impl Evidence for BusStore {
    async fn keep(&self, evidence: &[u8]) -> Result<Digest> {
        Ok(self.runner.put_evidence(evidence).await.attempt("store evidence")?)
    }

    async fn evidence(&self, digest: &Digest) -> Result<Vec<u8>> {
        Ok(self.runner.get_evidence(digest).await.attempt(format!("read evidence {digest}"))?)
    }

    async fn history(&self, deployment: &DeploymentId) -> Result<Vec<Record>> {
        let request = HistoryRequest { deployment: deployment.clone() };
        let reply = self.certifier.call(&subjects::orchestrator::HISTORY, &request, HISTORY).await;
        Ok(reply.attempt(format!("ask for the journal of {deployment}"))?.records)
    }
}
