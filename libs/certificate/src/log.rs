//! What the audit log says about a certificate: one record that names both of its statements by digest, and the leaves of
//! the journal that the certificate was read from.

use ledger::{InclusionProof, Policy, ProofFile, leaf_hash};
use model::{
    Digest, Event, Record,
    audit::AuditRecord,
    digest::{canonical_json, check_canonical},
};
use serde_json::{Value, json};

use crate::{Certificate, Deployment, Inclusion, Range, deployment::Audit};

/// The action of the record.
pub const ACTION: &str = "certificate.issued";

/// The detail of the record.
pub fn detail(certificate: &Certificate, facts: &Deployment) -> Value {
    json!({
        "ending": facts.ending,
        "statement": certificate.bundle.dsse_envelope.digest(),
        "summary": certificate.vsa.digest(),
    })
}

/// Whether the entry is the record of this certificate; the reason when not.
pub(crate) fn names(entry: &str, certificate: &Certificate, facts: &Deployment) -> Result<(), String> {
    check_canonical(entry.as_bytes())?;
    let record: AuditRecord =
        serde_json::from_str(entry).map_err(|error| format!("is no record of an audit log: {error}"))?;
    if record.action != ACTION {
        return Err(format!("records {}, not {ACTION}", record.action));
    }
    if record.subject != facts.deployment.as_str() {
        return Err(format!("is about {}, the certificate about {}", record.subject, facts.deployment));
    }
    let cause = format!("{}:{}", facts.deployment, facts.journal.version);
    if record.cause.as_deref() != Some(&cause) {
        let found = record.cause.as_deref().unwrap_or("nothing");
        return Err(format!("was caused by {found}, the certificate by {cause}"));
    }
    let expected = detail(certificate, facts);
    for field in ["statement", "summary", "ending"] {
        if record.detail.get(field) != expected.get(field) {
            let had = record.detail.get(field).and_then(Value::as_str).unwrap_or("nothing");
            let wanted = expected.get(field).and_then(Value::as_str).unwrap_or("nothing");
            return Err(format!("the log has {had} as its {field}, the certificate is {wanted}"));
        }
    }
    if record.detail == expected { Ok(()) } else { Err("says more than the certificate".to_owned()) }
}

/// The proof, read. What nothing covers nobody may read anything into.
pub(crate) fn proof(inclusion: &Inclusion) -> Result<ProofFile, String> {
    let proof: ProofFile = inclusion.proof.parse().map_err(|error| format!("cannot be read: {error}"))?;
    if proof.extra.is_some() {
        return Err("carries data that nothing signs".to_owned());
    }
    Ok(proof)
}

/// A field from the top of the file, and what is wrong with it.
pub type Wrong = (String, String);

/// Whether the log holds the first and the last event of these records where `audit` says; by this policy, if there is
/// one.
pub fn holds(range: &Range, audit: &Audit, records: &[Record], policy: Option<&Policy>) -> Result<(), Wrong> {
    let first = records.first().and_then(|record| Some((record, 1, record.events.first()?)));
    let last = records.last().and_then(|record| Some((record, record.events.len(), record.events.last()?)));
    let ends = [("first", &range.first, audit.first, first), ("last", &range.last, audit.last, last)];
    for (name, inclusion, index, event) in ends {
        let Some((record, part, event)) = event else {
            return Err(("journal.records".to_owned(), "has no events".to_owned()));
        };
        let told = tells(&inclusion.entry, record, part, event);
        told.map_err(|text| (format!("journal.range.{name}.entry"), text))?;
        stands(name, inclusion, index, audit, policy)?;
    }
    Ok(())
}

/// Whether the entry is the log's leaf of this event of the journal.
fn tells(entry: &str, record: &Record, part: usize, event: &Event) -> Result<(), String> {
    check_canonical(entry.as_bytes())?;
    let leaf: AuditRecord =
        serde_json::from_str(entry).map_err(|error| format!("is no record of an audit log: {error}"))?;
    let cause = format!("{}:{}", record.id, record.version);
    if leaf.subject != record.id || leaf.cause.as_deref() != Some(&cause) {
        let found = leaf.cause.unwrap_or_default();
        return Err(format!("is about {} {found}, asked for is {cause}", leaf.subject));
    }
    let action = format!("deployment.{}", event.name());
    if leaf.action != action || leaf.part as usize != part || leaf.parts as usize != record.events.len() {
        let found = format!("{}, part {} of {}", leaf.action, leaf.part, leaf.parts);
        return Err(format!("is {found}; {cause} is {action}, part {part} of {}", record.events.len()));
    }
    if !is_journal(&leaf.source) {
        return Err(format!("was told by {}, which is no journal of deployments", leaf.source));
    }
    if leaf.at != record.at {
        return Err(format!("is of {}, the enclosed record of {}", leaf.at, record.at));
    }
    same(&leaf, event)
}

/// The streams that hold them, also when the log had to give one a new name.
fn is_journal(source: &str) -> bool {
    let (stream, life) = source.split_once('#').unwrap_or((source, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    stream.strip_prefix("LOG_deployment_").is_some_and(is_number) && is_number(life)
}

/// A short event is the leaf's detail; of a long one the leaf has the digest, and its short fields.
fn same(leaf: &AuditRecord, event: &Event) -> Result<(), String> {
    let event = serde_json::to_value(event).unwrap_or_default();
    let mut names = leaf.detail.as_object().into_iter().flatten();
    if let Some((name, told)) = names.find(|(name, told)| event.get(name.as_str()) != Some(told)) {
        let known = event.get(name).unwrap_or(&Value::Null);
        return Err(format!("says {name} {told}, the enclosed journal says {known}"));
    }
    let text = canonical_json(&event);
    match &leaf.payload {
        None if leaf.detail == event => Ok(()),
        None => Err("says less than the enclosed journal".to_owned()),
        Some(payload) if payload.digest == Digest::of_bytes(&text) && payload.size == text.len() as u64 => {
            Ok(())
        }
        Some(payload) => {
            Err(format!("says that the event is {}, which the enclosed one is not", payload.digest))
        }
    }
}

/// Whether the entry stands in the log where the statement says.
fn stands(
    name: &str,
    inclusion: &Inclusion,
    index: u64,
    audit: &Audit,
    policy: Option<&Policy>,
) -> Result<(), Wrong> {
    let broken = |text: String| (format!("journal.range.{name}.proof"), text);
    let proof = proof(inclusion).map_err(broken)?;
    let state = proof.checkpoint.unverified();
    let path = InclusionProof { index: proof.index, size: state.size, hashes: proof.hashes.clone() };
    let leaf = leaf_hash(inclusion.entry.as_bytes());
    path.verify(&leaf, &state.root).map_err(|error| broken(error.to_string()))?;
    if let Some(policy) = policy {
        policy.check(&proof.checkpoint).map_err(|error| broken(error.to_string()))?;
    }
    let wrong = |part: &str, text: String| Err((format!("predicate.audit.{part}"), text));
    if proof.index != index {
        return wrong(name, format!("is {index}, the proof shows it at {}", proof.index));
    }
    if state.origin != audit.origin {
        return wrong("origin", format!("is {}, the proof is of {}", audit.origin, state.origin));
    }
    if name == "last" && state.size != audit.size {
        return wrong("size", format!("is {}, the proof is of a log of {}", audit.size, state.size));
    }
    if name == "last" && state.root.to_string() != audit.root {
        return wrong("root", format!("is {}, the proof's is {}", audit.root, state.root));
    }
    Ok(())
}
