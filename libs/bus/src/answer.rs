//! Answering calls through the NATS services protocol: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS` work.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_nats::{
    Subject,
    service::{Request, ServiceExt, endpoint::Endpoint},
};
use futures::{FutureExt, StreamExt};
use model::{Code, Fault};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tracing::{Instrument, error, info_span, warn};
use wire::Message;

use crate::{
    Addressed, Bus, Call, Error, Serving,
    control::{Control, TOLD},
    frame::{self, Meta},
    subject::Who,
    tasks, trace,
};

/// So many requests per running one may wait; more are refused as overloaded at once.
const WAITING_PER_RUNNING: usize = 8;
/// For askers that say no deadline.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// What answers calls: a function of the question and what came with it.
pub trait Handler<Req, Rep>:
    Fn(Req, Meta) -> <Self as Handler<Req, Rep>>::Answering + Send + Sync + 'static
{
    /// The work on one question.
    type Answering: Future<Output = Result<Rep, Fault>> + Send + 'static;
}

impl<Req, Rep, H, F> Handler<Req, Rep> for H
where
    H: Fn(Req, Meta) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Rep, Fault>> + Send + 'static,
{
    type Answering = F;
}

/// What came of a question, and how many frames of progress were told before; none where none can be.
pub(crate) struct Answered<Rep> {
    pub outcome: Result<Rep, Fault>,
    pub told: Option<u64>,
}

async fn answered<Rep>(work: impl Future<Output = Result<Rep, Fault>>) -> Answered<Rep> {
    Answered { outcome: work.await, told: None }
}

fn refused<Rep>(fault: Fault) -> Answered<Rep> {
    Answered { outcome: Err(fault), told: None }
}

/// Takes in what askers say while they wait; never ready where they cannot.
async fn heed(control: &mut Option<Control>) {
    match control {
        Some(control) => control.heed().await,
        None => std::future::pending().await,
    }
}

