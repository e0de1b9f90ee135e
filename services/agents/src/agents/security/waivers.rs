//! Findings that are accepted for a while.

use model::{Finding, Severity, Timestamp, spec::Waiver};

use crate::agents::finding;

/// Marks what is waived. A waiver holds through the day it names (UTC); a critical finding is only waived by a reason
/// that names what is accepted, the last part of the rule such as `host-mount`. Pure.
pub fn waive(mut findings: Vec<Finding>, waivers: &[Waiver], now: Timestamp) -> Vec<Finding> {
    let today: String = now.to_string().chars().take(10).collect();
    let mut notes = Vec::new();
    for waiver in waivers {
        let meant = |found: &Finding| {
            found.rule == waiver.rule
                && waiver.module.as_ref().is_none_or(|module| found.module.as_ref() == Some(module))
        };
        let holds = is_day(&waiver.expires) && waiver.expires >= today;
        let mut used = false;
        for found in findings.iter_mut().filter(|found| meant(found)) {
            used = true;
            let kind = found.rule.rsplit('/').next().unwrap_or_default();
            let named = found.severity < Severity::Critical || waiver.reason.contains(kind);
            if holds && named {
                found.waived = Some(format!("{} (until {})", waiver.reason, waiver.expires));
            } else if holds {
                found.cure = format!("a waiver of a critical finding has to name `{kind}` in its reason");
            }
        }
        if used && !holds {
            let text = format!("the waiver of {} ended on {}", waiver.rule, waiver.expires);
            notes.push(finding("security/waiver-expired", Severity::Low, waiver.module.as_ref(), text));
        }
    }
    findings.extend(notes);
    findings
}

/// `YYYY-MM-DD`, so that texts compare as days.
fn is_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
}
