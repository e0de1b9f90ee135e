//! The audit log: its state, its entries, its proofs.

use bus::subjects;
use model::audit::{
    AuditConsistency, AuditConsistencyRequest, AuditEntries, AuditEntriesRequest, AuditPage, AuditProof,
    AuditProofRequest, AuditReport, AuditReportRequest, AuditSearch, AuditStatus, AuditStatusRequest,
};

use crate::{Client, Error};

impl Client {
    /// The state of the log. With `sign` everything that is in the log by now is signed first, so that it is found.
    pub async fn audit_status(&self, sign: bool) -> Result<AuditStatus, Error> {
        self.ask(&subjects::audit::STATUS, &AuditStatusRequest { sign }).await
    }

    /// Entries in order, at most `limit` of them.
    pub async fn audit_entries(&self, from: u64, limit: u32) -> Result<AuditEntries, Error> {
        let request = AuditEntriesRequest { from, limit: Some(limit) };
        self.ask(&subjects::audit::ENTRIES, &request).await
    }

    /// Entries that match, newest first.
    pub async fn audit_search(&self, search: &AuditSearch) -> Result<AuditPage, Error> {
        self.ask(&subjects::audit::SEARCH, search).await
    }

    /// The proof that an entry is in the log.
    pub async fn audit_proof(&self, request: &AuditProofRequest) -> Result<AuditProof, Error> {
        self.ask(&subjects::audit::PROVE, request).await
    }

    /// The proof that the signed log extends an older state.
    pub async fn audit_consistency(
        &self,
        request: &AuditConsistencyRequest,
    ) -> Result<AuditConsistency, Error> {
        self.ask(&subjects::audit::CONSISTENCY, request).await
    }

    /// Counts and security events of a time.
    pub async fn audit_report(&self, request: &AuditReportRequest) -> Result<AuditReport, Error> {
        self.ask(&subjects::audit::REPORT, request).await
    }
}
