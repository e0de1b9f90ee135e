//! An instance that answers with what arrived, and clients that send exactly what they are told, over either version.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    header::{HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::route::RouteTable;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::TaskTracker;

use crate::support::{table, with_endpoint};

type Boxed = UnsyncBoxBody<Bytes, Infallible>;

/// An instance. It answers by path: `/fields/<n>` with n fields, `/trailers` with trailers, `/length/<n>` says a length,
/// `/unknown` says none, `/empty/<status>` has no body; anything else is answered with what arrived, a line each.
pub struct Mirror {
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
    _running: JoinSet<()>,
}

impl Mirror {
    pub async fn start() -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<AtomicU64> = Arc::default();
        let counted = Arc::clone(&requests);
        let running = driven(async move {
            let tracker = TaskTracker::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let counted = Arc::clone(&counted);
                let service = service_fn(move |request| {
                    counted.fetch_add(1, SeqCst);
                    async move { Ok::<_, Infallible>(reflect(request).await) }
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .max_headers(4000)
                    .serve_connection(TokioIo::new(stream), service);
                tracker.spawn(async move { drop(serving.await) });
            }
        });
        Mirror { address, requests, _running: running }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(SeqCst)
    }
}

/// Runs until the set is dropped.
fn driven(task: impl Future<Output = ()> + Send + 'static) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    tasks
}

pub fn routed_to(mirror: &Mirror) -> RouteTable {
    with_endpoint(table(&[("r1", 100, &[])]), "r1", "mirror", mirror.address)
}

fn full(text: String) -> Boxed {
    Full::new(Bytes::from(text)).boxed_unsync()
}

fn frames(text: &'static str, trailers: Option<(&'static str, &'static str)>) -> Boxed {
    let mut all = vec![Ok(Frame::data(Bytes::from_static(text.as_bytes())))];
    if let Some((name, value)) = trailers {
        let trailers = [(HeaderName::from_static(name), HeaderValue::from_static(value))];
        all.push(Ok(Frame::trailers(HeaderMap::from_iter(trailers))));
    }
    StreamBody::new(futures::stream::iter(all)).boxed_unsync()
}

async fn reflect(request: Request<Incoming>) -> Response<Boxed> {
    let path = request.uri().path().to_owned();
    let answer = Response::builder();
    match path.split('/').collect::<Vec<_>>()[1..] {
        ["fields", number] => {
            let number: usize = number.parse().unwrap();
            let answer = (0..number).fold(answer, |answer, at| answer.header(format!("x-{at}"), "1"));
            answer.body(full("many".to_owned())).unwrap()
        }
        ["trailers"] => {
            answer.header("trailer", "x-sum").body(frames("body", Some(("x-sum", "abc")))).unwrap()
        }
        ["length", length] => {
            answer.header("content-length", length).body(Empty::new().boxed_unsync()).unwrap()
        }
        ["unknown"] => answer.body(frames("body", None)).unwrap(),
        ["empty", status] => {
            answer.status(status.parse::<u16>().unwrap()).body(Empty::new().boxed_unsync()).unwrap()
        }
        _ => answer.body(full(told(request).await)).unwrap(),
    }
}

async fn told(request: Request<Incoming>) -> String {
    let (head, body) = request.into_parts();
    let lines = |headers: &HeaderMap, before: &str| -> String {
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{before}{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        };
        headers.iter().map(line).collect()
    };
    let mut text = format!("{} {}\n{}", head.method, head.uri, lines(&head.headers, ""));
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().map(|trailers| lines(trailers, "trailing ")).unwrap_or_default();
    text.push_str(&format!("> {}\n{trailers}", String::from_utf8_lossy(&body.to_bytes())));
    text
}

