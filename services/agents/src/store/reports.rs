//! What runners tell the orchestrators.

use async_trait::async_trait;
use bus::{Attempt, subjects};
use model::deployment::{StepProgress, StepReport};

use super::BusStore;
use crate::error::Result;

/// How steps go.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Tells the orchestrators how a step goes; durable when it returns.
    async fn report(&self, report: &StepReport, message_id: &str) -> Result<()>;
    /// Shows how far a step is; may be lost.
    async fn progress(&self, progress: &StepProgress) -> Result<()>;
}

#[async_trait]
impl Reports for BusStore {
    async fn report(&self, report: &StepReport, message_id: &str) -> Result<()> {
        let sent = self.0.send(&subjects::orchestrator::REPORT, None, report, message_id).await;
        Ok(sent.attempt(format!("report step {} of {}", report.step, report.deployment))?)
    }

    async fn progress(&self, progress: &StepProgress) -> Result<()> {
        let id = progress.deployment.as_str();
        let said = self.0.signal(&subjects::agents::PROGRESS, id, progress).await;
        Ok(said.attempt("show a step's progress")?)
    }
}
