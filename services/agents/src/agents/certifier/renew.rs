//! Certificates that were dated by a clock that was ahead: nobody takes one that says it will be signed in an hour. Once the
//! clock is right they are issued anew; the audit log keeps the earlier one.

use model::DeploymentId;
use tracing::{info, warn};

use super::{make, stands};
use crate::{context::Engine, dated::SKEW, error::Result};

/// Issues anew what was dated ahead.
pub async fn renew(engine: &Engine) -> Result<()> {
    let now = engine.now();
    let mut ahead = engine.dated.ahead(now);
    if !engine.dated.has_looked() {
        let all = engine.store.certificates().await?.into_iter();
        ahead.extend(all.filter(|entry| entry.issued > now.plus(SKEW)).map(|entry| entry.deployment));
        engine.dated.looked();
    }
    for deployment in ahead {
        anew(engine, &deployment).await?;
    }
    Ok(())
}

async fn anew(engine: &Engine, deployment: &DeploymentId) -> Result<()> {
    let store = engine.store.as_ref();
    let Some((entry, revision)) = store.certificate(deployment).await? else { return Ok(()) };
    let until = engine.now().plus(SKEW);
    if entry.issued <= until {
        return Ok(());
    }
    let issued = make(engine, deployment).await?;
    if issued.entry.issued > until {
        warn!(%deployment, issued = %issued.entry.issued, "a certificate is dated ahead, as its journal is");
        return Ok(());
    }
    // Another certifier that was faster did the same.
    if store.set_certificate(&issued.entry, Some(revision)).await? {
        info!(%deployment, was = %entry.issued, "a certificate that a wrong clock had dated ahead is issued anew");
        stands(engine, &issued.entry).await;
    }
    Ok(())
}