/// A body and how it is sent.
#[derive(Clone, Copy)]
pub enum Sending {
    Nothing,
    /// Its length is said.
    Whole(&'static str),
    /// Its length is not said.
    Stream(&'static str),
    Trailed(&'static str, (&'static str, &'static str)),
}

/// A request to shop.test.
#[derive(Clone, Copy)]
pub struct Sent {
    pub method: &'static str,
    pub target: &'static str,
    pub fields: &'static [(&'static str, &'static str)],
    pub body: Sending,
}

impl Sent {
    pub fn get(target: &'static str) -> Sent {
        Sent { method: "GET", target, fields: &[], body: Sending::Nothing }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub trailers: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub async fn over_1(address: SocketAddr, sent: &Sent) -> Answer {
    ask(&mut TcpStream::connect(address).await.unwrap(), sent).await
}

/// Writes the request's bytes and reads one answer.
pub async fn ask(stream: &mut TcpStream, sent: &Sent) -> Answer {
    let Sent { method, target, fields, body } = sent;
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: shop.test\r\n");
    fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text.push_str(&match body {
        Sending::Nothing => "\r\n".to_owned(),
        Sending::Whole(body) => format!("content-length: {}\r\n\r\n{body}", body.len()),
        Sending::Stream(body) => {
            format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        }
        Sending::Trailed(body, (name, value)) => {
            let head = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n", body.len());
            format!("{head}{name}: {value}\r\n\r\n")
        }
    });
    stream.write_all(text.as_bytes()).await.unwrap();
    read(stream, method == &"HEAD").await
}

/// A GET with these fields.
pub async fn over_1_with(address: SocketAddr, fields: &[(String, String)]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = "GET / HTTP/1.1\r\nhost: shop.test\r\n".to_owned();
    fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    read(&mut stream, false).await
}

async fn until(stream: &mut TcpStream, bytes: &mut Vec<u8>, end: &str) -> usize {
    loop {
        let found = bytes.windows(end.len()).position(|window| window == end.as_bytes());
        if let Some(at) = found {
            return at;
        }
        let read = stream.read_buf(bytes).await.unwrap();
        assert!(read > 0, "closed after {}", String::from_utf8_lossy(bytes));
    }
}

async fn read(stream: &mut TcpStream, headless: bool) -> Answer {
    let mut bytes = Vec::new();
    let end = until(stream, &mut bytes, "\r\n\r\n").await;
    let mut body = bytes.split_off(end + 4);
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let headers: HeaderMap = fields
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect();
    let mut trailers = String::new();
    if headers.contains_key("transfer-encoding") {
        let end = until(stream, &mut body, "0\r\n").await;
        let rest = end + 3;
        loop {
            let text = String::from_utf8_lossy(&body[rest..]).into_owned();
            if text == "\r\n" || text.ends_with("\r\n\r\n") {
                trailers = text.trim().to_owned();
                break;
            }
            assert!(stream.read_buf(&mut body).await.unwrap() > 0, "closed in the trailers");
        }
        let text = String::from_utf8_lossy(&body[..end]).into_owned();
        body = text.split("\r\n").skip(1).step_by(2).collect::<String>().into_bytes();
    } else if !headless && ![204, 304].contains(&status) {
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        while body.len() < length {
            assert!(stream.read_buf(&mut body).await.unwrap() > 0, "closed in the body");
        }
    }
    Answer { status, headers, text: String::from_utf8_lossy(&body).into_owned(), trailers }
}

pub async fn over_2(address: SocketAddr, sent: &Sent) -> Answer {
    let Sent { method, target, fields, body } = sent;
    let mut request = Request::builder().method(*method).uri(format!("http://shop.test{target}"));
    for (name, value) in *fields {
        request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let body = match body {
        Sending::Nothing => Empty::new().boxed_unsync(),
        Sending::Whole(body) => full((*body).to_owned()),
        Sending::Stream(body) => frames(body, None),
        Sending::Trailed(body, trailers) => frames(body, Some(*trailers)),
    };
    send_2(address, request.body(body).unwrap()).await
}

/// A GET with these fields.
pub async fn over_2_with(address: SocketAddr, fields: &[(String, String)]) -> Answer {
    let request = Request::get("http://shop.test/");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(name, value));
    send_2(address, request.body(Empty::new().boxed_unsync()).unwrap()).await
}

async fn send_2(address: SocketAddr, request: Request<Boxed>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.max_header_list_size(1 << 20);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    let _driven = driven(async move { drop(connection.await) });
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let trailers = body.trailers().map(|trailers| trailers.iter().map(line).collect());
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        text,
        trailers: trailers.unwrap_or_default(),
    }
}

/// An instance that waits for a text on its first connection and then says the next, and so on.
pub async fn script(lines: &'static [(&'static str, &'static str)]) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = driven(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        for (heard, said) in lines {
            until(&mut stream, &mut bytes, heard).await;
            stream.write_all(said.as_bytes()).await.unwrap();
        }
        let _ = stream.read_to_end(&mut bytes).await;
    });
    (address, running)
}
