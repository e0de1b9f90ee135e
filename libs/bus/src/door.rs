//! Doors to programs that are not ours: plain JSON in, plain JSON out, on a documented subject. With a key of its own
//! (`codectl access expert add`) a program can stand behind one with any NATS client.

use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind, client::Request};
use model::Token;
use serde_json::Value;

use crate::{Bus, Door, Error, frame};

impl Bus {
    /// Asks whoever stands behind the door. The answer is foreign: JSON and nothing more is known of it.
    pub async fn knock(
        &self,
        door: &Door,
        name: &Token,
        question: &Value,
        deadline: Duration,
    ) -> Result<Value, Error> {
        let subject = door.subject(name);
        let mut headers = HeaderMap::new();
        headers.insert(frame::CONTENT_TYPE, "application/json");
        headers.insert(frame::PRINCIPAL, self.said_by());
        headers.insert(frame::TRACEPARENT, crate::trace::current());
        headers.insert(frame::TIMEOUT, deadline.as_millis().to_string());
        let payload = question.to_string().into_bytes();
        self.fits(&subject, &headers, &payload)?;
        let request = Request::new().headers(headers).payload(payload.into()).timeout(Some(deadline));
        let reply =
            self.client.send_request(subject.clone(), request).await.map_err(|error| match error.kind() {
                RequestErrorKind::TimedOut => self.unanswered(subject.clone(), deadline),
                RequestErrorKind::NoResponders => Error::NoResponders { subject: subject.clone() },
                RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded
                | RequestErrorKind::Other => Error::broker(format!("asking {subject}"), error),
            })?;
        serde_json::from_slice(&reply.payload)
            .map_err(|error| Error::broker(format!("reading the answer of {subject}"), error))
    }

    /// Stands behind a door, for tests and for programs in Rust: one question after the other.
    pub async fn stand_behind<H, F>(
        &self,
        door: &Door,
        name: &Token,
        handler: H,
    ) -> Result<crate::Serving, Error>
    where
        H: Fn(Value) -> F + Send + Sync + 'static,
        F: Future<Output = Option<Value>> + Send + 'static,
    {
        use futures::StreamExt;
        let subject = door.subject(name);
        let failed = |error: async_nats::Error| Error::broker(format!("standing behind {subject}"), error);
        let mut asked = self
            .client
            .queue_subscribe(subject.clone(), name.to_string())
            .await
            .map_err(|error| failed(error.into()))?;
        self.round_trip().await?;
        let client = self.client.clone();
        Ok(crate::tasks::serve(move |cancel| async move {
            loop {
                let message = tokio::select! {
                    () = cancel.cancelled() => return,
                    message = asked.next() => message,
                };
                let Some(message) = message else { return };
                let (Some(reply), Ok(question)) = (message.reply, serde_json::from_slice(&message.payload))
                else {
                    continue;
                };
                if !frame::is_inbox(&reply) {
                    continue;
                }
                if let Some(answer) = handler(question).await {
                    // Whoever asked is gone if this fails.
                    let _ = client.publish(reply, answer.to_string().into_bytes().into()).await;
                }
            }
        }))
    }
}
