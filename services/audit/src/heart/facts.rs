//! What a stored message says: one leaf per fact.

use bus::{Heard, Message};
use model::{
    Digest, Principal, Record, Timestamp,
    audit::{AuditOutcome, AuditPayload, AuditRecord},
};
use serde_json::{Map, Value};

use super::admit::Content;

/// Who acts when a message does not say who sent it.
pub const UNKNOWN: &str = "unknown";
/// A fact longer than this is kept by digest.
pub const INLINE: usize = 4096;

/// A message's leaves, and the large facts that are kept beside the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The leaves.
    pub content: Content,
    /// What they name by digest.
    pub large: Vec<Vec<u8>>,
}

/// Reads a stored message. What cannot be read is a leaf too: its digest stands there.
pub fn facts(heard: &Heard) -> Said {
    let mut large = Vec::new();
    let subject: Vec<&str> = heard.subject.split('.').collect();
    let content = match subject.as_slice() {
        ["code", "v1", "log", noun, ..] => match Record::<Value>::decode(&heard.payload) {
            Ok(record) => Content::Facts(journal(heard, noun, record, &mut large)),
            Err(error) => Content::Facts(vec![unreadable(heard, &error.to_string())]),
        },
        ["code", "v1", "trail", ..] => match AuditRecord::decode(&heard.payload) {
            Ok(record) => match complaint(&record) {
                None => Content::Told(Box::new(record)),
                Some(why) => Content::Facts(vec![unreadable(heard, &why)]),
            },
            Err(error) => Content::Facts(vec![unreadable(heard, &error.to_string())]),
        },
        ["code", "v1", "evt", noun, verb, rest @ ..] => {
            let record = whole(heard, format!("event.{noun}.{verb}"), rest.join("."), AuditOutcome::Done);
            Content::Facts(vec![record])
        }
        ["code", "v1", "dead", rest @ ..] => {
            let action = "message.dead".to_owned();
            Content::Facts(vec![whole(heard, action, rest.join("."), AuditOutcome::Failed)])
        }
        _ => Content::Facts(vec![unreadable(heard, "a subject that is not in the table of speech")]),
    };
    Said { content, large }
}

/// Why a fact that was handed over cannot be a leaf.
pub fn complaint(record: &AuditRecord) -> Option<String> {
    let plain = |text: &str| !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
    let source = record.source.as_str();
    let token = source.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    // Streams are written in capitals and our own name is reserved: nobody can count for them.
    if source.is_empty() || source.len() > 63 || !token || source == super::admit::OWN {
        return Some(format!("{source:?} is not a source: a-z, 0-9 and -, at most 63, and not `audit`"));
    }
    if record.v != 1 || record.counter == 0 || record.part != 1 || record.parts != 1 {
        return Some("version, part and parts are 1, the first count is 1".to_owned());
    }
    for (field, text) in [("actor", &record.actor), ("action", &record.action), ("subject", &record.subject)]
    {
        if !plain(text) {
            return Some(format!("{field} is empty, longer than 256 or holds control characters"));
        }
    }
    let size = record.to_leaf().len();
    let most = 4 * INLINE;
    (size > most).then(|| format!("it has {size} bytes, at most {most}: keep the large part as evidence"))
}

fn base(heard: &Heard) -> AuditRecord {
    AuditRecord {
        v: 1,
        source: heard.stream.clone(),
        counter: heard.seq,
        part: 1,
        parts: 1,
        at: heard.at,
        actor: heard.by.as_ref().map_or_else(|| UNKNOWN.to_owned(), Principal::as_text),
        action: String::new(),
        subject: String::new(),
        outcome: AuditOutcome::Done,
        reason: None,
        cause: heard.message_id.as_deref().map(cut),
        trace: heard.trace.as_deref().map(cut),
        detail: Value::Null,
        payload: None,
    }
}

/// A message that is kept by its digest: what it says stands in a journal too.
fn whole(heard: &Heard, action: String, subject: String, outcome: AuditOutcome) -> AuditRecord {
    let payload = AuditPayload { digest: Digest::of_bytes(&heard.payload), size: heard.payload.len() as u64 };
    AuditRecord {
        action: cut(&action),
        subject: cut(&subject),
        outcome,
        payload: Some(payload),
        ..base(heard)
    }
}

fn unreadable(heard: &Heard, why: &str) -> AuditRecord {
    let record = whole(heard, "message.unreadable".to_owned(), heard.subject.clone(), AuditOutcome::Failed);
    AuditRecord { reason: Some(cut(why)), ..record }
}

fn journal(heard: &Heard, noun: &str, record: Record<Value>, large: &mut Vec<Vec<u8>>) -> Vec<AuditRecord> {
    let parts = record.events.len() as u32;
    let events = record.events.into_iter().zip(1u32..);
    let leaves = events.map(|(event, part)| {
        let name = event.get("event").and_then(Value::as_str).unwrap_or("unnamed").to_owned();
        let (outcome, reason) = outcome(&name, &event);
        let actor =
            ["by", "initiator", "runner", "owner"].into_iter().find_map(|key| event.get(key)?.as_str());
        let actor = cut(actor.unwrap_or(&record.writer));
        let (detail, payload) = small(event, large);
        AuditRecord {
            part,
            parts,
            at: if record.at == Timestamp(0) { heard.at } else { record.at },
            actor,
            action: cut(&format!("{noun}.{name}")),
            subject: cut(&record.id),
            outcome,
            reason: reason.as_deref().map(cut),
            cause: Some(cut(&format!("{}:{}", record.id, record.version))),
            trace: record.trace.as_deref().or(heard.trace.as_deref()).map(cut),
            detail,
            payload,
            ..base(heard)
        }
    });
    leaves.collect()
}

/// How an event came out, and why, from the words that journals use for it.
fn outcome(name: &str, event: &Value) -> (AuditOutcome, Option<String>) {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let reason = ["/cause/text", "/reason", "/result/summary", "/result/text", "/result/message", "/force"];
    let reason = reason.into_iter().find_map(text);
    let end = ["/verdict", "/result/outcome", "/outcome"].into_iter().find_map(text).unwrap_or_default();
    let outcome = match end.as_str() {
        "rejected" => AuditOutcome::Denied,
        "failed" | "errored" | "inconclusive" | "rolled_back" | "needs_human" => AuditOutcome::Failed,
        _ if matches!(name, "rollback_began" | "human_needed" | "quarantined") => AuditOutcome::Failed,
        _ => AuditOutcome::Done,
    };
    (outcome, reason)
}

fn small(event: Value, large: &mut Vec<Vec<u8>>) -> (Value, Option<AuditPayload>) {
    let bytes = model::digest::canonical_json(&event);
    if bytes.len() <= INLINE {
        return (event, None);
    }
    let payload = AuditPayload { digest: Digest::of_bytes(&bytes), size: bytes.len() as u64 };
    large.push(bytes);
    // What a search or a rule wants, without what makes it large.
    let fields = event.as_object().map(|fields| {
        fields
            .iter()
            .filter(|(_, value)| value.is_number() || value.as_str().is_some_and(|text| text.len() <= 256))
    });
    let fields: Map<String, Value> =
        fields.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    (Value::Object(fields), Some(payload))
}

/// At most 256 bytes on one line.
fn cut(text: &str) -> String {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
