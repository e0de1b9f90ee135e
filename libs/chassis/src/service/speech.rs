//! What a service answers, does and hears.
//!
//! A handler takes its context by value (cheap to clone), the message, and what came with it; its error becomes a
//! fault, whose code alone decides the reply, the acknowledgement and the retry.

use std::sync::Arc;

use bus::{
    Addressed, Attempt, Call, CloudEvent, Error, Event, Failure, Job, Message, Meta, Signal, WorkRules,
};
use futures::StreamExt;
use ground::Backoff;
use model::Fault;
use parking_lot::Mutex;

use super::Service;

/// How many handlers of one call run at once unless said otherwise.
const CALLS_AT_ONCE: usize = 64;

impl<C> Service<C> {
    /// Answers a call: at most 64 handlers at once, each bounded by the asker's deadline.
    pub async fn answer<Req, Rep, X, H, F, E>(
        &self,
        call: &Call<Req, Rep>,
        ctx: X,
        handler: H,
    ) -> Result<(), Failure>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
        H: Fn(X, Req, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Rep, E>> + Send + 'static,
        E: Into<Fault>,
    {
        self.answer_at_once(call, CALLS_AT_ONCE, ctx, handler).await
    }

    /// The same with another number of handlers at once; eight times as many wait, the rest is refused.
    pub async fn answer_at_once<Req, Rep, X, H, F, E>(
        &self,
        call: &Call<Req, Rep>,
        at_once: usize,
        ctx: X,
        handler: H,
    ) -> Result<(), Failure>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
        H: Fn(X, Req, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Rep, E>> + Send + 'static,
        E: Into<Fault>,
    {
        let serving = self.bus.answer(call, at_once, with(ctx, handler)).await;
        let serving = serving.attempt(format!("answer {}", call.subject()))?;
        self.hold(call.subject(), serving);
        Ok(())
    }

    /// Answers a call to one name, shared with others who answer to it, by at most so many handlers at once.
    pub async fn answer_to<Req, Rep, X, H, F, E>(
        &self,
        call: &Addressed<Req, Rep>,
        at_once: usize,
        ctx: X,
        handler: H,
    ) -> Result<(), Failure>
    where
        Req: Message + Send + 'static,
        Rep: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
        H: Fn(X, Req, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Rep, E>> + Send + 'static,
        E: Into<Fault>,
    {
        let serving = self.bus.answer_to(call, at_once, with(ctx, handler)).await;
        let serving = serving.attempt(format!("answer {}", call.subject()))?;
        self.hold(call.subject().to_owned(), serving);
        Ok(())
    }

    /// Works on a lane of jobs. A job comes at least once: the handler is written to run twice.
    pub async fn work<M, X, H, F, E>(
        &self,
        job: &Job<M>,
        lane: Option<&str>,
        rules: WorkRules,
        ctx: X,
        handler: H,
    ) -> Result<(), Failure>
    where
        M: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
        H: Fn(X, M, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Fault>,
    {
        let serving = self.bus.work(job, lane, rules, with(ctx, handler)).await;
        let serving = serving.attempt(format!("work on jobs {}", lane.unwrap_or(M::NAME)))?;
        self.hold(format!("jobs {}", lane.unwrap_or(M::NAME)), serving);
        Ok(())
    }

    /// Hears a stored event, each at least once, shared by all copies of this service.
    pub async fn hear<M, X, H, F, E>(&self, event: &Event<M>, ctx: X, handler: H) -> Result<(), Failure>
    where
        M: Message + Send + 'static,
        X: Clone + Send + Sync + 'static,
        H: Fn(X, M, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Fault>,
    {
        let serving = self.bus.hear(event, self.name, with(ctx, handler)).await;
        let serving = serving.attempt(format!("hear events {}", M::NAME))?;
        self.hold(format!("events {}", M::NAME), serving);
        Ok(())
    }

    /// Hears the signals of one id, or of all, one after the other, as long as the service runs. The handler gets
    /// the id too. A signal that is missed is missed.
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
        H: Fn(X, String, M) -> F + Send + Sync + 'static,
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
                    let Some((id, message)) = next else { return Ok(()) };
                    handler(ctx.clone(), id, message).await;
                }
            }
        });
        Ok(())
    }

    /// Takes CloudEvents from the world on `code.v1.in.<noun>.<verb>`. Each comes at least twice when it wants an
    /// answer: the handler is idempotent by [`CloudEvent::key`].
    pub async fn inbox<X, H, F, E>(
        &self,
        noun: &'static str,
        verb: &'static str,
        ctx: X,
        handler: H,
    ) -> Result<(), Failure>
    where
        X: Clone + Send + Sync + 'static,
        H: Fn(X, CloudEvent, Meta) -> F + Send + Sync + 'static,
        F: Future<Output = Result<serde_json::Value, E>> + Send + 'static,
        E: Into<Fault>,
    {
        let opened = self.bus.inbox(noun, verb, with(ctx, handler)).await;
        let (answering, working) = opened.attempt(format!("open the inbox {noun} {verb}"))?;
        self.hold(format!("inbox {noun} {verb}, asked"), answering);
        self.hold(format!("inbox {noun} {verb}, stored"), working);
        Ok(())
    }
}

/// A handler with its context inside, and its error as a fault.
fn with<X, M, R, H, F, E>(
    ctx: X,
    handler: H,
) -> impl Fn(M, Meta) -> futures::future::BoxFuture<'static, Result<R, Fault>> + Send + Sync + 'static
where
    X: Clone + Send + Sync + 'static,
    M: Send + 'static,
    R: 'static,
    H: Fn(X, M, Meta) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R, E>> + Send + 'static,
    E: Into<Fault>,
{
    move |message, meta| {
        let outcome = handler(ctx.clone(), message, meta);
        Box::pin(async move { outcome.await.map_err(Into::into) })
    }
}
