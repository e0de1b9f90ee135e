//! Everything the agents share with others over the bus, behind one trait, so that steps can be run in memory.

#[cfg(test)]
pub(crate) mod memory;

use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, WriteError, subjects};
use certificate::TrustedKey;
use model::{
    DeploymentId, Digest, Fence, Record,
    audit::{
        AuditAppend, AuditAwait, AuditAwaited, AuditLevel, AuditProof, AuditProofRequest, AuditReceipts,
        AuditStatus, AuditStatusRequest,
    },
    certificate::CertificateEntry,
    command::HistoryRequest,
    deployment::{StepProgress, StepReport},
    route::RouteTable,
};
use serde_json::Value;

use crate::{
    Error,
    error::{Attempt, Result},
};

/// What is shared. Every method may be called again with the same arguments.
#[async_trait]
pub trait Store: Send + Sync {
    /// A table and its revision.
    async fn routes(&self, key: &str) -> Result<Option<(RouteTable, u64)>>;
    /// Writes a table if its revision is still `expected` (none: there was no table); false when it is not.
    async fn set_routes(&self, key: &str, table: &RouteTable, expected: Option<u64>) -> Result<bool>;
    /// Deletes a table if its revision is still `expected`; false when it is not.
    async fn drop_routes(&self, key: &str, expected: u64) -> Result<bool>;
    /// Stores evidence under its digest.
    async fn keep(&self, evidence: &[u8]) -> Result<Digest>;
    /// A deployment's whole journal.
    async fn history(&self, deployment: &DeploymentId) -> Result<Vec<Record>>;
    /// A stored measurement.
    async fn measurement(&self, key: &str) -> Result<Option<Value>>;
    /// Stores a measurement over whatever stands there.
    async fn remember(&self, key: &str, value: &Value) -> Result<()>;
    /// Stores a value where none stands; false when one does.
    async fn claim(&self, key: &str, value: &Value) -> Result<bool>;
    /// Evidence by its digest.
    async fn evidence(&self, digest: &Digest) -> Result<Vec<u8>>;
    /// Where a deployment's certificate is, and the entry's revision.
    async fn certificate(&self, deployment: &DeploymentId) -> Result<Option<(CertificateEntry, u64)>>;
    /// Writes where a certificate is if the entry's revision is still `expected`; false when it is not.
    async fn set_certificate(&self, entry: &CertificateEntry, expected: Option<u64>) -> Result<bool>;
    /// Every certificate, for a look at start.
    async fn certificates(&self) -> Result<Vec<CertificateEntry>>;
    /// Tells everybody a public key that signs certificates.
    async fn publish_key(&self, key: &TrustedKey) -> Result<()>;
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
    /// The audit log's state.
    async fn log_state(&self) -> Result<AuditStatus>;
    /// Tells the orchestrators how a step goes; durable when it returns.
    async fn report(&self, report: &StepReport, message_id: &str) -> Result<()>;
    /// Shows how far a step is; may be lost.
    async fn progress(&self, progress: &StepProgress) -> Result<()>;
}

/// The real one.
pub struct BusStore(pub Bus);

/// How long the orchestrator may take to answer with a journal.
const HISTORY: Duration = Duration::from_secs(10);

#[async_trait]
impl Store for BusStore {
    async fn routes(&self, key: &str) -> Result<Option<(RouteTable, u64)>> {
        self.0.bucket(&subjects::buckets::ROUTES).get(key).await.attempt("read the routes")
    }

    async fn set_routes(&self, key: &str, table: &RouteTable, expected: Option<u64>) -> Result<bool> {
        let bucket = self.0.bucket(&subjects::buckets::ROUTES);
        let written = match expected {
            Some(revision) => bucket.update(key, table, revision).await,
            None => bucket.create(key, table).await,
        };
        won(key, written.map(|_| ()))
    }

    async fn drop_routes(&self, key: &str, expected: u64) -> Result<bool> {
        won(key, self.0.bucket(&subjects::buckets::ROUTES).delete(key, expected).await)
    }

    async fn keep(&self, evidence: &[u8]) -> Result<Digest> {
        self.0.put_evidence(evidence).await.attempt("store evidence")
    }

    async fn history(&self, deployment: &DeploymentId) -> Result<Vec<Record>> {
        let request = HistoryRequest { deployment: deployment.clone() };
        let reply = self.0.call(&subjects::orchestrator::HISTORY, &request, HISTORY).await;
        Ok(reply.attempt("ask for the journal")?.records)
    }

    async fn measurement(&self, key: &str) -> Result<Option<Value>> {
        let found = self.0.bucket(&subjects::buckets::MEASUREMENTS).get(key).await;
        Ok(found.attempt("read a measurement")?.map(|(value, _)| value))
    }

    async fn remember(&self, key: &str, value: &Value) -> Result<()> {
        let bucket = self.0.bucket(&subjects::buckets::MEASUREMENTS);
        for _ in 0..20 {
            let written = match bucket.get(key).await.attempt("read a measurement")? {
                Some((_, revision)) => bucket.update(key, value, revision).await,
                None => bucket.create(key, value).await,
            };
            if won(key, written.map(|_| ()))? {
                return Ok(());
            }
        }
        Err(Error::trouble(format!("measurement {key} is written by too many at once")))
    }

