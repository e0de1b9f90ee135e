//! What gates measured, kept before their results are told: the digest of the document is part of the result, and so of
//! the journal and the certificate. A store that cannot take it is no reason to judge otherwise: then the result says so.

use std::time::Duration;

use futures::future::join_all;
use gates::{Document, MOST_BYTES, Measurements};
use model::{GateResult, Timestamp, deployment::StepJob};
use tracing::warn;

use crate::{Error, context::Ctx, error::Result};

/// How long the store may take; after that the result is told without.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most that is kept of a text from outside, in characters.
const TEXT_CHARS: usize = 500;

/// Judges what was measured and keeps it.
pub(crate) async fn judged(
    job: &StepJob,
    ctx: &Ctx,
    gate: &str,
    measured: Measurements,
) -> Result<GateResult> {
    let document = document(job, gate, ctx.now(), measured);
    let verdict = document.judge().map_err(|error| Error::trouble(format!("gate {gate}: {error}")))?;
    Ok(keep(ctx, &document, verdict).await)
}

/// Keeps what verdicts followed from.
pub(crate) async fn kept(
    job: &StepJob,
    ctx: &Ctx,
    judged: Vec<(GateResult, Measurements)>,
) -> Vec<GateResult> {
    let keeping = judged.into_iter().map(|(verdict, measured)| async move {
        let document = document(job, &verdict.gate, verdict.at, measured);
        keep(ctx, &document, verdict).await
    });
    join_all(keeping).await
}

fn document(job: &StepJob, gate: &str, at: Timestamp, measured: Measurements) -> Document {
    Document::new(job.deployment.clone(), (job.step.id.clone(), job.attempt), gate, at, measured)
}

async fn keep(ctx: &Ctx, document: &Document, verdict: GateResult) -> GateResult {
    let bytes = document.to_bytes();
    let trouble = match bytes.len() {
        ..=MOST_BYTES => match tokio::time::timeout(PATIENCE, ctx.store.keep(&bytes)).await {
            Ok(Ok(digest)) => return GateResult { evidence: Some(digest), ..verdict },
            Ok(Err(error)) => chassis::chain(&error),
            Err(_) => format!("the store did not take it within {} s", PATIENCE.as_secs()),
        },
        size => format!("it has {size} bytes, {MOST_BYTES} are kept at most"),
    };
    warn!(deployment = %document.deployment, step = %document.step, gate = document.gate, trouble, "measurements not kept");
    let text = format!("{}; what was measured was not kept: {}", verdict.text, scrubbed(&trouble));
    GateResult { text, ..verdict }
}

/// A text from outside as it may be kept: without secrets, and not without end.
pub(crate) fn scrubbed(text: &str) -> String {
    scrub::scrub(text).text.chars().take(TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests;
