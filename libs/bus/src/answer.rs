//! Answering calls through the NATS services protocol: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` work.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_nats::service::{Request, ServiceExt, endpoint::Endpoint};
use futures::{FutureExt, StreamExt};
use model::{Code, Fault};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tracing::{Instrument, error, info_span, warn};
use wire::Message;

use crate::{
    Addressed, Bus, Call, Error, Serving,
    frame::{self, Meta},
    tasks, trace,
};

/// So many requests per running one may wait; more are refused as overloaded at once.
const WAITING_PER_RUNNING: usize = 8;
/// For askers that say no deadline.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

impl Bus {
    /// Answers a call with at most `concurrency` handlers at once. The asker's deadline bounds the handler: when it
    /// is over, the work is dropped. A panic in the handler is an internal fault.
    pub async fn answer<Req, Rep, H, F>(
        &self,
        call: &Call<Req, Rep>,
        concurrency: usize,
        handler: H,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        H: Fn(Req, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Rep, Fault>> + Send + 'static,
    {
        self.answer_on((call.service, call.verb, call.subject()), concurrency, handler).await
    }

    /// Answers to one name, by [`Call::to`]; otherwise as [`Bus::answer`].
    pub async fn answer_to<Req, Rep, H, F>(
        &self,
        call: &Addressed<Req, Rep>,
        concurrency: usize,
        handler: H,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        H: Fn(Req, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Rep, Fault>> + Send + 'static,
    {
        self.answer_on((call.service, &call.endpoint, call.subject.clone()), concurrency, handler).await
    }

    /// Hears a call together with all others who do; only who knows the answer gives one, and the asker takes the
    /// first. One question after the other, as quickly as they come: the handler only looks.
    pub async fn answer_if_known<Req, Rep, H, F>(
        &self,
        call: &Call<Req, Rep>,
        handler: H,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        H: Fn(Req, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Option<Rep>> + Send + 'static,
    {
        let subject = call.subject();
        let failed = |error: async_nats::Error| Error::broker(format!("answering {subject}"), error);
        let mut asked = self.client.subscribe(subject.clone()).await.map_err(|error| failed(error.into()))?;
        self.round_trip().await?;
        let bus = self.clone();
        Ok(tasks::serve(move |cancel| async move {
            loop {
                let message = tokio::select! {
                    () = cancel.cancelled() => return,
                    message = asked.next() => message,
                };
                let Some(message) = message else { return };
                let question = frame::decode::<Req>(message.headers.as_ref(), &message.payload);
                let (Some(reply), Ok(question)) = (message.reply.clone(), question) else { continue };
                let meta = frame::meta(message.headers.as_ref(), 1);
                let looked = AssertUnwindSafe(async { handler(question, meta).await }).catch_unwind().await;
                if let Ok(Some(answer)) = looked {
                    let (headers, body) = (frame::headers::<Rep>(bus.identity()), answer.encode());
                    // Whoever asked asks again if this fails.
                    let _ = bus.client.publish_with_headers(reply, headers, body.into()).await;
                }
            }
        }))
    }

    async fn answer_on<Req, Rep, H, F>(
        &self,
        (service, endpoint, subject): (&'static str, &str, String),
        concurrency: usize,
        handler: H,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        H: Fn(Req, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Rep, Fault>> + Send + 'static,
    {
        let endpoint = self.endpoint(service, endpoint, subject.clone()).await?;
        // The server must know of the subscription before the caller says that it is ready.
        self.round_trip().await?;
        let bus = self.clone();
        let handler = Arc::new(handler);
        Ok(tasks::serve(move |cancel| async move {
            let mut endpoint = endpoint;
            let running = Arc::new(Semaphore::new(concurrency.max(1)));
            let mut held = JoinSet::new();
            loop {
                let request = tokio::select! {
                    () = cancel.cancelled() => break,
                    request = endpoint.next() => request,
                    Some(_) = held.join_next(), if !held.is_empty() => continue,
                };
                let Some(request) = request else { break };
                if held.len() >= concurrency.max(1) * (1 + WAITING_PER_RUNNING) {
                    let message = format!("{subject} has {} requests in hand", held.len());
                    reply(&bus, &request, Err::<Rep, _>(Fault::new(Code::Overloaded, message))).await;
                    continue;
                }
                let mut handling =
                    Box::pin(handle(bus.clone(), subject.clone(), request, running.clone(), handler.clone()));
                // What needs not wait for anything is done at once: a task of its own would cost more than the answer.
                if (&mut handling).now_or_never().is_none() {
                    held.spawn(handling);
                }
            }
            if endpoint.stop().await.is_err() {
                warn!(subject, "unsubscribing failed");
            }
            while held.join_next().await.is_some() {}
        }))
    }

    async fn endpoint(&self, service: &'static str, verb: &str, subject: String) -> Result<Endpoint, Error> {
        let mut services = self.shared.services.lock().await;
        let faults = self.shared.faults.clone();
        if !services.contains_key(service) {
            let started = self
                .client
                .service_builder()
                .metadata([("identity".to_owned(), self.identity().to_owned())].into())
                // Our faults are replies with a body, which the services protocol counts as successes.
                .stats_handler(
                    move |endpoint, _| json!({ "faults": faults.of(&format!("{service}.{endpoint}")) }),
                )
                .start(service, env!("CARGO_PKG_VERSION"))
                .await
                .map_err(|error| Error::broker(format!("starting the NATS service {service}"), error))?;
            services.insert(service, started);
        }
        let Some(service) = services.get(service) else { return Err(Error::Missing(service.to_owned())) };
        service
            .endpoint_builder()
            .name(verb)
            .add(subject.clone())
            .await
            .map_err(|error| Error::broker(format!("answering {subject}"), error))
    }
}

async fn handle<Req, Rep, H, F>(
    bus: Bus,
    subject: String,
    request: Request,
    running: Arc<Semaphore>,
    handler: Arc<H>,
) where
    Req: Message,
    Rep: Message,
    H: Fn(Req, Meta) -> F,
    F: Future<Output = Result<Rep, Fault>>,
{
    let meta = frame::meta(request.message.headers.as_ref(), 1);
    let deadline = meta.deadline.unwrap_or_else(|| Instant::now() + DEFAULT_DEADLINE);
    let span = info_span!("answer", subject, sender = meta.sender);
    if let Some(parent) = &meta.trace {
        trace::continue_in(&span, parent);
    }
    let work = async {
        let Ok(_permit) = running.acquire().await else {
            return Err(Fault::new(Code::Unavailable, format!("{subject} is stopping")));
        };
        let asked = frame::decode::<Req>(request.message.headers.as_ref(), &request.message.payload)?;
        let outcome = AssertUnwindSafe(async { handler(asked, meta).await }).catch_unwind().await;
        outcome.unwrap_or_else(|panic| Err(panicked(&subject, panic.as_ref())))
    };
    let outcome = tokio::time::timeout_at(deadline, work.instrument(span)).await.unwrap_or_else(|_| {
        Err(Fault::new(Code::Timeout, format!("{subject} was not done before the asker's deadline")))
    });
    if let Err(fault) = &outcome {
        bus.denied(&subject, request.message.headers.as_ref(), fault, deadline).await;
    }
    reply(&bus, &request, outcome).await;
}

async fn reply<Rep: Message>(bus: &Bus, request: &Request, outcome: Result<Rep, Fault>) {
    if let Err(fault) = &outcome {
        let subject = request.message.subject.as_str();
        bus.shared.faults.count(subject.strip_prefix("code.v1.rpc.").unwrap_or(subject), fault.code);
    }
    let (headers, body) = match outcome {
        Ok(reply) => (frame::headers::<Rep>(bus.identity()), reply.encode().into()),
        Err(fault) => frame::fault_reply(bus.identity(), &fault),
    };
    if let Err(error) = request.respond_with_headers(Ok(body), headers).await {
        warn!(%error, "the answer could not be sent");
    }
}

/// The fault that stands for a panic; logged, because it is a defect of ours.
pub(crate) fn panicked(subject: &str, panic: &(dyn Any + Send)) -> Fault {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    error!(subject, panic = text, "a handler panicked");
    Fault::new(Code::Internal, format!("a defect while handling {subject}"))
}