    async fn claim(&self, key: &str, value: &Value) -> Result<bool> {
        won(key, self.0.bucket(&subjects::buckets::MEASUREMENTS).create(key, value).await.map(|_| ()))
    }

    async fn evidence(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.0.get_evidence(digest).await.attempt("read evidence")
    }

    async fn certificate(&self, deployment: &DeploymentId) -> Result<Option<(CertificateEntry, u64)>> {
        let bucket = self.0.bucket(&subjects::buckets::CERTIFICATES);
        bucket.get(deployment.as_str()).await.attempt("look for a certificate")
    }

    async fn set_certificate(&self, entry: &CertificateEntry, expected: Option<u64>) -> Result<bool> {
        let (bucket, key) = (self.0.bucket(&subjects::buckets::CERTIFICATES), entry.deployment.as_str());
        let written = match expected {
            Some(revision) => bucket.update(key, entry, revision).await,
            None => bucket.create(key, entry).await,
        };
        won(key, written.map(|_| ()))
    }

    async fn certificates(&self) -> Result<Vec<CertificateEntry>> {
        let all = self.0.bucket(&subjects::buckets::CERTIFICATES).all().await;
        Ok(all.attempt("list certificates")?.into_iter().filter_map(|entry| entry.value).collect())
    }

    async fn publish_key(&self, key: &TrustedKey) -> Result<()> {
        let (bucket, name) =
            (self.0.bucket(&subjects::buckets::SIGNING_KEYS), &key.id[..key.id.len().min(32)]);
        let value = serde_json::to_value(key).unwrap_or_default();
        for _ in 0..20 {
            let written = match bucket.get(name).await.attempt("read a signing key")? {
                Some((found, _)) if found == value => return Ok(()),
                Some((_, revision)) => bucket.update(name, &value, revision).await,
                None => bucket.create(name, &value).await,
            };
            if won(name, written.map(|_| ()))? {
                return Ok(());
            }
        }
        Err(Error::trouble(format!("signing key {name} is written by too many at once")))
    }

    async fn log(&self, records: &AuditAppend, patience: Duration) -> Result<AuditReceipts> {
        self.0.call(&subjects::audit::APPEND, records, patience).await.attempt("hand facts to the audit log")
    }

    async fn prove(&self, index: u64) -> Result<AuditProof> {
        let request = AuditProofRequest::Index { index };
        self.0.call(&subjects::audit::PROVE, &request, HISTORY).await.attempt("ask the audit log for a proof")
    }

    async fn logged(
        &self,
        deployment: &DeploymentId,
        version: u64,
        patience: Duration,
    ) -> Result<AuditAwaited> {
        let request = AuditAwait { journal: deployment.to_string(), version, level: AuditLevel::Included };
        let reply = self.0.call(&subjects::audit::AWAIT, &request, patience).await;
        reply.attempt("wait for the journal to be in the audit log")
    }

    async fn log_state(&self) -> Result<AuditStatus> {
        let reply = self.0.call(&subjects::audit::STATUS, &AuditStatusRequest::default(), HISTORY).await;
        reply.attempt("ask for the audit log's state")
    }

    async fn report(&self, report: &StepReport, message_id: &str) -> Result<()> {
        self.0.send(&subjects::orchestrator::REPORT, None, report, message_id).await.attempt("report a step")
    }

    async fn progress(&self, progress: &StepProgress) -> Result<()> {
        let id = progress.deployment.as_str();
        self.0.signal(&subjects::agents::PROGRESS, id, progress).await.attempt("show a step's progress")
    }
}

fn won(key: &str, written: std::result::Result<(), WriteError>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(WriteError::Raced) => Ok(false),
        Err(source) => Err(Error::Routes { key: key.to_owned(), source }),
    }
}

/// Tries of one change against other writers.
const RACES: usize = 50;

/// Changes a table by compare-and-set and gives back what then stands there. `change` gets the stored table, or none,
/// and returns the one that is wanted; none leaves things as they are. Version and fence are set here. A table with a
/// higher fence is never touched; one with a lower fence is always written, so that its older owner is kept out.
pub async fn edit_routes(
    store: &dyn Store,
    key: &str,
    fence: Fence,
    change: impl Fn(Option<&RouteTable>) -> Result<Option<RouteTable>> + Send + Sync,
) -> Result<Option<RouteTable>> {
    for _ in 0..RACES {
        let found = store.routes(key).await?;
        let (stored, revision) = match &found {
            Some((table, revision)) => (Some(table), Some(*revision)),
            None => (None, None),
        };
        if let Some(table) = stored.filter(|table| table.fence > fence) {
            return Err(Error::Stale { key: key.to_owned(), stored: table.fence, ours: fence });
        }
        let Some(mut wanted) = change(stored)? else { return Ok(stored.cloned()) };
        wanted.fence = fence;
        wanted.version = stored.map_or(wanted.version, |table| table.version);
        if stored == Some(&wanted) {
            return Ok(Some(wanted));
        }
        wanted.version += 1;
        if store.set_routes(key, &wanted, revision).await? {
            return Ok(Some(wanted));
        }
    }
    Err(Error::trouble(format!("routes {key} are written by too many at once")))
}
