//! Jobs and stored events: pulled one by one, kept alive while they are worked on, and ended by the outcome table.

use std::{future::Future, panic::AssertUnwindSafe, str::FromStr, sync::Arc, time::Duration};

use async_nats::{
    Message as CoreMessage, Subscriber,
    jetstream::{
        AckKind, Message as Delivery,
        consumer::{AckPolicy, PullConsumer, pull},
        context::ConsumerInfoErrorKind,
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use ground::Backoff;
use model::{Code, Fault, Token};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};
use wire::Message;

use crate::{
    Bus, Error, Event, Job, Serving,
    answer::panicked,
    frame::{self, Meta},
    outcome::{Fate, fate},
    subject::Lane,
    tasks, trace,
};

/// How a lane of jobs is worked on.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkRules {
    /// Jobs at once in this process, 1 to 1000. Default 8.
    pub concurrency: usize,
    /// A job without a sign of life for this time is given to another worker. Default 5 s, which is what the provisioner
    /// makes the lanes with; another value must be the lane's.
    pub ack_wait: Duration,
    /// How often a running job shows that it lives. Default 1.5 s, less than a third of `ack_wait`.
    pub progress_every: Duration,
    /// Deliveries before a job is a dead letter. Default 5.
    pub max_deliver: u64,
    /// Waits after technical trouble, by delivery; the last one stays. Default 1, 5, 15, 60 s.
    pub backoff: Vec<Duration>,
}

impl Default for WorkRules {
    fn default() -> WorkRules {
        WorkRules {
            concurrency: 8,
            ack_wait: Duration::from_secs(5),
            progress_every: Duration::from_millis(1500),
            max_deliver: 5,
            backoff: [1, 5, 15, 60].map(Duration::from_secs).into(),
        }
    }
}

/// Waits before jobs are asked for again.
const AGAIN: Backoff = Backoff::millis(50, 1600);
/// How long one request for jobs waits at the server. Also how long a request that died with its server goes
/// unnoticed when the connection did not break.
const PULL: Duration = Duration::from_secs(3);

/// Jobs of one lane that may be in all workers' hands or wait for their next try. Tries that wait count too, so a number
/// near the workers' concurrency would let a few sick jobs stop a lane.
const PENDING: i64 = 4096;

/// Given a message and how often it was delivered.
type Handler = Arc<dyn Fn(CoreMessage, u64) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

impl Bus {
    /// Sends a job; when it returns, the job is durable. The same `message_id` within 10 minutes is one job.
    pub async fn send<M: Message>(
        &self,
        job: &Job<M>,
        lane: Option<&str>,
        message: &M,
        message_id: &str,
    ) -> Result<(), Error> {
        if let Some(lane) = lane {
            Token::from_str(lane)?;
        }
        self.publish_stored(job.subject(lane), message, message_id).await
    }

    /// Works on a lane. Every job runs at least once, in one worker at a time unless a worker is silent for
    /// `ack_wait`; handlers are idempotent. A fault's code alone decides what becomes of the job; the fifth failure,
    /// an invalid job and an unreadable one are dead letters. A panic is an internal fault.
    pub async fn work<M, H, F>(
        &self,
        job: &Job<M>,
        lane: Option<&str>,
        rules: WorkRules,
        handler: H,
    ) -> Result<Serving, Error>
    where
        M: Message + Send + 'static,
        H: Fn(M, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        if let Some(lane) = lane {
            Token::from_str(lane)?;
        }
        self.serve_lane(job.lane(lane), rules, typed(handler)).await
    }

    /// Hears an event: every stored one from the first time that `durable` was named on, at least once each, by one
    /// of those who hear under the same name. Outcomes are as for jobs.
    pub async fn hear<M, H, F>(&self, event: &Event<M>, durable: &str, handler: H) -> Result<Serving, Error>
    where
        M: Message + Send + 'static,
        H: Fn(M, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        Token::from_str(durable)?;
        self.serve_lane(event.lane(durable), WorkRules::default(), typed(handler)).await
    }

    pub(crate) async fn serve_lane(
        &self,
        lane: Lane,
        rules: WorkRules,
        handler: Handler,
    ) -> Result<Serving, Error> {
        // The first time is in the caller's hands, so that a wrong set-up is seen at start.
        let consumer = consumer(self, &lane, &rules).await?;
        let worker = Worker { bus: self.clone(), lane, rules: Arc::new(rules), handler };
        Ok(tasks::serve(move |cancel| worker.run(consumer, cancel)))
    }
}

