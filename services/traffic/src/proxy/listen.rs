//! A listening port and the client connections that come in through it.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn};
use hyper_util::rt::TokioIo;
use model::Code;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    activity::{Activity, Listed, Order},
    body::AnswerBody,
    forward::{Asked, forward},
    head,
    live::Live,
    millis_since,
};
use crate::route::mix;

/// How long until a port that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How long accepting rests when the system is out of descriptors or memory.
const REST: Duration = Duration::from_millis(50);

/// What is answered at a port. The connections hold it too, so that they can end with it when their port has closed.
type Published = Arc<watch::Sender<Option<Arc<Live>>>>;
type News = watch::Receiver<Option<Arc<Live>>>;

/// Whether a port is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Opening,
    Open(SocketAddr),
    Failed(String),
    /// Another module is served there, this one may be later.
    Waiting(String),
}

/// A port of one module. Dropping it closes the port; connections finish what they are answering.
pub(crate) struct Listener {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    published: Published,
}

impl Listener {
    pub(crate) fn open(plane: &Arc<Shared>, port: u16, number: u64) -> Listener {
        let state = Arc::new(Mutex::new(State::Opening));
        let stop = plane.stopping.child_token();
        let published: Published = Arc::new(watch::Sender::new(None));
        let listening =
            listen(Arc::clone(plane), port, number, published.clone(), Arc::clone(&state), stop.clone());
        plane.tracker.spawn(listening);
        Listener { port, state, stop, published }
    }

    /// What is answered from now on; nothing answers 503.
    pub(crate) fn publish(&self, live: Option<Arc<Live>>) {
        self.published.send_replace(live);
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(
    plane: Arc<Shared>,
    port: u16,
    number: u64,
    published: Published,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
) {
    let tell = |new: State| {
        let old = std::mem::replace(&mut *state.lock(), new.clone());
        if old != new {
            plane.changed.send_modify(|change| *change += 1);
        }
        old != new
    };
    let address = SocketAddr::new(plane.settings.listen_address, port);
    let listener = loop {
        let opened =
            TcpListener::bind(address).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
        match opened {
            Ok((local, listener)) => {
                tell(State::Open(local));
                tracing::info!(%local, "listening");
                break listener;
            }
            Err(error) => {
                if tell(State::Failed(format!("cannot listen on {address}: {error}"))) {
                    tracing::warn!(%address, %error, "cannot listen, trying again");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&plane, stream, peer, number, &published),
            Err(error) => {
                tracing::warn!(%address, %error, "cannot accept");
                tokio::time::sleep(REST).await;
            }
        }
    }
    drop(listener);
    plane.directory.tell(Some(number), Order::Finish);
}

/// Serves a connection, or says that there are too many.
fn admit(plane: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, number: u64, published: &Published) {
    let now_ms = millis_since(plane.epoch, Instant::now());
    match Arc::clone(&plane.slots).try_acquire_owned() {
        Ok(slot) => {
            let listed = plane.directory.enter(number, plane.epoch, now_ms);
            plane.tracker.spawn(serve(Arc::clone(plane), stream, peer, listed, published.clone(), slot));
        }
        Err(_) => {
            plane.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // Even saying no is bounded: beyond that the connection is closed without a word.
            if let Ok(slot) = Arc::clone(&plane.refusals).try_acquire_owned() {
                plane.tracker.spawn(async move {
                    let _ = tokio::time::timeout(Duration::from_secs(1), refuse(stream)).await;
                    drop(slot);
                });
            }
        }
    }
}

async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    const BODY: &str = r#"{"code":"overloaded","reason":"too many connections are open"}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json";
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with bytes unread would reset the connection, and the client might lose the answer.
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

async fn serve(
    plane: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    listed: Listed,
    published: Published,
    _slot: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "connection ended before it began");
        return;
    }
    let client = HeaderValue::try_from(peer.ip().to_canonical().to_string());
    let mut news = published.subscribe();
    let live = news.borrow_and_update().clone();
    let front = Front {
        current: RefCell::new((live, news)),
        _published: published,
        random: Cell::new(rand::random()),
        client: client.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        activity: Arc::clone(&listed.activity),
        plane: Arc::clone(&plane),
    };
    let service = service_fn(move |request| front.answer(request));
    let mut connection = pin!(plane.server.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut told = false;
    let ended = poll_fn(|cx| {
        listed.activity.watch(cx.waker());
        match listed.activity.order() {
            Order::GoOn => {}
            Order::Finish if told => {}
            Order::Finish => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::Abort => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(%peer, error = %error, "connection broke");
    }
}

/// What answers the requests of one connection. Owned by that connection's task alone.
struct Front {
    plane: Arc<Shared>,
    /// The table in force as last seen, and where a newer one shows. Looking is one atomic load.
    current: RefCell<(Option<Arc<Live>>, News)>,
    _published: Published,
    random: Cell<u64>,
    client: HeaderValue,
    activity: Arc<Activity>,
}

impl Front {
    fn live(&self) -> Option<Arc<Live>> {
        let mut current = self.current.borrow_mut();
        match current.1.has_changed() {
            Ok(false) => {}
            Ok(true) => {
                let newer = current.1.borrow_and_update().clone();
                current.0 = newer;
            }
            Err(_) => current.0 = None,
        }
        current.0.clone()
    }
}

impl Front {
    /// Answers one request. Whatever goes wrong becomes an answer.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
        let began = Instant::now();
        let now_ms = millis_since(self.plane.epoch, began);
        let random = self.random.get();
        self.random.set(random.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let live = self.live();
        let timeout = live.as_ref().map_or(Duration::ZERO, |live| live.timeout);
        let until_ms = now_ms.saturating_add(timeout.as_millis().min(u128::from(u64::MAX)) as u64);
        let busy = self.activity.begin(now_ms, until_ms);
        let asked = Asked { request, client: self.client.clone(), random: mix(random), began };
        let (plane, activity) = (Arc::clone(&self.plane), Arc::clone(&self.activity));
        async move {
            let answer = match live {
                Some(live) => {
                    let deadline = began + timeout;
                    let mut alarm = activity.alarm(deadline);
                    let answer = forward(plane, live, asked, deadline, &mut alarm).await;
                    activity.put_back(alarm);
                    answer
                }
                None => {
                    head::own(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "the module has no route")
                }
            };
            Ok(answer.map(|body| body.keeping(busy)))
        }
    }
}
