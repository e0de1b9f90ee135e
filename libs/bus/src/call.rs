//! Asking: one answer or a fault before a deadline.

use std::time::Duration;

use async_nats::{RequestErrorKind, client::Request};
use wire::Message;

use crate::{Addressed, Bus, Call, Error, frame};

impl Bus {
    /// Asks and waits at most `deadline` for the answer. When nobody serves the call it fails at once. After a
    /// [`Error::Timeout`] the outcome is unknown: ask again only what is idempotent.
    pub async fn call<Req: Message, Rep: Message>(
        &self,
        call: &Call<Req, Rep>,
        request: &Req,
        deadline: Duration,
    ) -> Result<Rep, Error> {
        self.ask(call.subject(), request, deadline).await
    }

    /// The same of one name, by [`Call::to`]. [`Error::NoResponders`] means that nobody answers to that name.
    pub async fn call_to<Req: Message, Rep: Message>(
        &self,
        call: &Addressed<Req, Rep>,
        request: &Req,
        deadline: Duration,
    ) -> Result<Rep, Error> {
        self.ask(call.subject.clone(), request, deadline).await
    }

    async fn ask<Req: Message, Rep: Message>(
        &self,
        subject: String,
        request: &Req,
        deadline: Duration,
    ) -> Result<Rep, Error> {
        let headers = frame::question::<Req>(self.said_by(), deadline);
        let payload = request.encode();
        self.fits(&subject, &headers, &payload)?;
        let question = Request::new().headers(headers).payload(payload.into()).timeout(None);
        let answer =
            tokio::time::timeout(deadline, self.client.send_request(subject.clone(), question)).await;
        let reply = match answer {
            Ok(Ok(reply)) => reply,
            Err(_) => return Err(self.unanswered(subject, deadline)),
            Ok(Err(error)) => {
                return Err(match error.kind() {
                    RequestErrorKind::TimedOut => self.unanswered(subject, deadline),
                    RequestErrorKind::NoResponders => Error::NoResponders { subject },
                    RequestErrorKind::InvalidSubject
                    | RequestErrorKind::MaxPayloadExceeded
                    | RequestErrorKind::Other => Error::broker(format!("asking {subject}"), error),
                });
            }
        };
        if let Some(fault) = frame::fault_in(reply.headers.as_ref(), &reply.payload) {
            return Err(Error::Fault(fault));
        }
        Ok(frame::decode(reply.headers.as_ref(), &reply.payload)?)
    }
}
