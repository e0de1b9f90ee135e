//! Certificates that the audit log does not have yet.

use model::DeploymentId;
use tokio::sync::Mutex;

use crate::{error::Result, store::Certificates};

/// Deployments whose certificate is not in the audit log; none before the first look.
#[derive(Default)]
pub struct Unlogged(Mutex<Option<Vec<DeploymentId>>>);

impl Unlogged {
    /// Remembers one for which the log has not answered.
    pub async fn add(&self, deployment: &DeploymentId) {
        if let Some(unlogged) = self.0.lock().await.as_mut() {
            unlogged.push(deployment.clone());
        }
    }

    /// Takes all of them. The first time every certificate is looked at: the process before may have died.
    pub async fn take(&self, store: &dyn Certificates) -> Result<Vec<DeploymentId>> {
        let mut unlogged = self.0.lock().await;
        if unlogged.is_none() {
            let all = store.certificates().await?.into_iter();
            let open = all.filter(|entry| entry.index.is_none()).map(|entry| entry.deployment);
            *unlogged = Some(open.collect());
        }
        Ok(unlogged.as_mut().map(std::mem::take).unwrap_or_default())
    }
}
