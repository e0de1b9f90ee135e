//! Spans leave the process as OTLP over gRPC. The collector here is as little of one as shows that.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use tokio::{net::TcpListener, sync::mpsc};

use testkit::nats;

use crate::child::Child;

/// Answers every gRPC request with an empty success, and tells what came.
async fn collector() -> (String, mpsc::UnboundedReceiver<(String, Bytes)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (told, came) = mpsc::unbounded_channel();
    #[allow(clippy::disallowed_methods, reason = "a test has no chassis around it")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = told.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let told = told.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let body =
                        request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let _ = told.send((path, body));
                    let empty = Full::new(Bytes::from_static(&[0, 0, 0, 0, 0]));
                    let response = Response::builder().header("content-type", "application/grpc");
                    Ok::<_, Infallible>(response.header("grpc-status", "0").body(empty).unwrap_or_default())
                }
            });
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    (address, came)
}

#[tokio::test]
async fn spans_reach_the_collector_at_the_latest_when_the_process_stops() {
    let nats = nats().await;
    let (endpoint, mut came) = collector().await;
    let mut child = Child::start(&nats, &[("CODE_OTLP_ENDPOINT", &endpoint)]);
    child.ready(200).await;

    child.signal(Signal::SIGTERM);

    assert_eq!(child.exit().await.code(), Some(0));
    let mut found = false;
    while let Ok(Some((path, body))) = tokio::time::timeout(Duration::from_secs(1), came.recv()).await {
        assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        let has = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
        found |= has("child started") && has("chassis-child");
    }
    assert!(found, "no span arrived; the child says\n{}", child.errors());
}

#[tokio::test]
async fn a_collector_that_is_down_costs_traces_and_nothing_else() {
    let nats = nats().await;
    let mut child = Child::start(&nats, &[("CODE_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    child.ready(200).await;

    child.signal(Signal::SIGTERM);

    assert_eq!(child.exit().await.code(), Some(0));
}
