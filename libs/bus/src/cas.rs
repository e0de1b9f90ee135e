//! Publishing on top of what was known: the ground under logs and buckets.

use async_nats::{
    HeaderMap,
    jetstream::{
        context::PublishErrorKind,
        message::{PublishMessage, StreamMessage},
        stream::{RawMessageErrorKind, Stream},
    },
};
use bytes::Bytes;
use ground::Backoff;
use tracing::debug;

use crate::{Bus, Error, WriteError, frame};

/// Tries of one publish whose outcome is unknown, before the caller is told so.
const TRIES: u32 = 4;
/// How often a change that lost against another writer is decided again before its caller is told.
pub(crate) const RACES: u32 = 50;
/// Waits after a lost race: spread, so that those who race do not go on doing so.
pub(crate) const RACING: Backoff = Backoff::millis(1, 50);
/// Waits between them.
const AGAIN: Backoff = Backoff::millis(100, 800);

/// What a publish goes on top of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Top {
    /// The last sequence on the subject, as the server is asked to compare it; 0: there is none.
    pub expected: u64,
    /// What follows this sequence on the subject is what was written instead, or is ours.
    pub after: u64,
}

impl From<u64> for Top {
    fn from(expected: u64) -> Top {
        Top { expected, after: expected }
    }
}

/// Why nothing was written, or why it is not known.
pub(crate) enum Lost {
    /// Another writer was first.
    Raced,
    /// The server counts something else as the last, and nothing follows what was expected: whoever expected it never
    /// read it, or the server cannot give what follows.
    Unexplained,
    /// The outcome is not known.
    Unavailable(Error),
}

impl From<Lost> for WriteError {
    fn from(lost: Lost) -> WriteError {
        match lost {
            Lost::Raced | Lost::Unexplained => WriteError::Raced,
            Lost::Unavailable(error) => WriteError::Unavailable(error),
        }
    }
}

impl Bus {
    pub(crate) async fn stream(&self, name: &str) -> Result<Stream<()>, Error> {
        self.jetstream
            .get_stream_no_info(name)
            .await
            .map_err(|error| Error::broker(format!("using stream {name}"), error))
    }

    /// The first message on `subject` at or after `sequence`, read from the stream's leader.
    pub(crate) async fn next_on(
        &self,
        stream: &str,
        subject: &str,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, Error> {
        let read = self.stream(stream).await?.get_first_raw_message_by_subject(subject, sequence).await;
        match read {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Error::broker(format!("reading {subject} in stream {stream}"), error)),
        }
    }

    /// The message at a sequence, read from the stream's leader.
    pub(crate) async fn at(&self, stream: &str, sequence: u64) -> Result<Option<StreamMessage>, Error> {
        match self.stream(stream).await?.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => {
                Err(Error::broker(format!("reading sequence {sequence} of stream {stream}"), error))
            }
        }
    }

    /// The last message on `subject`, read from the stream's leader.
    pub(crate) async fn last_on(&self, stream: &str, subject: &str) -> Result<Option<StreamMessage>, Error> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind;
        match self.stream(stream).await?.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Error::broker(format!("reading {subject} in stream {stream}"), error)),
        }
    }

    /// Publishes if the last sequence on the subject is still the expected one. The message id must be unique to this attempt
    /// to write: it tells our message from another's when an answer was lost.
    ///
    /// An answer that did not come is unknown. Then the message that follows decides: ours, another's, or
    /// none yet; in the last case the same message is sent again, at most [`TRIES`] times in all.
    pub(crate) async fn publish_on_top(
        &self,
        stream: &str,
        subject: &str,
        mut headers: HeaderMap,
        payload: Bytes,
        message_id: &str,
        top: Top,
    ) -> Result<u64, Lost> {
        headers.insert(frame::MESSAGE_ID, message_id);
        self.fits(subject, &headers, &payload).map_err(Lost::Unavailable)?;
        let mut trouble = None;
        for attempt in 1..=TRIES {
            let message = PublishMessage::build()
                .headers(headers.clone())
                .payload(payload.clone())
                .expected_last_subject_sequence(top.expected)
                .expected_stream(stream);
            let answer = match self.jetstream.send_publish(subject.to_owned(), message).await {
                Ok(answer) => answer.await,
                Err(error) => Err(error),
            };
            let error = match answer {
                Ok(ack) => return Ok(ack.sequence),
                Err(error) => error,
            };
            let known = match error.kind() {
                PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::StreamNotFound => {
                    return Err(Lost::Unavailable(Error::broker(format!("writing {subject}"), error)));
                }
                PublishErrorKind::WrongLastSequence => true,
                PublishErrorKind::WrongLastMessageId
                | PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::MaxAckPending
                | PublishErrorKind::Other => false,
            };
            debug!(subject, expected = top.expected, attempt, %error, "a write was not confirmed");
            match self.next_on(stream, subject, top.after + 1).await {
                Ok(Some(found))
                    if frame::text(Some(&found.headers), frame::MESSAGE_ID) == Some(message_id) =>
                {
                    return Ok(found.sequence);
                }
                Ok(Some(_)) => return Err(Lost::Raced),
                Ok(None) if known => return Err(Lost::Unexplained),
                Ok(None) => trouble = Some(Error::broker(format!("writing {subject}"), error)),
                Err(error) => trouble = Some(error),
            }
            AGAIN.pause(attempt).await;
        }
        Err(Lost::Unavailable(trouble.unwrap_or_else(|| Error::Missing(subject.to_owned()))))
    }
}