fn typed<M, H, F>(handler: H) -> Handler
where
    M: Message + Send + 'static,
    H: Fn(M, Meta) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let handler = Arc::new(handler);
    Arc::new(move |message, deliveries| {
        let handler = handler.clone();
        Box::pin(async move {
            let meta = frame::meta(message.headers.as_ref(), deliveries)?;
            let asked = frame::decode::<M>(message.headers.as_ref(), &message.payload)?;
            handler(asked, meta).await
        })
    })
}

/// How the consumer of a lane is made.
pub(crate) fn configuration(lane: &Lane, ack_wait: Duration) -> pull::Config {
    pull::Config {
        durable_name: Some(lane.durable.clone()),
        filter_subject: lane.filter.clone(),
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        // The worker counts and buries. A limit here would leave the message in the stream, seen by nobody.
        max_deliver: -1,
        max_ack_pending: PENDING,
        ..Default::default()
    }
}

/// The consumer of a lane, which the provisioner has made.
async fn consumer(bus: &Bus, lane: &Lane, rules: &WorkRules) -> Result<PullConsumer, Error> {
    let Lane { stream, durable, filter } = lane;
    let named = || format!("consumer {durable} of stream {stream}");
    let info = match bus.stream(stream).await?.consumer_info(durable).await {
        Ok(info) => info,
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
            return Err(Error::Unprovisioned { what: named() });
        }
        Err(error) => return Err(Error::broker(format!("working on {filter}"), error)),
    };
    let (found, wanted) = (&info.config, configuration(lane, rules.ack_wait));
    if found.filter_subject != wanted.filter_subject || found.ack_wait != wanted.ack_wait {
        let differences = format!(
            "filter_subject is {}, wanted {}; ack_wait is {:?}, wanted {:?}",
            found.filter_subject, wanted.filter_subject, found.ack_wait, wanted.ack_wait
        );
        return Err(Error::Differs { stream: named(), differences });
    }
    Ok(PullConsumer::new(wanted, info, bus.jetstream.clone()))
}

struct Worker {
    bus: Bus,
    lane: Lane,
    rules: Arc<WorkRules>,
    handler: Handler,
}

/// Why pulling ended.
enum End {
    Stopped,
    /// The consumer or its subscription must be made anew.
    Broken,
}

impl Worker {
    async fn run(self, first: PullConsumer, cancel: CancellationToken) {
        let mut held = JoinSet::new();
        let mut next = Some(first);
        let mut failures = 0_u32;
        loop {
            let ready = match next.take() {
                Some(consumer) => Ok(consumer),
                None => consumer(&self.bus, &self.lane, &self.rules).await,
            };
            let ended = match ready {
                Ok(consumer) => {
                    failures = 0;
                    self.pull(&consumer, &mut held, &cancel).await
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == 5 {
                        warn!(
                            lane = self.lane.filter,
                            error = crate::error::chain(&error),
                            "cannot take jobs, going on trying"
                        );
                    }
                    Ok(End::Broken)
                }
            };
            match ended {
                Ok(End::Stopped) => break,
                Ok(End::Broken) => {}
                Err(error) => debug!(
                    lane = self.lane.filter,
                    error = crate::error::chain(&error),
                    "taking jobs broke off"
                ),
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = AGAIN.pause(failures) => {}
            }
        }
        while held.join_next().await.is_some() {}
    }

    /// Asks for as many jobs as there is room for, one request at a time.
    async fn pull(
        &self,
        consumer: &PullConsumer,
        held: &mut JoinSet<()>,
        cancel: &CancellationToken,
    ) -> Result<End, Error> {
        let inbox = self.bus.client.new_inbox();
        let mut connections = self.bus.shared.connections.clone();
        connections.mark_unchanged();
        let failed =
            |error: async_nats::Error| Error::broker(format!("taking from {}", self.lane.filter), error);
        let mut inbound: Subscriber =
            self.bus.client.subscribe(inbox.clone()).await.map_err(|error| failed(error.into()))?;
        let mut asked = 0_usize;
        let mut until = Instant::now();
        loop {
            let room = self.rules.concurrency.max(1).saturating_sub(held.len());
            if asked == 0 && room > 0 {
                let batch = pull::BatchConfig { batch: room, expires: Some(PULL), ..Default::default() };
                consumer
                    .request_batch(batch, inbox.clone().into())
                    .await
                    .map_err(|error| failed(error.into()))?;
                asked = room;
                until = Instant::now() + PULL + Duration::from_secs(1);
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(End::Stopped),
                Some(_) = held.join_next(), if !held.is_empty() => {}
                // A new connection's server knows nothing of the old request.
                _ = connections.changed() => return Ok(End::Broken),
                () = tokio::time::sleep_until(until), if asked > 0 => asked = 0,
                message = inbound.next() => {
                    let Some(message) = message else { return Ok(End::Broken) };
                    match message.status.map(|status| status.as_u16()) {
                        None | Some(200) => {
                            asked = asked.saturating_sub(1);
                            held.spawn(self.handle(message));
                        }
                        Some(100) => {}
                        // Nothing came in time.
                        Some(404 | 408) => asked = 0,
                        // 409: deleted, moved to another leader, shutting down; 503: nobody there.
                        Some(_) => return Ok(End::Broken),
                    }
                }
            }
        }
    }

