//! What the data plane carries.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Request, body::Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{
    Fence, Span,
    plan::Revision,
    route::{Endpoint, RouteTable, Weights},
};
use traffic::proxy::{Plane, Settings};

use crate::{
    Case,
    upstream::{Upstream, exchange},
};

fn revision(name: &str) -> Revision {
    name.parse().unwrap()
}

/// A plane in front of these, the traffic split evenly.
async fn in_front_of(all: &[(&str, &Upstream)]) -> (Plane, SocketAddr) {
    let endpoint = |(name, upstream): &(&str, &Upstream)| {
        let at = Endpoint {
            instance: (*name).to_owned(),
            address: upstream.address.to_string(),
            ports: Default::default(),
        };
        (revision(name), vec![at])
    };
    let weights = match all {
        [(one, _), (two, _)] => Weights::split(revision(one), 50, revision(two)),
        _ => Weights(vec![(revision(all[0].0), 100)].into_iter().collect()),
    };
    let table = RouteTable {
        target: "dev.process.shop".parse().unwrap(),
        module: "web".parse().unwrap(),
        listen: 0,
        internal: false,
        peers: Default::default(),
        version: 1,
        fence: Fence::default(),
        weights,
        endpoints: all.iter().map(endpoint).collect(),
        pins: Vec::new(),
        sticky_cookie: Some("lane".to_owned()),
        request_timeout: Span::seconds(10),
    };
    let plane = Plane::new(Settings::default());
    plane.apply(table).unwrap();
    let address = plane.listening("dev--process--shop.web").await;
    (plane, address)
}

/// What an instance sees of a request over HTTP/1.1.
async fn arrives(request: &str) -> String {
    let mirror = Upstream::mirror().await;
    let (_plane, address) = in_front_of(&[("r1", &mirror)]).await;
    exchange(address, request.as_bytes()).await
}

/// A GET with a body over HTTP/2, and what an instance sees of it.
async fn arrives_over_2(body: &'static str) -> String {
    let mirror = Upstream::mirror().await;
    let (_plane, address) = in_front_of(&[("r1", &mirror)]).await;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(async move { drop(connection.await) });
    let frames = futures::stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(body)))]);
    let request = Request::get("http://shop.test/find");
    let answer = client.send_request(request.body(StreamBody::new(frames)).unwrap()).await.unwrap();
    String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned()
}

/// `yes` if all of these stand in the text, else which does not.
fn stands(text: &str, wanted: &[&str]) -> String {
    match wanted.iter().find(|wanted| !text.contains(**wanted)) {
        None => "yes".to_owned(),
        Some(missing) => format!("no {missing:?} in {text:?}"),
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

async fn many_fields() -> String {
    let fields: Vec<(String, &str)> = (0..150).map(|number| (format!("x-{number}"), "1")).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let upstream = Upstream::answering("200 OK", &fields, "many").await;
    let (_plane, address) = in_front_of(&[("r1", &upstream)]).await;
    let answer = exchange(address, b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await;
    format!(
        "{}, {} fields",
        status(&answer),
        answer.lines().filter(|line| line.starts_with("x-")).count().min(150)
    )
}

async fn many_fields_sent() -> String {
    let fields: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
    let answer =
        arrives(&format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{fields}connection: close\r\n\r\n")).await;
    status(&answer).to_owned()
}

/// On which revision a client with this cookie is over eight requests, and how often it was dealt anew.
async fn sticks(cookie: &str) -> String {
    let (one, two) = (Upstream::mirror().await, Upstream::mirror().await);
    let (_plane, address) = in_front_of(&[("r1", &one), ("r2", &two)]).await;
    let request =
        format!("GET / HTTP/1.1\r\nhost: shop.test\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    let mut seen = std::collections::BTreeSet::new();
    let mut anew = 0;
    for _ in 0..8 {
        let answer = exchange(address, request.as_bytes()).await.to_ascii_lowercase();
        anew += usize::from(answer.contains("set-cookie: lane="));
        seen.extend(
            answer.split("x-code-revision: ").nth(1).and_then(|rest| rest.lines().next()).map(str::to_owned),
        );
    }
    format!("on {} of 2 revisions, dealt anew {anew} times", seen.len())
}

pub async fn cases() -> Vec<Case> {
    let upgrade = "POST /orders HTTP/1.1\r\nhost: shop.test\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\
                   http2-settings: AAMAAABkAAQAAP__\r\ncontent-length: 5\r\n\r\nhello";
    let chunked = "GET /find HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    let forwarded = "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\nx-forwarded-for: 192.0.2.1\r\n\
                     x-forwarded-for: 198.51.100.2\r\n\r\n";
    vec![
        Case::of(
            "HTTP/1.1: POST with Upgrade: h2c",
            "the upgrade is ignored, the body arrives",
            "yes",
            stands(&arrives(upgrade).await, &["HTTP/1.1 200", "POST /orders", "hello"]),
        ),
        Case::of(
            "HTTP/1.1: GET with a chunked body",
            "the body arrives",
            "yes",
            stands(&arrives(chunked).await, &["HTTP/1.1 200", "GET /find", "hello"]),
        ),
        Case::of(
            "HTTP/2: GET with a body",
            "the body arrives",
            "yes",
            stands(&arrives_over_2("hello").await, &["GET /find", "hello"]),
        ),
        Case::of(
            "two lines of X-Forwarded-For",
            "one list, in order, ours last",
            "yes",
            stands(&arrives(forwarded).await, &["x-forwarded-for: 192.0.2.1, 198.51.100.2, 127.0.0.1\r\n"]),
        ),
        Case::of(
            "an answer with 150 fields",
            "passed on: the limit is in bytes",
            "200, 150 fields",
            many_fields().await,
        ),
        Case::of(
            "a request with 150 fields",
            "passed on: the limit is in bytes",
            "200",
            many_fields_sent().await,
        ),
        Case::of(
            "a sticky cookie beside one that is not ASCII",
            "the client stays on its revision",
            "on 1 of 2 revisions, dealt anew 0 times",
            sticks("name=José; lane=0123456789abcdef").await,
        ),
    ]
}