impl Bus {
    /// Answers a call with at most `concurrency` handlers at once. The asker's deadline bounds the handler: when it
    /// is over, the work is dropped. A panic in the handler is an internal fault.
    pub async fn answer<Req, Rep>(
        &self,
        call: &Call<Req, Rep>,
        concurrency: usize,
        handler: impl Handler<Req, Rep>,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
    {
        let handler = move |asked, meta, _: Option<Subject>| answered(handler(asked, meta));
        let place =
            Place { service: call.service, endpoint: call.verb, subject: call.subject(), who: call.who };
        self.answer_on(place, concurrency, handler, None).await
    }

    /// Answers to one name, by [`Call::to`]; otherwise as [`Bus::answer`].
    pub async fn answer_to<Req, Rep>(
        &self,
        call: &Addressed<Req, Rep>,
        concurrency: usize,
        handler: impl Handler<Req, Rep>,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
    {
        let handler = move |asked, meta, _: Option<Subject>| answered(handler(asked, meta));
        let Addressed { service, who, .. } = *call;
        let place = Place { service, endpoint: &call.endpoint, subject: call.subject.clone(), who };
        self.answer_on(place, concurrency, handler, None).await
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
        let (bus, who) = (self.clone(), call.who);
        Ok(tasks::serve(move |cancel| async move {
            loop {
                let message = tokio::select! {
                    () = cancel.cancelled() => return,
                    message = asked.next() => message,
                };
                let Some(message) = message else { return };
                let question = frame::decode::<Req>(message.headers.as_ref(), &message.payload);
                let (Some(reply), Ok(question)) = (message.reply.clone(), question) else { continue };
                let Ok(meta) = frame::meta(message.headers.as_ref(), 1) else { continue };
                if !frame::is_inbox(&reply) || !who.may_say(&meta.principal) {
                    warn!(subject = message.subject.as_str(), %reply, by = %meta.principal, "a question was not heard");
                    continue;
                }
                let looked = AssertUnwindSafe(async { handler(question, meta).await }).catch_unwind().await;
                if let Ok(Some(answer)) = looked {
                    let (headers, body) = (frame::answer::<Rep>(), answer.encode());
                    // Whoever asked asks again if this fails.
                    let _ = bus.client.publish_with_headers(reply, headers, body.into()).await;
                }
            }
        }))
    }

    pub(crate) async fn answer_on<Req, Rep, H, F>(
        &self,
        place: Place<'_>,
        concurrency: usize,
        handler: H,
        control: Option<Control>,
    ) -> Result<Serving, Error>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        H: Fn(Req, Meta, Option<Subject>) -> F + Send + Sync + 'static,
        F: Future<Output = Answered<Rep>> + Send + 'static,
    {
        let Place { service, endpoint, subject, who } = place;
        let endpoint = self.endpoint(service, endpoint, subject.clone()).await?;
        // The server must know of the subscription before the caller says that it is ready.
        self.round_trip().await?;
        let bus = self.clone();
        let handler = Arc::new(handler);
        Ok(tasks::serve(move |cancel| async move {
            let (mut endpoint, mut control) = (endpoint, control);
            let running = Arc::new(Semaphore::new(concurrency.max(1)));
            let mut held = JoinSet::new();
            loop {
                let request = tokio::select! {
                    () = cancel.cancelled() => break,
                    request = endpoint.next() => request,
                    () = heed(&mut control) => continue,
                    Some(_) = held.join_next(), if !held.is_empty() => continue,
                };
                let Some(request) = request else { break };
                if let Some(reply) = request.message.reply.as_deref().filter(|reply| !frame::is_inbox(reply))
                {
                    warn!(subject, reply, "a question was not heard: its answer would go to no inbox");
                    continue;
                }
                if held.len() >= concurrency.max(1) * (1 + WAITING_PER_RUNNING) {
                    let message = format!("{subject} has {} requests in hand", held.len());
                    reply(&bus, &request, refused::<Rep>(Fault::new(Code::Overloaded, message))).await;
                    continue;
                }
                let mut handling = Box::pin(handle(
                    bus.clone(),
                    (subject.clone(), who),
                    request,
                    running.clone(),
                    handler.clone(),
                ));
                // What needs not wait for anything is done at once: a task of its own would cost more than the answer.
                if (&mut handling).now_or_never().is_none() {
                    held.spawn(handling);
                }
            }
            if endpoint.stop().await.is_err() {
                warn!(subject, "unsubscribing failed");
            }
            loop {
                tokio::select! {
                    ended = held.join_next() => if ended.is_none() { return },
                    () = heed(&mut control) => {}
                }
            }
        }))
    }

    async fn endpoint(&self, service: &'static str, verb: &str, subject: String) -> Result<Endpoint, Error> {
        let mut services = self.shared.services.lock().await;
        let faults = self.shared.faults.clone();
        if !services.contains_key(service) {
            let started = self
                .client
                .service_builder()
                .metadata([("principal".to_owned(), self.said_by().to_owned())].into())
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

/// Where a call is answered, and who may ask it.
pub(crate) struct Place<'a> {
    pub service: &'static str,
    pub endpoint: &'a str,
    pub subject: String,
    pub who: Who,
}

async fn handle<Req, Rep, H, F>(
    bus: Bus,
    (subject, who): (String, Who),
    request: Request,
    running: Arc<Semaphore>,
    handler: Arc<H>,
) where
    Req: Message,
    Rep: Message,
    H: Fn(Req, Meta, Option<Subject>) -> F,
    F: Future<Output = Answered<Rep>>,
{
    let headers = request.message.headers.as_ref();
    let meta = match frame::meta(headers, 1) {
        Ok(meta) => meta,
        Err(fault) => return reply(&bus, &request, refused::<Rep>(fault)).await,
    };
    let deadline = meta.deadline.unwrap_or_else(|| Instant::now() + DEFAULT_DEADLINE);
    let span = info_span!("answer", subject, by = %meta.principal);
    if let Some(parent) = &meta.trace {
        trace::continue_in(&span, parent);
    }
    let may_ask = who.may_say(&meta.principal).then_some(()).ok_or_else(|| {
        let text = format!("{subject} is for {} to ask, not for {}", who.sayers(), meta.principal);
        Fault::new(Code::Denied, text)
    });
    let work = async {
        let Ok(_permit) = running.acquire().await else {
            return refused(Fault::new(Code::Unavailable, format!("{subject} is stopping")));
        };
        let asked = frame::decode::<Req>(headers, &request.message.payload);
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return refused(error.into()),
        };
        let asker = request.message.reply.clone();
        let outcome = AssertUnwindSafe(async { handler(asked, meta, asker).await }).catch_unwind().await;
        outcome.unwrap_or_else(|panic| refused(panicked(&subject, panic.as_ref())))
    };
    let work = async {
        match may_ask {
            Ok(()) => work.await,
            Err(fault) => refused(fault),
        }
    };
    let answered = tokio::time::timeout_at(deadline, work.instrument(span)).await.unwrap_or_else(|_| {
        refused(Fault::new(Code::Timeout, format!("{subject} was not done before the asker's deadline")))
    });
    if let Err(fault) = &answered.outcome {
        bus.denied(&subject, headers, fault, deadline).await;
    }
    reply(&bus, &request, answered).await;
}

async fn reply<Rep: Message>(bus: &Bus, request: &Request, answered: Answered<Rep>) {
    let outcome = answered.outcome;
    if let Err(fault) = &outcome {
        let subject = request.message.subject.as_str();
        bus.shared.faults.count(subject.strip_prefix("code.v1.rpc.").unwrap_or(subject), fault.code);
    }
    let (mut headers, body) = match outcome {
        Ok(reply) => (frame::answer::<Rep>(), reply.encode().into()),
        Err(fault) => frame::fault_reply(&fault),
    };
    if let Some(told) = answered.told {
        headers.insert(TOLD, told.to_string());
    }
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
