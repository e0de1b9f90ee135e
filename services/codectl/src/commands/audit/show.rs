//! What the engine is asked about its log.

use std::{fs, time::Duration};

use audit::export;
use model::audit::{AuditEntry, AuditOutcome, AuditProofRequest, AuditReportRequest, AuditSearch};

use super::{Export, Prove, Report, Search, Tail};
use crate::{
    cli::Global,
    connect::connect,
    failure::Failure,
    output::{self, paint},
};

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// `audit tail`
pub async fn tail(global: &Global, tail: &Tail) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let status = client.audit_status(true).await?;
    let mut from = tail.from.unwrap_or_else(|| status.included.saturating_sub(tail.last));
    beyond(from, status.included);
    loop {
        let page = client.audit_entries(from, 256).await?;
        page.entries.iter().for_each(show);
        from += page.entries.len() as u64;
        if from < page.size && !page.entries.is_empty() {
            continue;
        }
        if !tail.follow {
            return Ok(0);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(0),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Says why nothing is shown.
fn beyond(from: u64, size: u64) {
    if from > size {
        output::note(paint::faint(format!("the log has {size} entries: there is no entry {from} yet")));
    }
}

/// `audit search`
pub async fn search(global: &Global, search: Search) -> Result<u8, Failure> {
    let (since, until) = search.time.range()?;
    let client = connect(global).await?;
    // What was just done is found too.
    client.audit_status(true).await?;
    let request = AuditSearch {
        actor: search.actor,
        action: search.action,
        subject: search.subject,
        outcome: search.outcome,
        text: search.text,
        since,
        until,
        before: search.before,
        limit: Some(search.limit),
    };
    let page = client.audit_search(&request).await?;
    if output::json() {
        output::document(&page);
        return Ok(0);
    }
    page.entries.iter().for_each(show);
    match page.next {
        Some(next) => output::note(paint::faint(format!("more: --before {next}"))),
        None if page.entries.is_empty() => {
            output::note(paint::faint(format!("nothing found among {} entries", page.searched)));
        }
        None => {}
    }
    Ok(0)
}

fn show(entry: &AuditEntry) {
    if output::json() {
        output::json_line(entry);
        return;
    }
    let record = &entry.record;
    let outcome = match record.outcome {
        AuditOutcome::Done => paint::good("done  "),
        AuditOutcome::Denied => paint::bad("denied"),
        AuditOutcome::Failed => paint::warn("failed"),
    };
    let reason =
        record.reason.as_ref().map(|reason| format!("  {}", paint::faint(reason))).unwrap_or_default();
    output::line(format!(
        "{:>7}  {}  {outcome}  {}  {}  {}{reason}",
        entry.index,
        paint::faint(record.at),
        paint::strong(format!("{:<28}", record.action)),
        record.subject,
        paint::moving(format!("by {}", record.actor)),
    ));
}

/// `audit prove`
pub async fn prove(global: &Global, prove: &Prove) -> Result<u8, Failure> {
    let request = match (prove.entry.parse(), prove.entry.rsplit_once(':')) {
        (Ok(index), _) => AuditProofRequest::Index { index },
        (Err(_), Some((source, counter))) if counter.parse::<u64>().is_ok() => AuditProofRequest::Count {
            source: source.to_owned(),
            counter: counter.parse().unwrap_or_default(),
        },
        _ => {
            return Err(Failure::invalid(format!(
                "{:?} is no entry: expected an index, or a source and its count such as LOG_deployment_2:17",
                prove.entry
            )));
        }
    };
    let entry = prove.out.as_ref().map(|out| out.with_extension("json"));
    if entry.is_some() && entry == prove.out {
        return Err(Failure::invalid(
            "--out ends in .json, where the entry itself is written: name the proof otherwise, such as entry.tlog-proof",
        ));
    }
    let client = connect(global).await?;
    let proof = client.audit_proof(&request).await?;
    let (Some(out), Some(entry)) = (&prove.out, entry) else {
        if output::json() {
            output::document(&proof);
        } else {
            output::raw(&proof.proof);
        }
        return Ok(0);
    };
    let write = |path: &std::path::Path, text: &str| {
        fs::write(path, text).map_err(|error| Failure::other(format!("writing {}: {error}", path.display())))
    };
    write(out, &proof.proof)?;
    write(&entry, &proof.leaf)?;
    if output::json() {
        output::document(&serde_json::json!({ "index": proof.index, "proof": out, "entry": entry }));
    } else {
        output::line(format!("entry {}: {} and {}", proof.index, out.display(), entry.display()));
        output::note(paint::faint(format!(
            "check it: codectl audit check {} {}",
            out.display(),
            entry.display()
        )));
    }
    Ok(0)
}

/// `audit export`
pub async fn export(global: &Global, export: &Export) -> Result<u8, Failure> {
    let mut from = export.from;
    if let Some(folder) = &export.log {
        let failed = |error: ledger::Error| Failure::invalid(chassis::chain(&error));
        let shown = super::shown(folder)?;
        let checkpoint = shown.unverified();
        beyond(from, checkpoint.size);
        output::note(paint::faint(format!(
            "the entries as the files say them, unchecked: codectl audit verify --log {} checks them",
            folder.display()
        )));
        let reader = ledger::store::Reader::new(folder, checkpoint.size);
        loop {
            let leaves = reader.entries_from(from).map_err(failed)?;
            if leaves.is_empty() {
                return Ok(0);
            }
            for leaf in leaves {
                let record = serde_json::from_slice(&leaf)
                    .map_err(|error| Failure::other(format!("entry {from} is not a fact: {error}")))?;
                output::line(export::line(
                    export.format,
                    &checkpoint.origin,
                    &AuditEntry { index: from, record },
                ));
                from += 1;
            }
        }
    }
    let client = connect(global).await?;
    let status = client.audit_status(true).await?;
    beyond(from, status.included);
    while from < status.included {
        let page = client.audit_entries(from, 1000).await?;
        if page.entries.is_empty() {
            break;
        }
        for entry in page.entries.iter().filter(|entry| entry.index < status.included) {
            output::line(export::line(export.format, &status.origin, entry));
        }
        from += page.entries.len() as u64;
    }
    Ok(0)
}

/// `audit report`
pub async fn report(global: &Global, report: Report) -> Result<u8, Failure> {
    let (since, until) = report.time.range()?;
    let client = connect(global).await?;
    client.audit_status(true).await?;
    let request = AuditReportRequest { since, until };
    let report = client.audit_report(&request).await?;
    if output::json() {
        output::document(&report);
        return Ok(0);
    }
    output::line(format!("{} entries", paint::strong(report.total)));
    for action in &report.actions {
        let outcome = action.outcome.map_or("", AuditOutcome::as_str);
        output::line(format!("{:>9}  {:<6}  {}", action.count, outcome, action.name));
    }
    output::line(paint::strong("by"));
    for actor in &report.actors {
        output::line(format!("{:>9}  {}", actor.count, actor.name));
    }
    output::line(paint::strong(format!("security events: {}", report.alerts.len())));
    report.alerts.iter().for_each(show);
    Ok(0)
}

/// `audit status`
pub async fn status(global: &Global) -> Result<u8, Failure> {
    let client = connect(global).await?;
    let status = client.audit_status(false).await?;
    let code = u8::from(!status.alarms.is_empty());
    if output::json() {
        output::document(&status);
        return Ok(code);
    }
    output::line(format!(
        "{}  {} entries, {} signed",
        paint::strong(&status.origin),
        status.accepted,
        status.included
    ));
    for source in &status.sources {
        let lost =
            if source.lost > 0 { paint::bad(format!("  {} lost", source.lost)) } else { String::new() };
        output::line(format!("{:>9}  {}{lost}", source.counted, source.source));
    }
    for key in &status.keys {
        let short: String = key.chars().take(100).collect();
        output::line(paint::faint(format!("key {short}{}", if short.len() < key.len() { "…" } else { "" })));
    }
    for alarm in &status.alarms {
        output::line(format!("{} {alarm}", paint::bad("alarm:")));
    }
    Ok(code)
}
