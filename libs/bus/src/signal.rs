//! Signals (now or never) and saying events (stored).

use std::str::FromStr;

use async_nats::jetstream::message::PublishMessage;
use futures::{Stream, StreamExt};
use ground::Backoff;
use model::{Code, Fault, Token};
use tracing::warn;
use wire::Message;

use crate::{Bus, Error, Event, Meta, Signal, frame};

/// Waits before an event that was not confirmed is said again.
const AGAIN: Backoff = Backoff::millis(200, 400);

/// A signal that was heard.
#[derive(Clone, Debug)]
pub struct Signalled<M> {
    /// Of which id.
    pub id: String,
    /// What was said.
    pub message: M,
    /// Who said it, and why.
    pub meta: Meta,
}

impl Bus {
    /// Says it to whoever listens now. Never waits for anyone and is lost when nobody listens or the connection is.
    pub async fn signal<M: Message>(&self, signal: &Signal<M>, id: &str, message: &M) -> Result<(), Error> {
        Token::from_str(id)?;
        let subject = signal.subject(id);
        let (headers, payload) = (frame::headers::<M>(self.said_by()), message.encode());
        self.fits(&subject, &headers, &payload)?;
        self.client
            .publish_with_headers(subject.clone(), headers, payload.into())
            .await
            .map_err(|error| Error::broker(format!("saying {subject}"), error))
    }

    /// Hears the signals of one id, or of all, from now on. What cannot be read is logged and left out. It reads on
    /// through reconnects and misses what is said meanwhile; a reader that is too slow loses messages, which is
    /// counted in [`crate::Counts::slow_consumers`].
    pub async fn listen<M: Message + Send + 'static>(
        &self,
        signal: &Signal<M>,
        id: Option<&str>,
    ) -> Result<impl Stream<Item = Signalled<M>> + Send + Unpin + 'static + use<M>, Error> {
        if let Some(id) = id {
            Token::from_str(id)?;
        }
        let subject = signal.subject(id.unwrap_or("*"));
        let failed = |what: &str, error: async_nats::Error| Error::broker(format!("{what} {subject}"), error);
        let heard = self
            .client
            .subscribe(subject.clone())
            .await
            .map_err(|error| failed("listening to", error.into()))?;
        // The server must know of it before the caller goes on.
        self.round_trip().await?;
        let who = signal.who;
        Ok(heard
            .filter_map(move |message| async move {
                let headers = message.headers.as_ref();
                let may_say = |meta: Meta| match who.may_say(&meta.principal) {
                    true => Ok(meta),
                    false => {
                        let text = format!("it is for {} to say, not for {}", who.sayers(), meta.principal);
                        Err(Fault::new(Code::Denied, text))
                    }
                };
                let read = frame::meta(headers, 1)
                    .and_then(may_say)
                    .and_then(|meta| Ok((meta, frame::decode(headers, &message.payload)?)));
                match read {
                    Ok((meta, message_said)) => {
                        let id = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                        Some(Signalled { id, message: message_said, meta })
                    }
                    Err(fault) => {
                        warn!(subject = message.subject.as_str(), %fault, "an unreadable signal");
                        None
                    }
                }
            })
            .boxed())
    }

    /// Says that something happened; when it returns, it is stored. Saying the same again under the same
    /// `message_id` within 10 minutes stores it once.
    pub async fn say<M: Message>(
        &self,
        event: &Event<M>,
        id: &str,
        message: &M,
        message_id: &str,
    ) -> Result<(), Error> {
        Token::from_str(id)?;
        self.publish_stored(event.subject(id), message, message_id).await
    }

    /// Publishes to a stream and waits until it is durable. Tried three times under the same message id.
    pub(crate) async fn publish_stored<M: Message>(
        &self,
        subject: String,
        message: &M,
        message_id: &str,
    ) -> Result<(), Error> {
        let mut headers = frame::headers::<M>(self.said_by());
        headers.insert(frame::MESSAGE_ID, frame::one_line(message_id));
        self.publish_raw(subject, headers, message.encode().into()).await
    }

    pub(crate) async fn publish_raw(
        &self,
        subject: String,
        headers: async_nats::HeaderMap,
        payload: bytes::Bytes,
    ) -> Result<(), Error> {
        self.fits(&subject, &headers, &payload)?;
        let mut tries = 0_u32;
        loop {
            tries += 1;
            let message = PublishMessage::build().headers(headers.clone()).payload(payload.clone());
            let answer = match self.jetstream.send_publish(subject.clone(), message).await {
                Ok(answer) => answer.await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if tries >= 3 => return Err(Error::broker(format!("saying {subject}"), error)),
                Err(_) => AGAIN.pause(tries).await,
            }
        }
    }
}
