//! What is sent to a client: never collected, and tied to what must be given back when it ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderValue},
};
use model::Code;
use tokio::time::{Instant, Sleep};

use super::{activity::Busy, body::BodyError, endpoint::Held, upstream::Upstream};
use crate::count::Tally;

/// What is sent to a client.
pub struct AnswerBody {
    content: Content,
    /// The connection counts as busy until the body is gone.
    _busy: Option<Busy>,
}

enum Content {
    Own(Option<Bytes>),
    Relayed(Relayed),
}

impl AnswerBody {
    /// A short text of our own.
    pub(crate) fn own(text: impl Into<Bytes>) -> AnswerBody {
        let text = text.into();
        AnswerBody { content: Content::Own((!text.is_empty()).then_some(text)), _busy: None }
    }

    pub(crate) fn relayed(relayed: Relayed) -> AnswerBody {
        AnswerBody { content: Content::Relayed(relayed), _busy: None }
    }

    pub(crate) fn keeping(mut self, busy: Busy) -> AnswerBody {
        self._busy = Some(busy);
        self
    }
}

/// An instance's answer as it streams through. It also drives the connection it comes from (see [`Upstream`]).
pub(crate) struct Relayed {
    incoming: Incoming,
    /// None once the connection is back in its pool or given up; never there for upgraded connections.
    upstream: Option<Box<Upstream>>,
    held: Held,
    tally: Tally,
    deadline: Instant,
    /// Made when the body first has to wait: short answers never do.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The connection was driven since the last frame was taken.
    driven: bool,
}

impl Relayed {
    /// `upstream` was just driven: what has arrived of the body is in `incoming`.
    pub(crate) fn new(
        incoming: Incoming,
        upstream: Option<Box<Upstream>>,
        held: Held,
        tally: Tally,
        deadline: Instant,
    ) -> Relayed {
        let mut relayed = Relayed { incoming, upstream, held, tally, deadline, alarm: None, driven: true };
        if relayed.incoming.is_end_stream()
            && let Some(upstream) = relayed.upstream.take()
            && upstream.is_ready()
        {
            relayed.held.endpoint().give_back(upstream);
        }
        relayed
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let (false, Some(upstream)) = (self.driven, &mut self.upstream) {
            upstream.drive(cx);
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        self.driven = false;
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if self.incoming.is_end_stream() {
                    self.finish(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => {
                self.upstream = None;
                self.tally.failed();
                Poll::Ready(Some(Err(BodyError::Upstream(source))))
            }
            Poll::Ready(None) => {
                self.finish(cx);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let deadline = self.deadline;
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.upstream = None;
                self.tally.failed();
                Poll::Ready(Some(Err(BodyError::Late)))
            }
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Some(mut upstream) = self.upstream.take() {
            if !upstream.is_ready() {
                upstream.drive(cx);
            }
            if upstream.is_ready() {
                self.held.endpoint().give_back(upstream);
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().content {
            Content::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Relayed(relayed) => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(text) => text.is_none(),
            Content::Relayed(relayed) => relayed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Relayed(relayed) => relayed.incoming.size_hint(),
        }
    }
}

pub(crate) fn too_large(why: &str) -> Response<AnswerBody> {
    own(StatusCode::PAYLOAD_TOO_LARGE, Code::Invalid, why)
}

/// An answer of our own: JSON with the code and the reason.
pub(crate) fn own(status: StatusCode, code: Code, reason: &str) -> Response<AnswerBody> {
    let text = serde_json::json!({ "code": code, "reason": reason }).to_string();
    let mut answer = Response::new(AnswerBody::own(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}
