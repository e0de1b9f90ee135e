//! ArcSight Common Event Format: a header of fields between bars, and an extension of keys and values.

use model::audit::{AuditEntry, AuditOutcome};

pub(super) fn line(origin: &str, entry: &AuditEntry) -> String {
    let record = &entry.record;
    let alert = record.action.starts_with(crate::heart::detect::ALERT);
    let severity = match record.outcome {
        _ if alert => 9,
        AuditOutcome::Done => 2,
        AuditOutcome::Denied => 6,
        AuditOutcome::Failed => 5,
    };
    let name = format!("{} {}", record.action, record.outcome.as_str());
    let head = [
        "CEF:0".to_owned(),
        "CODE".to_owned(),
        "audit".to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
        header(&record.action),
        header(&name),
        severity.to_string(),
    ];
    let mut extension = vec![
        format!("rt={}", record.at.0),
        format!("externalId={}", entry.index),
        format!("suser={}", value(&record.actor)),
        format!("act={}", value(&record.action)),
        format!("outcome={}", record.outcome.as_str()),
        format!("duid={}", value(&record.subject)),
        format!("cs1Label=log cs1={}", value(origin)),
        format!("cs2Label=source cs2={}", value(&record.source)),
        format!("cn1Label=counter cn1={}", record.counter),
    ];
    for (label, place, text) in [("cause", "cs3", &record.cause), ("trace", "cs4", &record.trace)] {
        extension.extend(text.as_ref().map(|text| format!("{place}Label={label} {place}={}", value(text))));
    }
    extension.extend(record.reason.as_ref().map(|reason| format!("reason={}", value(reason))));
    format!("{}|{}", head.join("|"), extension.join(" "))
}

/// Bars and backslashes end nothing; line ends become blanks.
fn header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\r', '\n'], " ")
}

/// Equal signs and backslashes end nothing; line ends are spelled.
fn value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\r', "\\r").replace('\n', "\\n")
}
