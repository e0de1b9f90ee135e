//! Connections of other modules, carried as they are: whatever is spoken on them.
//!
//! A new connection goes where the table in force sends it: to a revision by the weights, there to one of its instances, and
//! to the next one when that does not take it. It stays there until one side ends it, half by half as they do, until its
//! instance ends, or until nothing has been said for long. Changed weights move new connections and no old one.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::HeaderMap;
use model::Token;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::Instant,
};

use super::{
    Shared,
    activity::{Listed, Order},
    endpoint::Held,
    live::{Live, LiveRevision, Tried},
    millis_since, upstream,
};
use crate::{count::Carried, route::RequestFacts};

/// Requests have an end by which they are told from stuck ones; a connection has none.
const NO_END: u64 = u64::MAX / 2;

/// Carries a connection to the port of this name.
pub(crate) async fn pass(
    plane: Arc<Shared>,
    live: Option<Arc<Live>>,
    port: Token,
    stream: TcpStream,
    listed: Listed,
    _slot: OwnedSemaphorePermit,
) {
    let now_ms = millis_since(plane.epoch, Instant::now());
    let _busy = listed.activity.begin(now_ms, NO_END);
    let Some(live) = live else { return };
    let Some(taken) = connect(&plane, &live, &port).await else { return };
    let Taken { instance, _held, _carried, _slot: _instance_slot } = taken;
    let last = Arc::new(AtomicU64::new(millis_since(plane.epoch, Instant::now())));
    let heard = |inner| Heard { inner, last: Arc::clone(&last), epoch: plane.epoch };
    let (mut ours, mut theirs) = (heard(stream), heard(instance));
    let end = async {
        tokio::select! {
            passed = tokio::io::copy_bidirectional(&mut ours, &mut theirs) => passed.map(drop),
            () = silence(&plane, &last) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            () = aborted(&listed) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
        }
    };
    match plane.abort.run_until_cancelled(end).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%port, %error, "a connection between modules broke"),
        None => tracing::debug!(%port, "a connection between modules was cut off by the stop"),
    }
}

/// A connection to an instance, and what counts it.
struct Taken {
    instance: TcpStream,
    _held: Held,
    _carried: Carried,
    _slot: OwnedSemaphorePermit,
}

/// Nothing when no instance takes it: then it is closed.
async fn connect(plane: &Shared, live: &Live, port: &Token) -> Option<Taken> {
    let nothing = HeaderMap::new();
    let revision = match live.router.choose(RequestFacts::new(&nothing), rand::random()) {
        Ok(choice) => &live.revisions[choice.revision],
        Err(why) => {
            live.counts.unroutable();
            tracing::debug!(%port, %why, "a connection between modules is refused");
            return None;
        }
    };
    let mut tried = Tried::default();
    for _ in 0..=plane.settings.retries {
        let Ok(slot) = Arc::clone(&plane.upstreams).try_acquire_owned() else { break };
        match attempt(plane, revision, port, &mut tried).await {
            Some(Ok((instance, held))) => {
                let carried = Carried::new(&revision.counts);
                return Some(Taken { instance, _held: held, _carried: carried, _slot: slot });
            }
            Some(Err(error)) => tracing::debug!(%port, %error, "an instance takes no connection"),
            None => break,
        }
    }
    revision.counts.refused();
    None
}

/// Nothing when there is no instance to try.
async fn attempt(
    plane: &Shared,
    revision: &LiveRevision,
    port: &Token,
    tried: &mut Tried,
) -> Option<io::Result<(TcpStream, Held)>> {
    let now_ms = millis_since(plane.epoch, Instant::now());
    let endpoint = &revision.endpoints[revision.pick(tried, now_ms, rand::random())?];
    let address = endpoint.is.ports.get(port)?;
    let held = Held::new(endpoint);
    tried.add(endpoint.id);
    let opened = tokio::time::timeout(plane.settings.connect_timeout, upstream::connect(address)).await;
    match opened.unwrap_or_else(|late| Err(late.into())) {
        Ok(instance) => {
            revision.succeeded(endpoint);
            Some(Ok((instance, held)))
        }
        Err(error) => {
            revision.failed(endpoint, Instant::now());
            Some(Err(error))
        }
    }
}

/// Returns when nothing has been said for as long as a connection may be silent.
async fn silence(plane: &Shared, last: &AtomicU64) {
    let limit = plane.settings.peer_idle.as_millis() as u64;
    loop {
        let quiet = millis_since(plane.epoch, Instant::now()).saturating_sub(last.load(Relaxed));
        if quiet >= limit {
            return;
        }
        tokio::time::sleep(Duration::from_millis(limit - quiet)).await;
    }
}

async fn aborted(listed: &Listed) {
    std::future::poll_fn(|cx| {
        listed.activity.watch(cx.waker());
        if listed.activity.order() == Order::Abort { Poll::Ready(()) } else { Poll::Pending }
    })
    .await
}

/// Notes when something was last heard.
struct Heard {
    inner: TcpStream,
    last: Arc<AtomicU64>,
    epoch: Instant,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.last.store(millis_since(self.epoch, Instant::now()), Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
