//! The audit log, as a client sees it.

use std::time::Duration;

use async_trait::async_trait;
use bus::{Attempt, subjects};
use model::{
    DeploymentId,
    audit::{
        AuditAppend, AuditAwait, AuditAwaited, AuditLevel, AuditProof, AuditProofRequest, AuditReceipts,
    },
};

use super::BusStore;
use crate::error::Result;

/// How long the log may take to answer what needs no checkpoint.
const ANSWER: Duration = Duration::from_secs(10);

/// Hands facts to the audit log and asks it for proofs.
#[async_trait]
pub trait LogClient: Send + Sync {
    /// Hands facts to the audit log and waits until a signed checkpoint covers them.
    async fn log(&self, records: &AuditAppend, patience: Duration) -> Result<AuditReceipts>;
    /// The audit log's proof of a leaf.
    async fn prove(&self, index: u64) -> Result<AuditProof>;
    /// Where an entry of the deployment's journal stands in the audit log, once a signed checkpoint covers it.
    async fn logged(
        &self,
        deployment: &DeploymentId,
        version: u64,
        patience: Duration,
    ) -> Result<AuditAwaited>;
}

#[async_trait]
impl LogClient for BusStore {
    async fn log(&self, records: &AuditAppend, patience: Duration) -> Result<AuditReceipts> {
        let reply = self.certifier.call(&subjects::audit::APPEND, records, patience).await;
        Ok(reply.attempt("hand facts to the audit log")?)
    }

    async fn prove(&self, index: u64) -> Result<AuditProof> {
        let request = AuditProofRequest::Index { index };
        let reply = self.certifier.call(&subjects::audit::PROVE, &request, ANSWER).await;
        Ok(reply.attempt(format!("ask the audit log for the proof of leaf {index}"))?)
    }

    async fn logged(
        &self,
        deployment: &DeploymentId,
        version: u64,
        patience: Duration,
    ) -> Result<AuditAwaited> {
        let (noun, journal) = (subjects::deployment::JOURNAL.noun().to_owned(), deployment.to_string());
        let request = AuditAwait { noun, journal, version, level: AuditLevel::Included };
        let reply = self.certifier.call(&subjects::audit::AWAIT, &request, patience).await;
        Ok(reply.attempt("wait for the journal to be in the audit log")?)
    }
}
