//! A listening port and the client connections that come in through it.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{
    Request, Response, StatusCode, Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use model::{Code, Token};
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
    answer::{self, AnswerBody},
    forward::{Asked, forward},
    live::Live,
    millis_since,
    pass::pass,
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

/// Who comes in at a port.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// Clients of the module, wherever its ports are opened.
    Clients,
    /// Other modules of its release on this machine, to the port of this name.
    Peers(Token),
}

/// A port of one module. Dropping it closes the port; connections finish what they are answering.
pub(crate) struct Listener {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    published: Published,
    /// The open port itself, for whoever takes the plane's place.
    socket: Socket,
}

type Socket = Arc<Mutex<Option<Arc<TcpListener>>>>;

impl Listener {
    pub(crate) fn open(plane: &Arc<Shared>, port: u16, number: u64, door: Door) -> Listener {
        let state = Arc::new(Mutex::new(State::Opening));
        let stop = plane.accepting.child_token();
        let published: Published = Arc::new(watch::Sender::new(None));
        let socket = Socket::default();
        // What is not exposed is not opened to other machines, whatever is.
        let address = match &door {
            Door::Clients => plane.settings.listen_address,
            Door::Peers(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let opening = Opening {
            address: SocketAddr::new(address, port),
            door,
            plane: Arc::clone(plane),
            number,
            published: Arc::clone(&published),
            state: Arc::clone(&state),
            stop: stop.clone(),
            socket: Arc::clone(&socket),
        };
        plane.tracker.spawn(opening.listen());
        Listener { port, state, stop, published, socket }
    }

    /// What is answered from now on; nothing answers 503.
    pub(crate) fn publish(&self, live: Option<Arc<Live>>) {
        self.published.send_replace(live);
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Another handle of the open port; none while it is not open.
    pub(crate) fn socket(&self) -> Option<OwnedFd> {
        let socket = self.socket.lock().clone()?;
        socket.as_fd().try_clone_to_owned().ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A port on its way to being open, and what its connections need.
struct Opening {
    address: SocketAddr,
    door: Door,
    plane: Arc<Shared>,
    number: u64,
    published: Published,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    socket: Socket,
}

impl Opening {
    async fn listen(self) {
        let Some(listener) = self.stop.run_until_cancelled(self.open()).await else { return };
        let listener = Arc::new(listener);
        *self.socket.lock() = Some(Arc::clone(&listener));
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "cannot accept");
                    tokio::time::sleep(REST).await;
                }
            }
        }
        self.socket.lock().take();
        drop(listener);
        // Whose place is taken lets its connections go one by one.
        if !self.plane.is_leaving() {
            self.plane.directory.tell(Some(self.number), Order::Finish);
        }
    }

    /// Opens the port, again and again: as it was handed over, else anew.
    async fn open(&self) -> TcpListener {
        let address = self.address;
        loop {
            let opened = match self.plane.inherited(address) {
                Some(listener) => {
                    listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener))
                }
                None => TcpListener::bind(address).await,
            };
            match opened.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                Ok((local, listener)) => {
                    self.tell(State::Open(local));
                    tracing::info!(%local, "listening");
                    return listener;
                }
                Err(error) => {
                    if self.tell(State::Failed(format!("cannot listen on {address}: {error}"))) {
                        tracing::warn!(%address, %error, "cannot listen, trying again");
                    }
                }
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Whether that is news.
    fn tell(&self, new: State) -> bool {
        let old = std::mem::replace(&mut *self.state.lock(), new.clone());
        if old != new {
            self.plane.changed.send_modify(|change| *change += 1);
        }
        old != new
    }

    /// Serves a connection, or says that there are too many.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let (plane, published) = (&self.plane, &self.published);
        let now_ms = millis_since(plane.epoch, Instant::now());
        let live = published.borrow().clone();
        let as_is = match &self.door {
            Door::Peers(port) if !live.as_ref().is_some_and(|live| live.http.contains(port)) => Some(port),
            Door::Peers(_) | Door::Clients => None,
        };
        let Ok(slot) = Arc::clone(&plane.slots).try_acquire_owned() else {
            plane.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // Even saying no is bounded: beyond that the connection is closed without a word.
            if let Ok(slot) = Arc::clone(&plane.refusals).try_acquire_owned()
                && as_is.is_none()
            {
                plane.tracker.spawn(async move {
                    let _ = tokio::time::timeout(Duration::from_secs(1), refuse(stream)).await;
                    drop(slot);
                });
            }
            return;
        };
        let listed = plane.directory.enter(self.number, plane.epoch, now_ms);
        match as_is {
            Some(port) => {
                plane.tracker.spawn(pass(Arc::clone(plane), live, port.clone(), stream, listed, slot));
            }
            None => {
                plane.tracker.spawn(serve(
                    Arc::clone(plane),
                    stream,
                    peer,
                    listed,
                    Arc::clone(published),
                    slot,
                ));
            }
        }
    }
}

async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    const BODY: &str = r#"{"code":"overloaded","reason":"too many connections are open"}"#;
    // Whoever asks whether a data plane listens here shall know that one does.
    let head = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\nx-code-full: 1\r\ncontent-type: application/json";
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
        let leaves = plane.is_leaving() && asked.request.version() != Version::HTTP_2;
        async move {
            let mut answer = match live {
                Some(live) => {
                    let deadline = began + timeout;
                    let mut alarm = activity.alarm(deadline);
                    let answer = forward(plane, live, asked, deadline, &mut alarm).await;
                    activity.put_back(alarm);
                    answer
                }
                None => {
                    answer::own(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "the module has no route")
                }
            };
            // The client's next request comes on a new connection, which the plane takes that took this one's place.
            if leaves && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| body.keeping(busy)))
        }
    }
}
