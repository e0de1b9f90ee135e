//! The inbox for the world: CloudEvents, validated and answered, and not lost while no engine is up.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_nats::{HeaderMap, Message as CoreMessage};
use futures::{FutureExt, StreamExt};
use model::{Code, Fault, Principal};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tracing::{Instrument, info_span, warn};

use crate::{
    Bus, Error, Inbox, Serving, WorkRules,
    answer::panicked,
    cloudevents::{self, CloudEvent},
    frame::{self, Meta},
    tasks, trace,
};

/// Events from the world in hand at once; more are refused as overloaded when they want an answer.
const CONCURRENCY: usize = 32;
const DEADLINE: Duration = Duration::from_secs(30);

impl Bus {
    /// Takes CloudEvents that publishers hand in. An event with a reply subject is answered at once: with the handler's
    /// value, or with `{code, message, complaints}`. Every event is also stored and handled from there, so that one
    /// published while nobody was up is not lost. The handler therefore sees an event twice or more and is idempotent by
    /// the publisher and [`CloudEvent::key`]. Invalid events are dead letters.
    pub async fn inbox<H, F>(&self, inbox: &Inbox, handler: H) -> Result<(Serving, Serving), Error>
    where
        H: Fn(CloudEvent, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, Fault>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let answering = self.answer_world(inbox.filter(), handler.clone()).await?;
        let stored = self.serve_lane(
            inbox.lane(),
            WorkRules::default(),
            Arc::new(move |message, deliveries| {
                let handler = handler.clone();
                Box::pin(async move {
                    let event = read(&message)?;
                    let meta = frame::meta_of(publisher(&message)?, message.headers.as_ref(), deliveries);
                    handler(event, meta).await.map(|_| ())
                })
            }),
        );
        Ok((answering, stored.await?))
    }

    async fn answer_world<H, F>(&self, subject: String, handler: Arc<H>) -> Result<Serving, Error>
    where
        H: Fn(CloudEvent, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, Fault>> + Send + 'static,
    {
        let failed = |error: async_nats::Error| Error::broker(format!("answering {subject}"), error);
        let mut asked = self
            .client
            .queue_subscribe(subject.clone(), Inbox::QUEUE.to_owned())
            .await
            .map_err(|error| failed(error.into()))?;
        self.round_trip().await?;
        let bus = self.clone();
        Ok(tasks::serve(move |cancel| async move {
            let mut held = JoinSet::new();
            loop {
                let message = tokio::select! {
                    () = cancel.cancelled() => break,
                    message = asked.next() => message,
                    Some(_) = held.join_next(), if !held.is_empty() => continue,
                };
                let Some(message) = message else { break };
                // Without a reply subject the stored copy is enough.
                let Some(reply) = message.reply.clone().filter(|reply| frame::is_inbox(reply)) else {
                    continue;
                };
                let (bus, handler, full) = (bus.clone(), handler.clone(), held.len() >= CONCURRENCY);
                held.spawn(async move {
                    let outcome = if full {
                        Err(Fault::new(
                            Code::Overloaded,
                            format!("{CONCURRENCY} requests are in hand, ask again"),
                        ))
                    } else {
                        handle(&message, &*handler).await
                    };
                    let (headers, body) = answer(&bus, outcome);
                    if let Err(error) = bus.client.publish_with_headers(reply, headers, body.into()).await {
                        warn!(%error, "the answer could not be sent");
                    }
                });
            }
            if asked.unsubscribe().await.is_err() {
                warn!(subject, "unsubscribing failed");
            }
            while held.join_next().await.is_some() {}
        }))
    }
}

async fn handle<H, F>(message: &CoreMessage, handler: &H) -> Result<Value, Fault>
where
    H: Fn(CloudEvent, Meta) -> F,
    F: Future<Output = Result<Value, Fault>>,
{
    let event = read(message)?;
    let meta = frame::meta_of(publisher(message)?, message.headers.as_ref(), 1);
    let span = info_span!("inbox", subject = message.subject.as_str(), by = %meta.principal, id = event.id);
    if let Some(parent) = meta.trace.as_ref().or(event.extensions.get("traceparent")) {
        trace::continue_in(&span, parent);
    }
    let work = AssertUnwindSafe(async { handler(event, meta).await }).catch_unwind().instrument(span);
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(panicked(message.subject.as_str(), panic.as_ref())),
        Err(_) => {
            Err(Fault::new(Code::Timeout, format!("not done within {DEADLINE:?}; it goes on from the store")))
        }
    }
}

/// Who published it: the broker lets nobody publish under another name.
fn publisher(message: &CoreMessage) -> Result<Principal, Fault> {
    let named = Inbox::publisher(&message.subject).map(|name| Principal::Publisher { name });
    named.ok_or_else(|| Fault::new(Code::Invalid, format!("{} names no publisher", message.subject)))
}

fn read(message: &CoreMessage) -> Result<CloudEvent, Fault> {
    let mut headers = BTreeMap::new();
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        if let Some(value) = values.first() {
            headers.insert(name.to_string().to_ascii_lowercase(), value.as_str().to_owned());
        }
    }
    cloudevents::parse(&headers, &message.payload)
        .map_err(|complaints| Fault::invalid("the message is not a valid CloudEvent", complaints))
}

fn answer(bus: &Bus, outcome: Result<Value, Fault>) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    headers.insert(frame::CONTENT_TYPE, "application/json");
    headers.insert(frame::PRINCIPAL, bus.said_by());
    let body = match outcome {
        Ok(value) => value,
        Err(fault) => {
            headers.insert(frame::SERVICE_ERROR, frame::one_line(&fault.message));
            headers.insert(frame::SERVICE_ERROR_CODE, fault.code.status().to_string());
            json!({ "code": fault.code, "message": fault.message, "complaints": fault.complaints })
        }
    };
    (headers, body.to_string().into_bytes())
}
