//! WebSocket and other protocols that begin as HTTP/1.1: once both sides agree, bytes are passed through as they are.
//!
//! The request's timeout bounds the agreement, not what follows. What follows counts as in flight, so a revision has
//! not drained while somebody still speaks to it; when the plane stops it is cut off at the end of the grace.

use std::sync::Arc;

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE},
    http::request,
    upgrade,
};
use hyper_util::rt::TokioIo;
use model::Code;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{
    Shared,
    body::{AnswerBody, Relayed, RequestBody},
    endpoint::Held,
    forward::Trouble,
    head,
    live::{LiveRevision, Tried},
    millis_since,
    upstream::connect,
};
use crate::count::Tally;

pub(crate) struct Wish<'a> {
    pub(crate) parts: request::Parts,
    pub(crate) client: HeaderValue,
    pub(crate) random: u64,
    pub(crate) deadline: Instant,
    pub(crate) cookie: Option<(&'a str, u64)>,
    pub(crate) tally: Tally,
}

/// Not retried: what was said to an instance cannot be taken back.
pub(crate) async fn forward(plane: &Shared, revision: &LiveRevision, wish: Wish<'_>) -> Response<AnswerBody> {
    let Wish { mut parts, client, random, deadline, cookie, mut tally } = wish;
    // It outlives the connection it begins on, so it counts against the bound by itself.
    let Ok(slot) = Arc::clone(&plane.slots).try_acquire_owned() else {
        return head::own(StatusCode::SERVICE_UNAVAILABLE, Code::Overloaded, "too many connections are open");
    };
    let protocol = parts.headers.get(UPGRADE).cloned();
    let ours = parts.extensions.remove::<upgrade::OnUpgrade>();
    let id = head::prepare(&mut parts, &client, random);
    ask_for(&mut parts.headers, protocol);

    let now_ms = millis_since(plane.epoch, Instant::now());
    let Some(endpoint) =
        revision.pick(&Tried::default(), now_ms, random).and_then(|at| revision.endpoints.get(at))
    else {
        return Trouble::Unreachable("it has none".to_owned()).answer(revision);
    };
    let held = Held::new(endpoint);
    let request = Request::from_parts(parts, RequestBody::Empty);
    let asked = timeout_at(deadline, ask(plane, &endpoint.is.address, request)).await;
    let answer = match asked.unwrap_or(Err(Trouble::Late)) {
        Ok(answer) => answer,
        Err(trouble) => {
            revision.failed(endpoint, Instant::now());
            tally.failed();
            let mut answer = trouble.answer(revision);
            head::finish(answer.headers_mut(), &revision.header, id, cookie);
            return answer;
        }
    };
    if answer.status().is_server_error() {
        tally.failed();
        revision.failed(endpoint, Instant::now());
    } else {
        revision.succeeded(endpoint);
    }
    let mut answer = match (answer.status() == StatusCode::SWITCHING_PROTOCOLS, ours) {
        (true, Some(ours)) => switch(plane, answer, ours, (held, tally, slot)),
        (_, _) => {
            let mut answer = answer
                .map(|incoming| AnswerBody::relayed(Relayed::new(incoming, None, held, tally, deadline)));
            head::strip(answer.headers_mut());
            answer
        }
    };
    head::finish(answer.headers_mut(), &revision.header, id, cookie);
    answer
}

async fn ask(
    plane: &Shared,
    address: &str,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, Trouble> {
    let stream = match tokio::time::timeout(plane.settings.connect_timeout, connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Trouble::Unreachable(error.to_string())),
        Err(_) => return Err(Trouble::Unreachable("connecting took too long".to_owned())),
    };
    let broken = |error: hyper::Error| Trouble::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let end = plane.abort.clone();
    plane.tracker.spawn(async move {
        // How it ended is told to whoever reads from it.
        let _ = end.run_until_cancelled(connection.with_upgrades()).await;
    });
    sender.send_request(request).await.map_err(broken)
}

/// Answers 101 and passes bytes through once both sides have switched.
fn switch(
    plane: &Shared,
    mut answer: Response<Incoming>,
    ours: upgrade::OnUpgrade,
    counted: (Held, Tally, OwnedSemaphorePermit),
) -> Response<AnswerBody> {
    let theirs = upgrade::on(&mut answer);
    let end = plane.abort.clone();
    plane.tracker.spawn(async move {
        let _counted = counted;
        let pass = async {
            let (ours, theirs) =
                futures::future::try_join(ours, theirs).await.map_err(std::io::Error::other)?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(ours), &mut TokioIo::new(theirs)).await
        };
        match end.run_until_cancelled(pass).await {
            Some(Ok((sent, received))) => tracing::debug!(sent, received, "upgraded connection ended"),
            Some(Err(error)) => tracing::debug!(%error, "upgraded connection broke"),
            None => tracing::debug!("upgraded connection was cut off by the stop"),
        }
    });
    let protocol = answer.headers().get(UPGRADE).cloned();
    let mut answer = answer.map(|_| AnswerBody::own(bytes::Bytes::new()));
    head::strip(answer.headers_mut());
    ask_for(answer.headers_mut(), protocol);
    answer
}

fn ask_for(headers: &mut HeaderMap, protocol: Option<HeaderValue>) {
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}
