//! Instances to carry traffic to, and clients to send it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use model::{
    Fence, Span, Timestamp,
    plan::Revision,
    route::{Endpoint, RevisionCount, RouteTable, TrafficCount, Weights},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use traffic::proxy::Plane;

pub const KEY: &str = "dev--process--shop.web";

pub type AnyBody = Either<Full<Bytes>, Either<Incoming, Chunks>>;

/// `left` bytes, made as they are asked for and counted.
pub struct Chunks {
    pub left: u64,
    pub made: Arc<AtomicU64>,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        static CHUNK: [u8; 16 << 10] = [b'x'; 16 << 10];
        let this = self.get_mut();
        let size = this.left.min(CHUNK.len() as u64);
        this.left -= size;
        this.made.fetch_add(size, SeqCst);
        Poll::Ready((size > 0).then(|| Ok(Frame::data(Bytes::from_static(&CHUNK[..size as usize])))))
    }
}

/// An instance. It answers by path:
/// `/` its name, `/slow` its name once the gate lets it, `/status/<n>` that status, `/echo` the request's body,
/// `/count` how many bytes the request's body had, `/bytes/<n>` n bytes, `/head` the request's headers.
pub struct Instance {
    pub name: String,
    pub address: SocketAddr,
    pub connections: Arc<AtomicU64>,
    pub requests: Arc<AtomicU64>,
    pub made: Arc<AtomicU64>,
    /// Requests for `/slow` and `/count` pass here.
    pub gate: Arc<Semaphore>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Instance {
    pub async fn start(name: &str) -> Instance {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let instance = Instance {
            name: name.to_owned(),
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            made: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let (connections, tracker, stop) =
            (Arc::clone(&instance.connections), instance.tracker.clone(), instance.stop.clone());
        let answering = Answering {
            name: name.to_owned(),
            requests: Arc::clone(&instance.requests),
            made: Arc::clone(&instance.made),
            gate: Arc::clone(&instance.gate),
        };
        instance.tracker.spawn(instance.stop.clone().run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.fetch_add(1, SeqCst);
                let answering = answering.clone();
                let service = service_fn(move |request| {
                    let answering = answering.clone();
                    async move { Ok::<_, Infallible>(answering.answer(request).await) }
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tracker.spawn(stop.clone().run_until_cancelled_owned(async move {
                    let _ = serving.await;
                }));
            }
        }));
        instance
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        self.stop.cancel();
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint { instance: self.name.clone(), address: self.address.to_string(), ports: Default::default() }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone)]
struct Answering {
    name: String,
    requests: Arc<AtomicU64>,
    made: Arc<AtomicU64>,
    gate: Arc<Semaphore>,
}

impl Answering {
    async fn answer(&self, request: Request<Incoming>) -> Response<AnyBody> {
        self.requests.fetch_add(1, SeqCst);
        let text = |text: String| Response::new(Either::Left(Full::new(Bytes::from(text))));
        let path = request.uri().path().to_owned();
        match path.split('/').collect::<Vec<_>>()[1..] {
            ["slow"] => {
                self.gate.acquire().await.unwrap().forget();
                text(self.name.clone())
            }
            ["status", status] => {
                let mut answer =
                    text(if status == "204" || status == "304" { String::new() } else { path.clone() });
                *answer.status_mut() = status.parse().unwrap();
                answer
            }
            ["echo"] => Response::new(Either::Right(Either::Left(request.into_body()))),
            ["count"] => {
                self.gate.acquire().await.unwrap().forget();
                let mut body = request.into_body();
                let mut bytes = 0;
                while let Some(frame) = body.frame().await {
                    bytes += frame.unwrap().into_data().map_or(0, |data| data.len());
                }
                text(bytes.to_string())
            }
            ["bytes", bytes] => {
                let chunks = Chunks { left: bytes.parse().unwrap(), made: Arc::clone(&self.made) };
                Response::new(Either::Right(Either::Right(chunks)))
            }
            ["head"] => {
                let line = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                    format!("{name}: {}\n", value.to_str().unwrap())
                };
                text(request.headers().iter().map(line).collect())
            }
            _ => text(self.name.clone()),
        }
    }
}

