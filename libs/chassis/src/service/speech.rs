//! What a service answers, does and hears.
//!
//! A handler takes its context by value (cheap to clone), the message, and what came with it; its error becomes a
//! fault, whose code alone decides the reply, the acknowledgement and the retry.

use std::sync::Arc;

use bus::{
    Addressed, Attempt, Bus, Call, CloudEvent, Error, Event, Failure, Inbox, Job, Message, Meta, Signal,
    Signalled, Task, Teller, WorkRules,
};
use futures::{StreamExt, future::BoxFuture};
use ground::Backoff;
use model::Fault;
use parking_lot::Mutex;

use super::Service;

/// How many handlers of one call run at once unless said otherwise.
const CALLS_AT_ONCE: usize = 64;

impl<C> Service<C> {
    /// Answers a call: at most 64 handlers at once, each bounded by the asker's deadline.
    pub async fn answer<Req, Rep, X>(
        &self,
        call: &Call<Req, Rep>,
        ctx: X,
        handler: impl Handles<X, Req, Rep>,
    ) -> Result<(), Failure>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
    {
        self.answer_at_once(call, CALLS_AT_ONCE, ctx, handler).await
    }

    /// The same with another number of handlers at once; eight times as many wait, the rest is refused.
    pub async fn answer_at_once<Req, Rep, X>(
        &self,
        call: &Call<Req, Rep>,
        at_once: usize,
        ctx: X,
        handler: impl Handles<X, Req, Rep>,
    ) -> Result<(), Failure>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
    {
        let serving = self.bus.answer(call, at_once, with(ctx, handler)).await;
        let serving = serving.attempt(format!("answer {}", call.subject()))?;
        self.hold(call.subject(), serving);
        Ok(())
    }

    /// Answers a call to one name, shared with others who answer to it, by at most so many handlers at once.
    pub async fn answer_to<Req, Rep, X>(
        &self,
        call: &Addressed<Req, Rep>,
        at_once: usize,
        ctx: X,
        handler: impl Handles<X, Req, Rep>,
    ) -> Result<(), Failure>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
    {
        let serving = self.bus.answer_to(call, at_once, with(ctx, handler)).await;
        let serving = serving.attempt(format!("answer {}", call.subject()))?;
        self.hold(call.subject().to_owned(), serving);
        Ok(())
    }

