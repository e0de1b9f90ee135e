//! What the audit log answers.

use std::time::Duration;

use bus::Meta;
use ground::blocking;
use ledger::ProofFile;
use model::audit::{
    AuditAppend, AuditAwait, AuditAwaited, AuditConsistency, AuditConsistencyRequest, AuditEntries,
    AuditEntriesRequest, AuditEntry, AuditLevel, AuditPage, AuditProof, AuditProofRequest, AuditReceipts,
    AuditReport, AuditReportRequest, AuditSearch, AuditStatus, AuditStatusRequest,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use crate::{
    Error,
    heart::{facts, family},
    pipeline::{Ctx, Input, parse, witnesses},
};

/// Facts per request.
const MOST_FACTS: usize = 1000;
/// Leaves per answer, and bytes: a message of the bus is at most 1 MiB.
const MOST_ENTRIES: u32 = 1000;
const MOST_BYTES: usize = 600 * 1024;
/// When the asker names no deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is left of a deadline to answer in when a witness does not.
const ANSWERING: Duration = Duration::from_millis(500);

/// Keeps facts; answers when they are on disk, or signed when that was asked for.
pub(crate) async fn on_append(ctx: Ctx, request: AuditAppend, meta: Meta) -> Result<AuditReceipts, Error> {
    if request.records.is_empty() || request.records.len() > MOST_FACTS {
        return Err(Error::Invalid(format!("{} facts, 1 to {MOST_FACTS} are taken", request.records.len())));
    }
    if let Some((at, why)) =
        request.records.iter().enumerate().find_map(|(at, record)| Some((at, facts::complaint(record)?)))
    {
        return Err(Error::Invalid(format!("fact {at}: {why}")));
    }
    if let Some(why) = ctx.refuses() {
        return Err(Error::Refusing(why));
    }
    let (reply, receipts) = oneshot::channel();
    let input = Input::Told { records: request.records, reply };
    ctx.inputs.send(input).await.map_err(|_| Error::Refusing("it is stopping".to_owned()))?;
    let receipts = receipts.await.map_err(|_| Error::Refusing("it is stopping".to_owned()))??;
    if request.level == AuditLevel::Included {
        let last = receipts.iter().map(|receipt| receipt.index).max().unwrap_or(0);
        reach(&ctx, &ctx.included, last + 1, &meta).await?;
    }
    Ok(AuditReceipts { receipts, level: request.level })
}

/// Waits until a size is reached, at most until the asker's deadline.
async fn reach(ctx: &Ctx, sizes: &watch::Sender<u64>, size: u64, meta: &Meta) -> Result<(), Error> {
    let mut sizes = sizes.subscribe();
    let until = meta.deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
    let reached = sizes.wait_for(|reached| *reached >= size);
    match tokio::time::timeout_at(until, reached).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Error::Refusing("it is stopping".to_owned())),
        Err(_) => {
            let why = ctx
                .alarms
                .lock()
                .get("sign")
                .cloned()
                .unwrap_or_else(|| "it was not signed in time".to_owned());
            Err(Error::Refusing(why))
        }
    }
}

