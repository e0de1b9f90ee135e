//! Everything the agents share with others over the bus, behind one trait, so that steps can be run in memory.

#[cfg(test)]
pub(crate) mod memory;

use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, WriteError, subjects};
use model::{
    DeploymentId, Digest, Fence, Record,
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
