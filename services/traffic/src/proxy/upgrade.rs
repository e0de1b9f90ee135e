//! WebSocket and other protocols that begin as HTTP/1.1: once both sides agree, bytes are passed through as they are.
//!
//! A request that wishes for it goes the way of every request, with its body, and an instance that does not switch
//! answers it like any other. The request's timeout bounds the agreement, not what follows. What follows counts as in
//! flight, so a revision has not drained while somebody still speaks to it; when the plane stops it is cut off at the
//! end of the grace.

use std::{io, sync::Arc};

use hyper::{
    Response, Version,
    body::Incoming,
    header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE},
    http::request,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    sync::{OwnedSemaphorePermit, TryAcquireError},
};

use super::{
    Shared,
    answer::AnswerBody,
    endpoint::Held,
    head::{self, tokens},
    upstream::Upstream,
};
use crate::count::Tally;

/// Part of an offer to speak HTTP/2 (RFC 7540 section 3.2.1).
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// A client's wish to speak another protocol on its connection.
pub(crate) struct Wish {
    protocols: HeaderValue,
    ours: OnUpgrade,
    /// What comes of it outlives the connection it begins on, so it counts against the bound by itself.
    slot: OwnedSemaphorePermit,
}

impl Wish {
    /// What the client wishes for; none when it wishes for nothing or for nothing that can be passed on. Another version
    /// of HTTP cannot: requests would go past the routes and the counts. A wish may be ignored (RFC 9110 section 7.8),
    /// and such a request is answered as if it had none.
    pub(crate) fn of(plane: &Shared, head: &mut request::Parts) -> Result<Option<Wish>, TryAcquireError> {
        let wishes = head.version == Version::HTTP_11
            && head.headers.contains_key(UPGRADE)
            && tokens(&head.headers, CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        let protocols = if wishes { protocols(&head.headers) } else { None };
        // What belongs to an offer means nothing without it.
        head.headers.remove(HTTP2_SETTINGS);
        let (Some(protocols), Some(ours)) = (protocols, head.extensions.remove::<OnUpgrade>()) else {
            return Ok(None);
        };
        let slot = Arc::clone(&plane.slots).try_acquire_owned()?;
        Ok(Some(Wish { protocols, ours, slot }))
    }

    /// Asks the instance for it.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        say(headers, self.protocols.clone());
    }

    /// Answers 101 and passes bytes through once both sides have switched.
    pub(crate) fn grant(
        self,
        plane: &Shared,
        mut answer: Response<Incoming>,
        upstream: Box<Upstream>,
        counted: (Held, Tally),
    ) -> Response<AnswerBody> {
        let Wish { ours, slot, .. } = self;
        let end = plane.abort.clone();
        plane.tracker.spawn(async move {
            let _counted = (counted, slot);
            let pass = async {
                let (mut theirs, said, _slot) = upstream.switched().await;
                let mut ours = TokioIo::new(ours.await.map_err(io::Error::other)?);
                ours.write_all(&said).await?;
                tokio::io::copy_bidirectional(&mut ours, &mut theirs).await
            };
            match end.run_until_cancelled(pass).await {
                Some(Ok((sent, received))) => tracing::debug!(sent, received, "upgraded connection ended"),
                Some(Err(error)) => tracing::debug!(%error, "upgraded connection broke"),
                None => tracing::debug!("upgraded connection was cut off by the stop"),
            }
        });
        let protocol = answer.headers().get(UPGRADE).cloned();
        head::strip(answer.headers_mut());
        if let Some(protocol) = protocol {
            say(answer.headers_mut(), protocol);
        }
        answer.map(|_| AnswerBody::own(bytes::Bytes::new()))
    }
}

/// The protocols in the client's order, without versions of HTTP.
fn protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_http = |protocol: &[u8]| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"http")
    };
    let left: Vec<&[u8]> =
        tokens(headers, UPGRADE).filter(|protocol| !protocol.is_empty() && !is_http(protocol)).collect();
    if left.is_empty() { None } else { HeaderValue::from_bytes(&left.join(&b", "[..])).ok() }
}

fn say(headers: &mut HeaderMap, protocols: HeaderValue) {
    let with_trailers = headers.contains_key(hyper::header::TE);
    let connection = if with_trailers { "te, upgrade" } else { "upgrade" };
    headers.insert(CONNECTION, HeaderValue::from_static(connection));
    headers.insert(UPGRADE, protocols);
}