/// Waits until what a journal says is in the log.
pub(crate) async fn on_await(ctx: Ctx, request: AuditAwait, meta: Meta) -> Result<AuditAwaited, Error> {
    let (family, cause) = (family::of_log(&request.noun), format!("{}:{}", request.journal, request.version));
    let (mut accepted, mut searchable) = (ctx.accepted.subscribe(), ctx.searchable.subscribe());
    let until = meta.deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
    let (mut known, mut searched) = (None, None);
    loop {
        accepted.borrow_and_update();
        let now_searchable = *searchable.borrow_and_update();
        let (recent, forgotten) = {
            let recent = ctx.recent.lock();
            (recent.of_cause(&family, &cause), recent.forgotten())
        };
        // Asked once, and again while it is so far behind that it may only now get to what is no longer recent.
        let behind = searched.is_none_or(|searched| searched < forgotten && searched < now_searchable);
        if recent.is_none() && behind {
            known = ctx.index.of_cause(&family, &cause).await?;
            searched = Some(now_searchable);
        }
        let found = recent.or_else(|| known.take());
        if let Some((index, leaves)) = found {
            if request.level == AuditLevel::Included {
                reach(&ctx, &ctx.included, index + u64::from(leaves), &meta).await?;
            } else if let Some(why) = ctx.refuses() {
                return Err(Error::Refusing(why));
            }
            return Ok(AuditAwaited { index, leaves });
        }
        let grown = async {
            tokio::select! {
                accepted = accepted.changed() => accepted,
                searchable = searchable.changed() => searchable,
            }
        };
        if !matches!(tokio::time::timeout_at(until, grown).await, Ok(Ok(()))) {
            let why = ctx.refuses();
            let why = why.unwrap_or_else(|| {
                format!("entry {} of {} was not heard in time", request.version, request.journal)
            });
            return Err(Error::Refusing(why));
        }
    }
}

/// Shows the log's state.
pub(crate) async fn on_status(
    ctx: Ctx,
    request: AuditStatusRequest,
    meta: Meta,
) -> Result<AuditStatus, Error> {
    if request.sign {
        let accepted = *ctx.accepted.borrow();
        ctx.sign.notify_one();
        reach(&ctx, &ctx.included, accepted, &meta).await?;
    }
    let reader = ctx.reader();
    let checkpoint = blocking(move || reader.checkpoint()).await??;
    let sources = ctx.counted.lock().list();
    let mut alarms: Vec<String> =
        ctx.alarms.lock().iter().map(|(about, why)| format!("{about}: {why}")).collect();
    // Also those of before this start.
    let lost = sources.iter().filter(|source| source.lost > 0);
    alarms
        .extend(lost.map(|source| format!("lost: {} counts of {} are missing", source.lost, source.source)));
    alarms.extend(ctx.counted.lock().forked().map(|name| {
        format!(
            "fork: {name}: its stream had lost what it said; see codectl audit search --action audit.fork"
        )
    }));
    Ok(AuditStatus {
        origin: ctx.config.origin.clone(),
        accepted: *ctx.accepted.borrow(),
        included: *ctx.included.borrow(),
        checkpoint: checkpoint.map(|checkpoint| checkpoint.to_string()).unwrap_or_default(),
        keys: ctx.keys.iter().map(ToString::to_string).collect(),
        searchable: *ctx.searchable.borrow(),
        sources,
        alarms,
    })
}

/// Proves that a leaf is in the log; waits for it to be signed.
pub(crate) async fn on_prove(ctx: Ctx, request: AuditProofRequest, meta: Meta) -> Result<AuditProof, Error> {
    let index = match request {
        AuditProofRequest::Index { index } => index,
        AuditProofRequest::Count { source, counter } => {
            let recent = ctx.recent.lock().of_count(&source, counter).map(|place| place.index);
            let known = match recent {
                Some(index) => Some(index),
                None => ctx.index.of_count(&source, counter).await?,
            };
            known.ok_or_else(|| Error::Missing(format!("count {counter} of {source} is not in the log")))?
        }
    };
    let accepted = *ctx.accepted.borrow();
    if index >= accepted {
        let last = accepted.checked_sub(1).map(|last| format!(", the last is {last}")).unwrap_or_default();
        return Err(Error::Missing(format!("there is no entry {index}: the log has {accepted}{last}")));
    }
    reach(&ctx, &ctx.included, index + 1, &meta).await?;
    let folder = ctx.public_folder();
    let until = meta.deadline.unwrap_or_else(|| Instant::now() + PATIENCE) - ANSWERING;
    let cosigned = witnesses::cosigned(&ctx, index + 1, until).await;
    blocking(move || -> Result<_, Error> {
        // The checkpoint decides the size, so that proof and note belong together.
        let shown = match cosigned {
            Some(cosigned) => Some(cosigned),
            None => ledger::store::Reader::new(&folder, 0).checkpoint()?,
        };
        let shown = shown.ok_or_else(|| Error::Missing("nothing is signed yet".to_owned()))?;
        let reader = ledger::store::Reader::new(&folder, shown.unverified().size);
        let leaf = String::from_utf8(reader.entry(index)?)
            .map_err(|_| ledger::Error::Inconsistent(format!("entry {index} is not text")))?;
        let proof = ProofFile::new(reader.inclusion(index)?, shown);
        Ok(AuditProof { index, leaf, proof: proof.to_string() })
    })
    .await?
}

