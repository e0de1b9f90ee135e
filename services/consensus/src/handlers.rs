//! What a consensus worker answers.

use std::sync::Arc;

use bus::Meta;
use chassis::Service;
use model::expert::{Opinion, WeighRequest, WeighVotes, WeighedVotes};
use tokio::time::Instant;

use crate::{
    compute::{self, Compute},
    config::ConsensusConfig,
    error::Error,
    metrics::Counts,
};

/// Calls in hand per thread: while one is computed, the next is read and the last is sent.
const PER_THREAD: usize = 4;

/// What every handler has.
pub struct Worker {
    compute: Compute,
    counts: Counts,
}

/// Starts the threads and measures the kernels on them.
pub async fn open(service: &Service<ConsensusConfig>) -> Result<Arc<Worker>, Error> {
    let compute = Compute::start(service.config.threads, service.config.pin)?;
    let begun = Instant::now();
    let calibration = compute.run(move || opinion::kernel::calibrate(&mut || begun.elapsed())).await?;
    tracing::info!(threads = %compute.pool(), "{calibration}");
    Ok(Arc::new(Worker { compute, counts: Counts::new(&service.metrics) }))
}

impl Worker {
    /// How many calls are worked on at once.
    pub fn at_once(&self) -> usize {
        self.compute.pool().threads() * PER_THREAD
    }
}

/// One opinion on full answers.
pub async fn on_weigh(worker: Arc<Worker>, request: WeighRequest, _: Meta) -> Result<Opinion, Error> {
    let opinion = worker.compute.run(move || compute::weigh(request)).await??;
    worker.counts.opinion();
    Ok(opinion)
}

/// Many questions, votes only.
pub async fn on_weigh_votes(
    worker: Arc<Worker>,
    request: WeighVotes,
    _: Meta,
) -> Result<WeighedVotes, Error> {
    let weighed = worker.compute.run(move || compute::weigh_votes(&request)).await??;
    worker.counts.votes(weighed.actions.len());
    Ok(weighed)
}