pub fn revision(name: &str) -> Revision {
    name.parse().unwrap()
}

/// A table with these shares and instances. Version 1.
pub fn table(revisions: &[(&str, u8, &[&Instance])]) -> RouteTable {
    let endpoints = |all: &[&Instance]| all.iter().map(|instance| instance.endpoint()).collect();
    RouteTable {
        target: "dev.process.shop".parse().unwrap(),
        module: "web".parse().unwrap(),
        listen: 0,
        internal: false,
        peers: Default::default(),
        version: 1,
        fence: Fence::default(),
        weights: Weights(
            revisions
                .iter()
                .filter(|(_, share, _)| *share > 0)
                .map(|(name, share, _)| (revision(name), *share))
                .collect(),
        ),
        endpoints: revisions.iter().map(|(name, _, all)| (revision(name), endpoints(all))).collect(),
        pins: Vec::new(),
        sticky_cookie: None,
        request_timeout: Span::seconds(30),
    }
}

pub fn with_endpoint(mut table: RouteTable, name: &str, instance: &str, address: SocketAddr) -> RouteTable {
    let endpoint =
        Endpoint { instance: instance.into(), address: address.to_string(), ports: Default::default() };
    table.endpoints.entry(revision(name)).or_default().push(endpoint);
    table
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A plane with this table in force, and where it listens.
pub async fn plane_with(table: RouteTable) -> (Plane, Caller) {
    plane_of(traffic::proxy::Settings::default(), table).await
}

pub async fn plane_of(settings: traffic::proxy::Settings, table: RouteTable) -> (Plane, Caller) {
    let plane = Plane::new(settings);
    plane.apply(table).unwrap();
    let address = plane.listening(KEY).await;
    (plane, Caller::new(address))
}

pub fn said(plane: &Plane) -> TrafficCount {
    plane.counts("rep-test", Timestamp(0)).remove(0)
}

pub fn count_of(plane: &Plane, name: &str) -> RevisionCount {
    said(plane).revisions.remove(&revision(name)).unwrap_or_default()
}

/// Returns when the condition holds; fails with its description after ten seconds.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let check = || std::future::ready(if holds() { Ok(()) } else { Err("not yet") });
    testkit::eventually(what, Duration::from_secs(10), check).await
}

/// Returns when nobody answers at the address any more; fails after ten seconds.
pub async fn closed(address: SocketAddr) {
    let check = || async move {
        match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Err(format!("{address} is still open")),
            Err(_) => Ok(()),
        }
    };
    testkit::eventually("the port closes", Duration::from_secs(10), check).await
}

/// Returns the value once it has stopped changing.
pub async fn settled(value: &AtomicU64) -> u64 {
    let mut last = (value.load(SeqCst), 0);
    while last.1 < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = value.load(SeqCst);
        last = if now == last.0 && now > 0 { (now, last.1 + 1) } else { (now, 0) };
    }
    last.0
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub head: hyper::HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.head.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type OutBody = Either<Empty<Bytes>, Chunks>;

/// A client with connections of its own.
#[derive(Clone)]
pub struct Caller {
    pub address: SocketAddr,
    client: Client<HttpConnector, OutBody>,
}

impl Caller {
    pub fn new(address: SocketAddr) -> Caller {
        Caller { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub fn http2(address: SocketAddr) -> Caller {
        Caller { address, client: Client::builder(TokioExecutor::new()).http2_only(true).build_http() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, headers).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        collect(self.open(method, path, headers, Either::Left(Empty::new())).await).await
    }

    pub async fn upload(&self, path: &str, body: Chunks) -> Reply {
        collect(self.open(Method::POST, path, &[], Either::Right(body)).await).await
    }

    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: OutBody,
    ) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.client.request(request.body(body).unwrap()).await.unwrap()
    }
}

pub async fn collect(answer: Response<Incoming>) -> Reply {
    let (head, body) = answer.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    Reply { status: head.status, head: head.headers, text: String::from_utf8_lossy(&text).into_owned() }
}

pub fn nothing() -> OutBody {
    Either::Left(Empty::new())
}
