//! What stands around every payload: content type, who says it, trace, deadline.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use model::{Code, Fault, Principal, Timestamp};
use tokio::time::Instant;
use wire::Message;

use crate::trace;

pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
pub(crate) const CONTENT_TYPE: &str = "Content-Type";
/// Who says it, as [`Principal::as_text`] writes it. Set from what the connection is, by nobody else.
pub(crate) const PRINCIPAL: &str = "Code-Principal";
pub(crate) const TRACEPARENT: &str = "traceparent";
/// Milliseconds that are left when the message is sent. Relative, because clocks differ.
pub(crate) const TIMEOUT: &str = "Code-Timeout-Ms";
pub(crate) const SERVICE_ERROR: &str = "Nats-Service-Error";
pub(crate) const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

/// What stands around a call and its answer, in one header: the values of [`FIELDS`] with a tab between them. A header costs
/// both sides and the broker more than what it says. Askers that are not ours may say the same in headers of their own.
pub(crate) const COMPACT: &str = "Code";
const FIELDS: [&str; 4] = [CONTENT_TYPE, PRINCIPAL, TRACEPARENT, TIMEOUT];

const PROTOBUF: &str = "application/protobuf; proto=";

/// What came with a message.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Who says it: what the connection of the other side is. Each kind of principal tells what it proves.
    pub principal: Principal,
    /// W3C traceparent of the cause.
    pub trace: Option<String>,
    /// When the asker stops waiting.
    pub deadline: Option<Instant>,
    /// How often it was delivered, this time included; 1 for calls.
    pub deliveries: u64,
    /// What it is known by, when it was given an id.
    pub message_id: Option<String>,
}

/// The headers of a message of type `M`.
pub(crate) fn headers<M: Message>(by: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, format!("{PROTOBUF}{}", M::NAME));
    headers.insert(PRINCIPAL, by);
    headers.insert(TRACEPARENT, trace::current());
    headers
}

/// The header of a question of type `M`, answered within `deadline`.
pub(crate) fn question<M: Message>(by: &str, deadline: Duration) -> HeaderMap {
    // A principal has no control characters, so no tab.
    let trace = trace::current();
    compact(format!("{PROTOBUF}{}\t{by}\t{trace}\t{}", M::NAME, deadline.as_millis()))
}

/// The header of an answer of type `M`: the asker knows whom it asked.
pub(crate) fn answer<M: Message>() -> HeaderMap {
    compact(format!("{PROTOBUF}{}", M::NAME))
}

fn compact(text: String) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(COMPACT, text);
    headers
}

/// When the broker stored a message, from nanoseconds since 1970.
pub(crate) fn stored_at(nanoseconds: i128) -> Timestamp {
    Timestamp(i64::try_from(nanoseconds / 1_000_000).unwrap_or_default())
}

/// Whether an answer may go there: into somebody's inbox, or to the place that the broker makes for a question from another
/// account. Whoever asks chooses it, so that else a question could have us write a job, a key or a journal in our name.
pub(crate) fn is_inbox(reply: &str) -> bool {
    reply.starts_with("_INBOX.") || reply.starts_with("_R_.")
}

/// Header values cannot hold line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

pub(crate) fn text<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    let headers = headers?;
    if let Some(place) = FIELDS.iter().position(|field| *field == name)
        && let Some(all) = headers.get(COMPACT)
    {
        return all.as_str().split('\t').nth(place).filter(|text| !text.is_empty());
    }
    headers.get(name).map(|value| value.as_str())
}

/// Who says it, when the headers say so.
pub(crate) fn principal(headers: Option<&HeaderMap>) -> Result<Principal, Fault> {
    let cure = "the bus of a connection sets it, from who the connection is";
    let Some(text) = text(headers, PRINCIPAL) else {
        return Err(Fault::new(Code::Invalid, format!("header {PRINCIPAL} is missing: {cure}")));
    };
    let wrong =
        |why: &dyn std::fmt::Display| Fault::new(Code::Invalid, format!("header {PRINCIPAL}: {why}; {cure}"));
    match text.parse().map_err(|error| wrong(&error))? {
        signer @ Principal::Signer { .. } => {
            Err(wrong(&format_args!("{signer} is whoever signed something, and a header is not signed")))
        }
        publisher @ Principal::Publisher { .. } => Err(wrong(&format_args!(
            "{publisher} is known by the subject that its key may publish on, not by a header"
        ))),
        principal => Ok(principal),
    }
}

/// What came with a message of which the headers say who sent it.
pub(crate) fn meta(headers: Option<&HeaderMap>, deliveries: u64) -> Result<Meta, Fault> {
    Ok(meta_of(principal(headers)?, headers, deliveries))
}

/// What came with a message of whom we know otherwise.
pub(crate) fn meta_of(principal: Principal, headers: Option<&HeaderMap>, deliveries: u64) -> Meta {
    let left = text(headers, TIMEOUT).and_then(|left| left.parse().ok()).map(Duration::from_millis);
    Meta {
        principal,
        trace: text(headers, TRACEPARENT).map(str::to_owned),
        deadline: left.map(|left| Instant::now() + left.min(Duration::from_secs(24 * 3600))),
        deliveries,
        message_id: text(headers, MESSAGE_ID).map(str::to_owned),
    }
}

/// Reads a payload as `M`. A content type that names another message or version is refused; none is taken on trust.
pub(crate) fn decode<M: Message>(headers: Option<&HeaderMap>, payload: &Bytes) -> Result<M, wire::Error> {
    match text(headers, CONTENT_TYPE).and_then(|kind| kind.strip_prefix(PROTOBUF)) {
        Some(name) => wire::decode_named(name, payload),
        None => M::decode(payload),
    }
}

/// The headers and body that carry a fault back to an asker.
pub(crate) fn fault_reply(fault: &Fault) -> (HeaderMap, Bytes) {
    let mut headers = answer::<Fault>();
    headers.insert(SERVICE_ERROR, one_line(&fault.message));
    headers.insert(SERVICE_ERROR_CODE, fault.code.status().to_string());
    (headers, fault.encode().into())
}

/// The fault in a reply, if it is one.
pub(crate) fn fault_in(headers: Option<&HeaderMap>, payload: &Bytes) -> Option<Fault> {
    let status = text(headers, SERVICE_ERROR_CODE)?;
    Some(match decode::<Fault>(headers, payload) {
        Ok(fault) => fault,
        Err(_) => {
            let message = text(headers, SERVICE_ERROR).unwrap_or("no reason given");
            Fault::new(Code::Internal, format!("service error {status}: {message}"))
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_header_does_not_prove_a_publisher_or_a_signer() {
        for (stated, taken) in [
            ("unauthenticated:ann", true),
            ("event-source:/ci/shop", true),
            ("publisher:ci-1", false),
            ("signer:ann", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PRINCIPAL, stated);

            let read = principal(Some(&headers));

            assert_eq!(read.is_ok(), taken, "{stated}: {read:?}");
        }
    }
}
