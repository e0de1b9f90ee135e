//! One writer at a time, wherever it runs: by compare-and-set on what is signed next.

use bus::{BucketHandle, WriteError, subjects::buckets};
use ledger::{Checkpoint, Store};
use model::{Digest, audit::AuditFence};

use super::Ctx;
use crate::Error;

/// Our claim to write the log.
pub(crate) struct Fence {
    bucket: BucketHandle<AuditFence>,
    key: String,
    claim: AuditFence,
    revision: u64,
}

impl Fence {
    /// Claims the log for this copy. Whoever had it finds out when it signs next. Refuses when more was signed than
    /// this folder has, or something else.
    pub async fn claim(ctx: &Ctx, store: &Store, owner: &str) -> Result<Fence, Error> {
        let origin = &ctx.config.origin;
        let key = format!("log-{}", Digest::of_bytes(origin.as_bytes()).short());
        let bucket = ctx.bus.bucket(&buckets::AUDIT_FENCE);
        loop {
            let known = bucket.get(&key).await?;
            let claim = AuditFence {
                epoch: known.as_ref().map_or(1, |(fence, _)| fence.epoch + 1),
                owner: owner.to_owned(),
                origin: origin.clone(),
                size: store.size(),
                root: store.root().to_string(),
            };
            let claimed = match known {
                None => bucket.create(&key, &claim).await,
                Some((fence, revision)) => {
                    extends(ctx, store, &fence)?;
                    bucket.update(&key, &claim, revision).await
                }
            };
            match claimed {
                Ok(revision) => return Ok(Fence { bucket, key, claim, revision }),
                Err(WriteError::Raced) => {}
                Err(WriteError::Unavailable(error)) => return Err(error.into()),
            }
        }
    }

    /// Says what will be signed. After this nobody else can sign anything that contradicts it.
    pub async fn announce(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let next =
            AuditFence { size: checkpoint.size, root: checkpoint.root.to_string(), ..self.claim.clone() };
        match self.bucket.update(&self.key, &next, self.revision).await {
            Ok(revision) => {
                (self.claim, self.revision) = (next, revision);
                Ok(())
            }
            Err(WriteError::Raced) => {
                // An announcement whose answer was lost looks like another's.
                match self.bucket.get(&self.key).await? {
                    Some((found, revision)) if found == next => {
                        (self.claim, self.revision) = (next, revision);
                        Ok(())
                    }
                    Some((found, _)) => {
                        Err(Error::Fenced(format!("{} in epoch {}", found.owner, found.epoch)))
                    }
                    None => Err(Error::Fenced("its fence was deleted".to_owned())),
                }
            }
            Err(WriteError::Unavailable(error)) => Err(error.into()),
        }
    }
}

/// What was announced is the beginning of what this folder has.
fn extends(ctx: &Ctx, store: &Store, fence: &AuditFence) -> Result<(), Error> {
    let older = |why: String| Error::Older { folder: ctx.config.state_dir.display().to_string(), why };
    if fence.size > store.size() {
        return Err(older(format!("size {} was signed, it has {}", fence.size, store.size())));
    }
    let announced = format!("{}\n{}\n{}\n", fence.origin, fence.size, fence.root);
    let announced: Checkpoint = announced.parse()?;
    store
        .consistency(fence.size)?
        .verify(&announced.root, &store.root())
        .map_err(|error| older(format!("another log of size {} was signed: {error}", fence.size)))
}