    /// Does tasks, at most so many at once: the handler says by the [`Teller`] how far it is, and is told by it that nobody
    /// waits any more.
    pub async fn serve<Req, Progress, Rep, X, H, F, E>(
        &self,
        task: &Task<Req, Progress, Rep>,
        at_once: usize,
        ctx: X,
        handler: H,
    ) -> Result<(), Failure>
    where
        Req: Message + Send + 'static,
        Progress: Message + Send + Sync + 'static,
        Rep: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
        H: Fn(X, Req, Meta, Teller<Progress>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Rep, E>> + Send + 'static,
        E: Into<Fault>,
    {
        let handler = move |asked, meta, teller| {
            let outcome = handler(ctx.clone(), asked, meta, teller);
            async move { outcome.await.map_err(Into::into) }
        };
        let serving = self.bus.serve(task, at_once, handler).await;
        let serving = serving.attempt(format!("serve {}", task.subject()))?;
        self.hold(task.subject(), serving);
        Ok(())
    }

    /// Works on a lane of jobs. A job comes at least once: the handler is written to run twice.
    pub async fn work<M, X>(
        &self,
        job: &Job<M>,
        lane: Option<&str>,
        rules: WorkRules,
        ctx: X,
        handler: impl Handles<X, M, ()>,
    ) -> Result<(), Failure>
    where
        M: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
    {
        let serving = self.bus.work(job, lane, rules, with(ctx, handler)).await;
        let serving = serving.attempt(format!("work on jobs {}", lane.unwrap_or(M::NAME)))?;
        self.hold(format!("jobs {}", lane.unwrap_or(M::NAME)), serving);
        Ok(())
    }

    /// Hears a stored event, each at least once, shared by all copies of this service.
    pub async fn hear<M, X>(
        &self,
        event: &Event<M>,
        ctx: X,
        handler: impl Handles<X, M, ()>,
    ) -> Result<(), Failure>
    where
        M: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
    {
        self.hear_by(&self.bus, event, ctx, handler).await
    }

    /// The same on another connection of this process, which speaks as another user of NATS.
    pub async fn hear_by<M, X>(
        &self,
        bus: &Bus,
        event: &Event<M>,
        ctx: X,
        handler: impl Handles<X, M, ()>,
    ) -> Result<(), Failure>
    where
        M: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
    {
        let serving = bus.hear(event, self.name, with(ctx, handler)).await;
        let serving = serving.attempt(format!("hear events {}", M::NAME))?;
        self.hold(format!("events {}", M::NAME), serving);
        Ok(())
    }

    /// Hears the signals of one id, or of all, one after the other, as long as the service runs. A signal that is
    /// missed is missed.
    pub async fn listen<M, X, H, F>(
        &self,
        signal: &'static Signal<M>,
        id: Option<String>,
        ctx: X,
        handler: H,
    ) -> Result<(), Failure>
    where
        M: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
        H: Fn(X, Signalled<M>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        // The first subscription stands before this returns; a later one is only made after a panic.
        let said = self.bus.listen(signal, id.as_deref()).await;
        let said = said.attempt(format!("listen to signals {}", M::NAME))?;
        let first = Arc::new(Mutex::new(Some(said)));
        let (bus, stopping, handler) = (self.bus.clone(), self.stopping(), Arc::new(handler));
        self.tasks.restarted(format!("signals {}", M::NAME), Backoff::default(), move || {
            let (bus, stopping, handler) = (bus.clone(), stopping.clone(), Arc::clone(&handler));
            let (ctx, id, first) = (ctx.clone(), id.clone(), Arc::clone(&first));
            async move {
                let taken = first.lock().take();
                let mut said = match taken {
                    Some(said) => said,
                    None => bus.listen(signal, id.as_deref()).await?,
                };
                loop {
                    let next = tokio::select! {
                        () = stopping.cancelled() => return Ok::<(), Error>(()),
                        next = said.next() => next,
                    };
                    let Some(signalled) = next else { return Ok(()) };
                    handler(ctx.clone(), signalled).await;
                }
            }
        });
        Ok(())
    }

    /// Takes CloudEvents from publishers. Each comes at least twice when it wants an answer: the handler is idempotent by
    /// the publisher and [`CloudEvent::key`].
    pub async fn inbox<X>(
        &self,
        inbox: &Inbox,
        ctx: X,
        handler: impl Handles<X, CloudEvent, serde_json::Value>,
    ) -> Result<(), Failure>
    where
        X: Clone + Send + Sync + 'static,
    {
        let opened = self.bus.inbox(inbox, with(ctx, handler)).await;
        let (answering, working) = opened.attempt(format!("open the inbox {inbox}"))?;
        self.hold(format!("inbox {inbox}, asked"), answering);
        self.hold(format!("inbox {inbox}, stored"), working);
        Ok(())
    }
}

/// A handler of this service: a function of its context, the message, and what came with it.
pub trait Handles<X, M, R>:
    Fn(X, M, Meta) -> <Self as Handles<X, M, R>>::Handling + Send + Sync + 'static
{
    /// The work on one message.
    type Handling: Future<Output = Result<R, Self::Error>> + Send + 'static;
    /// What it fails with.
    type Error: Into<Fault>;
}

impl<X, M, R, H, F, E> Handles<X, M, R> for H
where
    H: Fn(X, M, Meta) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, E>> + Send + 'static,
    E: Into<Fault>,
{
    type Handling = F;
    type Error = E;
}

/// A handler with its context inside, and its error as a fault.
fn with<X, M, R>(
    ctx: X,
    handler: impl Handles<X, M, R>,
) -> impl Fn(M, Meta) -> BoxFuture<'static, Result<R, Fault>> + Send + Sync + 'static
where
    X: Clone + Send + Sync + 'static,
    M: Send + 'static,
    R: 'static,
{
    move |message, meta| {
        let outcome = handler(ctx.clone(), message, meta);
        Box::pin(async move { outcome.await.map_err(Into::into) })
    }
}
