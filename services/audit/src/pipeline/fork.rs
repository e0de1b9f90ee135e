//! Finds out whether a stream still says what is kept of it.
//!
//! A stream counts its messages without a gap and never goes back; but its end can be lost (a torn file), and an older
//! copy of it can be put in its place. What is said afterwards has counts that are kept already, with other content:
//! taken by the count alone it would be dropped as known.

use bus::Attempt;
use model::audit::AuditRecord;

use super::Ctx;
use crate::{
    Error,
    heart::{admit::Content, facts},
    pipeline::{blocking, parse},
};

/// The last count up to which the stream says what is kept; none when all of it is so.
pub(crate) async fn of(ctx: &Ctx, stream: &str) -> Result<Option<u64>, Error> {
    let (source, counted) = {
        let counted = ctx.counted.lock();
        let source = counted.life_of(stream);
        let count = counted.sources.get(&source).map_or(0, |source| source.counted);
        (source, count)
    };
    let end = ctx.bus.end_of(stream).await.attempt("look how far a stream goes")?;
    if counted <= end && is_same(ctx, stream, &source, counted).await? {
        return Ok(None);
    }
    // What is the same is the beginning: the place where it ends is found by halves.
    let (mut same, mut other) = (0, counted.min(end.saturating_add(1)));
    while same + 1 < other {
        let middle = same + (other - same) / 2;
        if is_same(ctx, stream, &source, middle).await? { same = middle } else { other = middle }
    }
    Ok(Some(same))
}

/// What stands in the stream at a count is what is kept of it. What cannot be compared (it has left the stream, or is
/// kept under a name of its own) says nothing against it; nothing leaves a journal, though, unless it is lost.
async fn is_same(ctx: &Ctx, stream: &str, source: &str, count: u64) -> Result<bool, Error> {
    if count == 0 {
        return Ok(true);
    }
    let heard = ctx.bus.heard_at(stream, count).await.attempt("read what a stream holds")?;
    let Some(mut heard) = heard else { return Ok(!bus::keeps_all(stream)) };
    let recent = ctx.recent.lock().of_count(source, count).map(|place| place.index);
    let index = match recent {
        Some(index) => Some(index),
        None => ctx.index.of_count(source, count).await?,
    };
    let Some(index) = index else { return Ok(true) };
    source.clone_into(&mut heard.stream);
    let Content::Facts(said) = facts::facts(&heard).content else { return Ok(true) };
    let reader = ctx.reader();
    let kept: AuditRecord = blocking(move || parse(index, &reader.entry(index)?)).await??;
    Ok(said.iter().any(|fact| said_the_same(fact, &kept)))
}

/// What every version of this service makes of the same message. How much of it is kept may change from version to
/// version, and that is no fork.
fn said_the_same(one: &AuditRecord, other: &AuditRecord) -> bool {
    (one.part, one.at, &one.actor, &one.action, &one.subject, &one.cause)
        == (other.part, other.at, &other.actor, &other.action, &other.subject, &other.cause)
}
