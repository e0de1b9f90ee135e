//! Puts what was accepted into the tiles and signs it.

use std::sync::Arc;

use ground::blocking;
use ledger::Frame;

use super::{Ctx, fence::Fence};
use crate::{
    Error,
    log::{self, Integrator},
};

/// The only one that signs.
pub(crate) struct Signer {
    ctx: Ctx,
    /// None while it is at work.
    integrator: Option<Integrator>,
    fence: Fence,
}

impl Signer {
    pub async fn claim(ctx: Ctx, integrator: Integrator, owner: &str) -> Result<Signer, Error> {
        let fence = Fence::claim(&ctx, integrator.store(), owner).await?;
        Ok(Signer { ctx, integrator: Some(integrator), fence })
    }

    /// Puts batches into the tiles. After an error none of them is.
    pub async fn integrate(&mut self, frames: Vec<Arc<Frame>>) -> Result<(), Error> {
        let mut integrator = self.integrator.take().ok_or(Error::Ended("the signer"))?;
        let folder = self.ctx.config.state_dir.clone();
        let (integrator, outcome) = blocking(move || -> Result<_, Error> {
            let outcome = integrator.integrate(&frames, &log::no_points());
            if outcome.is_err() {
                integrator.reopen(&folder)?;
            }
            Ok((integrator, outcome))
        })
        .await??;
        self.integrator = Some(integrator);
        outcome
    }

    /// Signs what is in the tiles and shows it.
    pub async fn publish(&mut self) -> Result<(), Error> {
        let integrator = self.integrator.take().ok_or(Error::Ended("the signer"))?;
        let store = integrator.store();
        let checkpoint = ledger::Checkpoint {
            origin: self.ctx.config.origin.clone(),
            size: store.size(),
            root: store.root(),
        };
        let announced = self.fence.announce(&checkpoint).await;
        if let Err(error) = announced {
            self.integrator = Some(integrator);
            return Err(error);
        }
        let time = u64::try_from(self.ctx.clock.now().0 / 1000).unwrap_or_default();
        let ctx = self.ctx.clone();
        let (integrator, outcome) = blocking(move || {
            let _showing = ctx.showing.lock();
            let outcome = integrator.publish(time, &log::no_points());
            (integrator, outcome)
        })
        .await?;
        let size = integrator.size();
        self.integrator = Some(integrator);
        outcome?;
        self.ctx.counts.included.set(i64::try_from(size).unwrap_or(i64::MAX));
        self.ctx.included.send_replace(size);
        Ok(())
    }

    /// This copy is still the writer.
    pub async fn confirm(&mut self) -> Result<(), Error> {
        self.fence.confirm().await
    }

    /// The orderly end.
    pub async fn release(&mut self) {
        if let Err(error) = self.fence.release().await {
            tracing::warn!(
                error = chassis::chain(&error),
                "the log was not let go of, the next writer waits"
            );
        }
    }

    /// How many leaves are in the tiles.
    pub fn size(&self) -> u64 {
        self.integrator.as_ref().map_or(0, Integrator::size)
    }
}
