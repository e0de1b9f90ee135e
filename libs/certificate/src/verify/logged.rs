//! What the audit log proves: that it holds the certificate, and the journal that the certificate was read from.

use ledger::policy::Trust;
use model::{Record, Timestamp};

use super::{Logged, Problem};
use crate::{At, Certificate, Deployment, log, trust::Ready};

/// The audit log holds the certificate, by the policy of the trust file.
pub(super) fn certificate(
    certificate: &Certificate,
    facts: &Deployment,
    trust: &Ready,
    problems: &mut Vec<Problem>,
) -> Option<Logged> {
    let policy = trust.log()?;
    let Some(inclusion) = &certificate.log else {
        problems.push(Problem::new("log", "is null, and the trust file wants the audit log's proof"));
        return None;
    };
    let mut broken = |field: &str, text: String| {
        problems.push(Problem::new(field, text));
        None
    };
    if let Err(text) = log::names(&inclusion.entry, certificate, facts) {
        return broken("log.entry", text);
    }
    let proof = match log::proof(inclusion) {
        Ok(proof) => proof,
        Err(error) => return broken("log.proof", error),
    };
    let proven = match proof.check(inclusion.entry.as_bytes(), policy) {
        Ok(proven) => proven,
        Err(error) => return broken("log.proof", error.to_string()),
    };
    if let Some(audit) = &facts.audit {
        if audit.origin != proven.origin {
            let text = format!("is {}, the certificate stands in {}", audit.origin, proven.origin);
            return broken("predicate.audit.origin", text);
        }
        if audit.last >= proven.index {
            let text = format!("is {}, the certificate itself is entry {}", audit.last, proven.index);
            return broken("predicate.audit.last", text);
        }
        let is_one = audit.size != proven.size || audit.root == proven.root.to_string();
        if audit.size > proven.size || !is_one {
            let text = format!("{} with this root is not of the log that has the certificate", audit.size);
            return broken("predicate.audit.size", text);
        }
    }
    let (at, signed) = times(&proven.trust);
    Some(Logged {
        origin: proven.origin,
        index: proven.index,
        size: proven.size,
        at,
        signed,
        witnesses: proven.trust.witnesses.into_iter().map(|witness| witness.name).collect(),
    })
}

/// When the last witness cosigned, and when the log signed, as far as they say.
fn times(trust: &Trust) -> (Option<At>, Option<At>) {
    let latest = |signed: &[ledger::checkpoint::Signed]| {
        let time = signed.iter().filter_map(|signed| signed.time).max()?;
        Some(At(Timestamp(i64::try_from(time).unwrap_or(i64::MAX).saturating_mul(1000))))
    };
    (latest(&trust.witnesses), latest(&trust.log))
}

/// The log holds the journal's first and last event where the statement says; by the policy of the trust file, if it
/// names a log.
pub(super) fn range(
    certificate: &Certificate,
    facts: &Deployment,
    records: &[Record],
    trust: &Ready,
    problems: &mut Vec<Problem>,
) {
    let (audit, range) = match (&facts.audit, &certificate.journal.range) {
        (None, None) => return,
        (None, Some(_)) => {
            return problems.push(Problem::new("journal.range", "is there, and the statement names no log"));
        }
        (Some(_), None) => {
            let text = "is null, and the statement names a place in a log";
            return problems.push(Problem::new("journal.range", text));
        }
        (Some(audit), Some(range)) => (audit, range),
    };
    if let Err((field, text)) = log::holds(range, audit, records, trust.log()) {
        problems.push(Problem::new(field, text));
    }
}
