//! What is sent to an instance: never collected, and bounded.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::CancellationToken;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client sends more than is allowed.
    #[error("the request has more than {0} bytes")]
    TooLarge(u64),
    /// The client broke off.
    #[error("reading the request from the client failed")]
    Client(#[source] hyper::Error),
    /// The instance broke off.
    #[error("reading the answer of the instance failed")]
    Upstream(#[source] hyper::Error),
    /// The request's time is over.
    #[error("the answer was not complete before the request's timeout")]
    Late,
}

/// What is sent to an instance.
pub enum RequestBody {
    /// Nothing: can be sent again.
    Empty,
    /// As it comes from the client, up to `left` more bytes of `limit`.
    Streamed {
        /// The client's body.
        incoming: Incoming,
        /// Bytes still allowed.
        left: u64,
        /// Bytes allowed.
        limit: u64,
        /// Nothing is asked of the client before this ends (see [`Invitation`]).
        awaited: Option<Wait>,
    },
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a client that waits to be asked for its body is left waiting for the instance's word.
const PATIENCE: Duration = Duration::from_secs(1);

/// The word of an instance that it wants the body (100, RFC 9110 section 10.1.1). A client that asked for this word
/// gets it from us when we ask for its body, so the body is asked for once the instance has said it, or has said
/// nothing for a second; an instance that refuses at once so spares the client the sending.
#[derive(Clone, Default)]
pub(crate) struct Invitation(CancellationToken);

impl Invitation {
    pub(crate) fn given(&self) {
        self.0.cancel();
    }

    fn awaited(&self) -> Wait {
        let given = self.0.clone().cancelled_owned();
        Box::pin(async move {
            // Both ends mean the same.
            let _ = tokio::time::timeout(PATIENCE, given).await;
        })
    }
}

impl RequestBody {
    /// A client's body, of which at most `limit` bytes are passed on.
    pub(crate) fn of(incoming: Incoming, limit: u64, invitation: Option<&Invitation>) -> RequestBody {
        if incoming.is_end_stream() {
            return RequestBody::Empty;
        }
        RequestBody::Streamed { incoming, left: limit, limit, awaited: invitation.map(Invitation::awaited) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let RequestBody::Streamed { incoming, left, limit, awaited } = self.get_mut() else {
            return Poll::Ready(None);
        };
        if let Some(wait) = awaited {
            std::task::ready!(wait.as_mut().poll(cx));
            *awaited = None;
        }
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match left.checked_sub(bytes) {
                    Some(rest) => *left = rest,
                    None => return Poll::Ready(Some(Err(BodyError::TooLarge(*limit)))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => Poll::Ready(Some(Err(BodyError::Client(source)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streamed { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streamed { incoming, .. } => incoming.size_hint(),
        }
    }
}
