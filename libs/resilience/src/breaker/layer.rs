//! The breaker before a tower service.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::{Breaker, Open, Outcome};

/// Puts a [`Breaker`] before a service. `judge` says how the breaker counts an answer or an error.
#[derive(Clone, Debug)]
pub struct BreakerLayer<J> {
    breaker: Breaker,
    judge: J,
}

impl<J> BreakerLayer<J> {
    /// All services made by this layer share the breaker.
    pub fn new(breaker: Breaker, judge: J) -> BreakerLayer<J> {
        BreakerLayer { breaker, judge }
    }
}

impl<S, J: Clone> tower::Layer<S> for BreakerLayer<J> {
    type Service = Broken<S, J>;

    fn layer(&self, inner: S) -> Broken<S, J> {
        Broken { inner, breaker: self.breaker.clone(), judge: self.judge.clone() }
    }
}

/// A service behind a breaker.
#[derive(Clone, Debug)]
pub struct Broken<S, J> {
    inner: S,
    breaker: Breaker,
    judge: J,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused<E> {
    /// It was not asked.
    #[error(transparent)]
    Open(#[from] Open),
    /// It was asked and failed.
    #[error("{0}")]
    Failed(E),
}

impl<S, J, Req> tower::Service<Req> for Broken<S, J>
where
    S: tower::Service<Req>,
    S::Future: Send + 'static,
    J: Fn(&Result<S::Response, S::Error>) -> Outcome + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = Refused<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Refused<S::Error>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Refused::Failed)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let permit = match self.breaker.permit() {
            Ok(permit) => permit,
            Err(open) => return Box::pin(async move { Err(Refused::Open(open)) }),
        };
        let answer = self.inner.call(request);
        let judge = self.judge.clone();
        Box::pin(async move {
            let answer = answer.await;
            permit.end(judge(&answer));
            answer.map_err(Refused::Failed)
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceBuilder, ServiceExt};

    use super::*;
    use crate::breaker::Settings;

    #[tokio::test(start_paused = true)]
    async fn a_service_that_fails_is_no_longer_asked() {
        let breaker = Breaker::new("test", Settings { consecutive_failures: 2, ..Settings::default() });
        let judge =
            |answer: &Result<(), &str>| if answer.is_ok() { Outcome::Success } else { Outcome::Failure };
        let service = ServiceBuilder::new()
            .layer(BreakerLayer::new(breaker, judge))
            .service_fn(|(): ()| async { Err::<(), &str>("down") });

        let first = service.clone().oneshot(()).await;
        let second = service.clone().oneshot(()).await;
        let third = service.oneshot(()).await;

        assert_eq!((first, second), (Err(Refused::Failed("down")), Err(Refused::Failed("down"))));
        assert!(matches!(third, Err(Refused::Open(_))), "{third:?}");
    }
}