/// Proves that an older state is the beginning of the signed one.
pub(crate) async fn on_consistency(
    ctx: Ctx,
    request: AuditConsistencyRequest,
    _: Meta,
) -> Result<AuditConsistency, Error> {
    let folder = ctx.public_folder();
    blocking(move || -> Result<_, Error> {
        let shown = ledger::store::Reader::new(&folder, 0).checkpoint()?;
        let shown = shown.ok_or_else(|| Error::Missing("nothing is signed yet".to_owned()))?;
        let reader = ledger::store::Reader::new(&folder, shown.unverified().size);
        let hashes = reader.consistency(request.old)?.hashes.iter().map(ToString::to_string).collect();
        Ok(AuditConsistency { hashes, checkpoint: shown.to_string() })
    })
    .await?
}

/// Reads leaves in order.
pub(crate) async fn on_entries(
    ctx: Ctx,
    request: AuditEntriesRequest,
    _: Meta,
) -> Result<AuditEntries, Error> {
    let reader = ctx.reader();
    let limit = request.limit.unwrap_or(256).clamp(1, MOST_ENTRIES) as usize;
    blocking(move || -> Result<_, Error> {
        let (mut entries, mut bytes, mut at) = (Vec::new(), 0, request.from);
        'all: while entries.len() < limit {
            let leaves = reader.entries_from(at)?;
            if leaves.is_empty() {
                break;
            }
            for leaf in leaves {
                bytes += leaf.len() + 64;
                if entries.len() == limit || (bytes > MOST_BYTES && !entries.is_empty()) {
                    break 'all;
                }
                entries.push(AuditEntry { index: at, record: parse(at, &leaf)? });
                at += 1;
            }
        }
        Ok(AuditEntries { entries, size: reader.size() })
    })
    .await?
}

/// Searches.
pub(crate) async fn on_search(ctx: Ctx, request: AuditSearch, _: Meta) -> Result<AuditPage, Error> {
    let limit = request.limit.unwrap_or(50).clamp(1, MOST_ENTRIES);
    let searched = *ctx.searchable.borrow();
    let mut found = ctx.index.search(&request, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let (entries, cut) = read_all(&ctx, found.clone()).await?;
    let last = entries.last().map(|entry| entry.index);
    Ok(AuditPage { next: if more || cut { last } else { None }, entries, searched })
}

/// Counts.
pub(crate) async fn on_report(ctx: Ctx, request: AuditReportRequest, _: Meta) -> Result<AuditReport, Error> {
    let counted = ctx.index.report(&request).await?;
    let (alerts, _) = read_all(&ctx, counted.alerts).await?;
    Ok(AuditReport { total: counted.total, actions: counted.actions, actors: counted.actors, alerts })
}

/// The leaves at these places, as many as fit one answer; and whether some did not.
async fn read_all(ctx: &Ctx, indices: Vec<u64>) -> Result<(Vec<AuditEntry>, bool), Error> {
    let reader = ctx.reader();
    blocking(move || -> Result<_, Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for index in indices {
            let leaf = reader.entry(index)?;
            bytes += leaf.len() + 64;
            if bytes > MOST_BYTES && !entries.is_empty() {
                return Ok((entries, true));
            }
            entries.push(AuditEntry { index, record: parse(index, &leaf)? });
        }
        Ok((entries, false))
    })
    .await?
}
