//! Hearing the bus, and making what is signed searchable.

use std::time::Duration;

use bus::Attempt;
use futures::StreamExt;
use model::{
    Timestamp,
    audit::{AuditEntry, AuditOutcome, AuditRecord},
};
use tokio::sync::oneshot;

use super::{Ctx, Input, fork, parse};
use crate::{
    Error,
    heart::{
        detect::{ALERT, Alert, Detector},
        facts,
    },
};

/// Leaves that are made searchable in one transaction.
const AT_ONCE: usize = 2048;
/// Leaves before the first new one that the rules look at again after a start.
const WARM_UP: u64 = 20_000;

/// How often is looked whether a stream still has what was heard of it.
const LOOK: Duration = Duration::from_secs(5);

/// Hears a stream for ever, from behind what is kept; when it does not hold what is kept any more, from where it does,
/// under a new name. What repeats after a restart of this task is dropped later.
pub(crate) async fn hear(ctx: Ctx, stream: String) -> Result<(), Error> {
    while let Some(same) = fork::of(&ctx, &stream).await? {
        let (done, kept) = oneshot::channel();
        let from = ctx.counted.lock().life_of(&stream);
        let input = Input::Forked { stream: stream.clone(), from, same, done };
        if ctx.inputs.send(input).await.is_err() || kept.await.is_err() {
            return Ok(());
        }
    }
    let (source, from) = {
        let counted = ctx.counted.lock();
        let source = counted.life_of(&stream);
        let from = counted.sources.get(&source).map_or(0, |source| source.counted);
        (source, from)
    };
    let mut heard = ctx.bus.hear_all(&stream, from);
    let (mut last, mut look) = (from, tokio::time::interval(LOOK));
    loop {
        let next = tokio::select! {
            () = ctx.stopping.cancelled() => return Ok(()),
            next = heard.next() => next,
            _ = look.tick() => {
                // A stream that ends before what was heard of it is looked at anew.
                if ctx.bus.end_of(&stream).await.is_ok_and(|end| end < last) {
                    return Err(Error::Missing(format!("{stream} has lost what it said up to {last}")));
                }
                continue;
            }
        };
        let Some(mut message) = next else { return Err(Error::Ended("a stream")) };
        last = message.seq;
        message.stream.clone_from(&source);
        let said = facts::facts(&message);
        for large in &said.large {
            // Before the leaf that names it, so that a leaf never promises what is not there.
            ctx.bus.put_evidence(large).await.attempt("store what is too large for a leaf")?;
        }
        let input = Input::Heard { stream: message.stream, seq: message.seq, content: said.content };
        if ctx.inputs.send(input).await.is_err() {
            return Ok(());
        }
    }
}

/// Makes signed leaves searchable and lets the rules see them, in order, for ever.
pub(crate) async fn index(ctx: Ctx) -> Result<(), Error> {
    let mut included = ctx.included.subscribe();
    let mut at = ctx.index.size().await?;
    let mut detector = Detector::new(ctx.config.rules.clone());
    let mut warm = at.saturating_sub(WARM_UP);
    while warm < at {
        let entries = read(&ctx, warm).await?;
        warm += entries.len() as u64;
        entries.iter().filter(|entry| entry.index < at).for_each(|entry| {
            detector.see(&entry.record);
        });
        if entries.is_empty() {
            break;
        }
    }
    loop {
        let size = *included.borrow_and_update();
        while at < size {
            let entries = read(&ctx, at).await?;
            if entries.is_empty() {
                return Err(Error::Missing(format!("entry {at} cannot be read")));
            }
            ctx.index.add(&entries).await?;
            for entry in &entries {
                for alert in detector.see(&entry.record) {
                    ctx.counts.alerts.inc();
                    let record = alert_of(&alert, entry, ctx.clock.now());
                    tracing::warn!(
                        rule = alert.rule,
                        index = entry.index,
                        actor = alert.actor,
                        reason = alert.reason,
                        "a security event"
                    );
                    if ctx.inputs.send(Input::Own(Box::new(record))).await.is_err() {
                        return Ok(());
                    }
                }
            }
            at += entries.len() as u64;
            ctx.searchable.send_replace(at);
            ctx.counts.unsearchable.set(i64::try_from(size.saturating_sub(at)).unwrap_or(i64::MAX));
        }
        tokio::select! {
            () = ctx.stopping.cancelled() => return Ok(()),
            changed = included.changed() => changed.map_err(|_| Error::Ended("signing"))?,
        }
    }
}

async fn read(ctx: &Ctx, from: u64) -> Result<Vec<AuditEntry>, Error> {
    let reader = ctx.reader();
    ground::blocking(move || -> Result<_, Error> {
        let mut entries = Vec::new();
        let mut at = from;
        while entries.len() < AT_ONCE {
            let leaves = reader.entries_from(at)?;
            if leaves.is_empty() {
                break;
            }
            for leaf in leaves {
                entries.push(AuditEntry { index: at, record: parse(at, &leaf)? });
                at += 1;
            }
        }
        Ok(entries)
    })
    .await?
}

fn alert_of(alert: &Alert, entry: &AuditEntry, now: Timestamp) -> AuditRecord {
    let (actor, action) = (crate::heart::admit::OWN, format!("{ALERT}{}", alert.rule));
    AuditRecord {
        reason: Some(alert.reason.clone()),
        cause: Some(format!("rule:{}:{}", alert.rule, entry.index)),
        trace: entry.record.trace.clone(),
        detail: serde_json::json!({ "actor": alert.actor, "index": entry.index }),
        ..AuditRecord::new(now, actor, action, alert.subject.as_str(), AuditOutcome::Done)
    }
}