    fn handle(&self, message: CoreMessage) -> BoxFuture<'static, ()> {
        let delivery = Delivery { message, context: self.bus.jetstream.clone() };
        let (bus, rules, handler) = (self.bus.clone(), self.rules.clone(), self.handler.clone());
        Box::pin(async move { handle(bus, rules, handler, delivery).await })
    }
}

async fn handle(bus: Bus, rules: Arc<WorkRules>, handler: Handler, delivery: Delivery) {
    let (deliveries, stream, sequence) = match delivery.info() {
        Ok(info) => (info.delivered.max(1).unsigned_abs(), info.stream.to_owned(), info.stream_sequence),
        Err(error) => {
            warn!(subject = %delivery.subject, %error, "a delivery without its place was left alone");
            return;
        }
    };
    if deliveries > 1 {
        bus.count_redelivered();
    }
    let subject = delivery.subject.to_string();
    let outcome = if deliveries > rules.max_deliver {
        // All workers died over it without a word.
        let message = format!("{subject} ended {} workers without an outcome", deliveries - 1);
        Err(Fault::new(Code::Internal, message))
    } else {
        run(&rules, &handler, &delivery, &subject, deliveries).await
    };
    let settled = match fate(&outcome, deliveries, rules.max_deliver, &rules.backoff) {
        Fate::Done => delivery.double_ack().await,
        Fate::Again(after) => {
            if let Err(fault) = &outcome {
                debug!(subject, deliveries, code = %fault.code, reason = fault.message, "to be tried again");
            }
            delivery.ack_with(AckKind::Nak(Some(after).filter(|after| !after.is_zero()))).await
        }
        Fate::Dead => {
            let Err(fault) = &outcome else { return };
            warn!(subject, deliveries, code = %fault.code, reason = fault.message, "given up, a dead letter");
            let (headers, origin) = (delivery.headers.as_ref(), format!("{stream}:{sequence}"));
            let mut buried = bus.bury(&subject, headers, &delivery.payload, fault, deliveries, &origin).await;
            if buried.is_ok() && fault.confidential {
                buried = bus.erase(&stream, sequence).await;
            }
            match buried {
                Ok(()) => delivery.double_ack_with(AckKind::Term).await,
                // It stays where it is and is buried at its next delivery.
                Err(_) => delivery.ack_with(AckKind::Nak(Some(Duration::from_secs(5)))).await,
            }
        }
    };
    if let Err(error) = settled {
        // Then it comes again, and the handler finds it done.
        debug!(subject, %error, "the outcome was not confirmed");
    }
}

/// Runs the handler and shows meanwhile that the job lives.
async fn run(
    rules: &WorkRules,
    handler: &Handler,
    delivery: &Delivery,
    subject: &str,
    deliveries: u64,
) -> Result<(), Fault> {
    let text = |name| frame::text(delivery.headers.as_ref(), name);
    let span = info_span!("work", subject, by = text(frame::PRINCIPAL), deliveries);
    if let Some(parent) = text(frame::TRACEPARENT) {
        trace::continue_in(&span, parent);
    }
    let message = delivery.message.clone();
    let work = AssertUnwindSafe(async { handler(message, deliveries).await }).catch_unwind().instrument(span);
    tokio::pin!(work);
    let mut alive = tokio::time::interval_at(Instant::now() + rules.progress_every, rules.progress_every);
    loop {
        tokio::select! {
            outcome = &mut work => {
                return outcome.unwrap_or_else(|panic| Err(panicked(subject, panic.as_ref())));
            }
            _ = alive.tick() => {
                if let Err(error) = delivery.ack_with(AckKind::Progress).await {
                    debug!(subject, %error, "the sign of life was not sent");
                }
            }
        }
    }
}
