//! One writer at a time, wherever it runs: by compare-and-set on what is signed next.
//!
//! A writer that could not confirm its claim for [`LEASE`] acknowledges nothing more, and one that takes over from
//! another place waits for longer than that: what an old writer acknowledged is never missing from the new one's log
//! because both acknowledged at once.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use bus::{Attempt, BucketHandle, Change, Failure, WriteError, subjects::buckets};
use ledger::{Checkpoint, Store};
use model::{Digest, audit::AuditFence};

use super::Ctx;
use crate::Error;

/// How long a claim that is not confirmed is good for acknowledging. Longer than a leader of the broker takes to fail over.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// Our claim to write the log.
pub(crate) struct Fence {
    ctx: Ctx,
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
        let mut claim = AuditFence {
            epoch: 1,
            owner: owner.to_owned(),
            origin: origin.clone(),
            size: store.size(),
            root: store.root().to_string(),
            place: place(&ctx.config.state_dir),
        };
        let mut is_elsewhere = false;
        let claimed = bucket.change(&key, |known: Option<&AuditFence>| {
            if let Some(fence) = known {
                extends(ctx, store, fence)?;
            }
            claim.epoch = known.map_or(1, |fence| fence.epoch + 1);
            is_elsewhere = known.is_some_and(|fence| fence.place != claim.place && !fence.owner.is_empty());
            Ok::<_, Error>(Change::Put(claim.clone()))
        });
        let revision = claimed.await?.revision;
        if is_elsewhere {
            tracing::warn!("taking over from another place, waiting until its writer is surely silent");
            tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
        }
        ctx.confirmed();
        Ok(Fence { ctx: ctx.clone(), bucket, key, claim, revision })
    }

    /// Says what will be signed. After this nobody else can sign anything that contradicts it.
    pub async fn announce(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let next =
            AuditFence { size: checkpoint.size, root: checkpoint.root.to_string(), ..self.claim.clone() };
        self.write(next).await
    }

    /// The log is still ours.
    pub async fn confirm(&mut self) -> Result<(), Error> {
        self.look(&self.claim.clone()).await
    }

    /// Lets go, so that another place needs not wait.
    pub async fn release(&mut self) -> Result<(), Error> {
        let next = AuditFence { owner: String::new(), ..self.claim.clone() };
        self.write(next).await
    }

    async fn write(&mut self, next: AuditFence) -> Result<(), Error> {
        match self.bucket.update(&self.key, &next, self.revision).await {
            Ok(revision) => {
                (self.claim, self.revision) = (next, revision);
                self.ctx.confirmed();
                Ok(())
            }
            // An announcement whose answer was lost looks like another's.
            Err(WriteError::Raced) => self.look(&next).await,
            Err(source) => Err(Failure { what: "write who has the log".into(), source }.into()),
        }
    }

    async fn look(&mut self, expected: &AuditFence) -> Result<(), Error> {
        match self.bucket.get(&self.key).await.attempt("look who has the log")? {
            Some((found, revision)) if found == *expected => {
                (self.claim, self.revision) = (found, revision);
                self.ctx.confirmed();
                Ok(())
            }
            Some((found, _)) => Err(Error::Fenced(format!("{} in epoch {}", found.owner, found.epoch))),
            None => Err(Error::Fenced("its fence was deleted".to_owned())),
        }
    }
}

/// The folder on this machine; a copy elsewhere is another place.
fn place(folder: &Path) -> String {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let inode = std::fs::metadata(folder).map(|found| (found.dev(), found.ino())).unwrap_or_default();
    Digest::of_bytes(format!("{machine} {inode:?}").as_bytes()).short()
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
