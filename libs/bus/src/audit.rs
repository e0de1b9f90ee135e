//! For the audit log: saying what no journal holds, and hearing everything that is stored, as it is stored.

use std::str::FromStr;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use model::{Principal, Timestamp, Token};
use wire::Message;

use crate::{Bus, Error, SHARDS, Trail, frame, subject::log_stream, subjects::LOGS};

/// One stored message, as the broker has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Which stream.
    pub stream: String,
    /// Its place there; a stream counts without a gap.
    pub seq: u64,
    /// Where it was said.
    pub subject: String,
    /// When it was stored.
    pub at: Timestamp,
    /// Who said it, when the message says who.
    pub by: Option<Principal>,
    /// W3C traceparent of the cause.
    pub trace: Option<String>,
    /// What it is known by, when it was given an id.
    pub message_id: Option<String>,
    /// The protobuf message it says it is.
    pub content: String,
    /// What was said.
    pub payload: Bytes,
}

/// Nothing is ever taken out of this stream: what is missing in it was lost. So it is with journals.
pub fn keeps_all(stream: &str) -> bool {
    LOGS.iter().any(|noun| (0..SHARDS).any(|shard| log_stream(noun, shard) == stream))
}

impl Bus {
    /// Hands a fact to the audit log. Durable when it returns; the same `id` within ten minutes is stored once. The
    /// log itself keeps each count of a source once, so saying it again is always safe. [`Bus::outbox`] says it again
    /// by itself.
    pub async fn trail<M: Message>(
        &self,
        trail: &Trail<M>,
        source: &str,
        id: &str,
        message: &M,
    ) -> Result<(), Error> {
        Token::from_str(source)?;
        let mut headers = frame::headers::<M>(self.said_by());
        headers.insert(frame::MESSAGE_ID, frame::one_line(id));
        self.publish_raw(trail.subject(source), headers, message.encode().into()).await
    }

    /// The last place that a stream has given out; it never goes back unless the stream lost its end, or an older copy of
    /// it was put in its place.
    pub async fn end_of(&self, stream: &str) -> Result<u64, Error> {
        self.last_sequence(stream).await
    }

    /// What stands at one place of a stream; none when nothing does.
    pub async fn heard_at(&self, stream: &str, seq: u64) -> Result<Option<Heard>, Error> {
        let Some(message) = self.at(stream, seq).await? else { return Ok(None) };
        let at = message.time.unix_timestamp_nanos();
        Ok(Some(heard(stream, seq, &message.subject, at, Some(&message.headers), &message.payload)))
    }

    /// Everything in a stream after a place, in order, for ever; through lost connections. A place that is skipped is
    /// not in the stream any more.
    pub fn hear_all(
        &self,
        stream: &str,
        after: u64,
    ) -> impl Stream<Item = Heard> + Send + Unpin + 'static + use<> {
        let name = stream.to_owned();
        self.tail(name.clone(), None, after + 1)
            .map(move |stored| {
                let at = stored.message.info().map(|info| info.published.unix_timestamp_nanos());
                let message = &stored.message;
                heard(
                    &name,
                    stored.seq,
                    &message.subject,
                    at.unwrap_or_default(),
                    message.headers.as_ref(),
                    &message.payload,
                )
            })
            .boxed()
    }
}

fn heard(
    stream: &str,
    seq: u64,
    subject: &str,
    nanoseconds: i128,
    headers: Option<&HeaderMap>,
    payload: &Bytes,
) -> Heard {
    let text = |name| frame::text(headers, name).map(str::to_owned);
    let content = text(frame::CONTENT_TYPE).unwrap_or_default();
    Heard {
        stream: stream.to_owned(),
        seq,
        subject: subject.to_owned(),
        at: frame::stored_at(nanoseconds),
        by: frame::principal(headers).ok(),
        trace: text(frame::TRACEPARENT),
        message_id: text(frame::MESSAGE_ID),
        content: content.rsplit_once("proto=").map_or(content.clone(), |(_, name)| name.to_owned()),
        payload: payload.clone(),
    }
}
