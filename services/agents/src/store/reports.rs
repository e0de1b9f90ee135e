//! What runners show to whoever watches.

use async_trait::async_trait;
use bus::{Attempt, subjects};
use model::{audit::AuditRecord, deployment::StepProgress};

use super::BusStore;
use crate::error::Result;

/// How steps go.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Shows how far a step is; may be lost.
    async fn progress(&self, progress: &StepProgress) -> Result<()>;

    /// Hands a fact to the audit log, without waiting.
    fn note(&self, fact: AuditRecord) -> Result<()>;
}

#[async_trait]
impl Reports for BusStore {
    async fn progress(&self, progress: &StepProgress) -> Result<()> {
        let id = progress.deployment.as_str();
        let said = self.runner.signal(&subjects::agents::PROGRESS, id, progress).await;
        Ok(said.attempt("show a step's progress")?)
    }

    fn note(&self, fact: AuditRecord) -> Result<()> {
        Ok(self.runner.note(fact).attempt("hand a fact to the audit log")?)
    }
}
