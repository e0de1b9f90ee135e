//! What stands around every payload: content type, sender, trace, deadline.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use model::{Code, Fault, Timestamp};
use tokio::time::Instant;
use wire::Message;

use crate::trace;

pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
pub(crate) const CONTENT_TYPE: &str = "Content-Type";
pub(crate) const SENDER: &str = "Code-Sender";
pub(crate) const TRACEPARENT: &str = "traceparent";
/// Milliseconds that are left when the message is sent. Relative, because clocks differ.
pub(crate) const TIMEOUT: &str = "Code-Timeout-Ms";
pub(crate) const SERVICE_ERROR: &str = "Nats-Service-Error";
pub(crate) const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

const PROTOBUF: &str = "application/protobuf; proto=";

/// What came with a message.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Who said it; empty when it is not known. Evidence, not proof: use NATS accounts for that.
    pub sender: String,
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
pub(crate) fn headers<M: Message>(sender: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, format!("{PROTOBUF}{}", M::NAME));
    headers.insert(SENDER, one_line(sender));
    headers.insert(TRACEPARENT, trace::current());
    headers
}

/// When the broker stored a message, from nanoseconds since 1970.
pub(crate) fn stored_at(nanoseconds: i128) -> Timestamp {
    Timestamp(i64::try_from(nanoseconds / 1_000_000).unwrap_or_default())
}

/// Header values cannot hold line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

pub(crate) fn text<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get(name).map(|value| value.as_str())
}

pub(crate) fn meta(headers: Option<&HeaderMap>, deliveries: u64) -> Meta {
    let left = text(headers, TIMEOUT).and_then(|left| left.parse().ok()).map(Duration::from_millis);
    Meta {
        sender: text(headers, SENDER).unwrap_or_default().to_owned(),
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
pub(crate) fn fault_reply(sender: &str, fault: &Fault) -> (HeaderMap, Bytes) {
    let mut headers = headers::<Fault>(sender);
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
