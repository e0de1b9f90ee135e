//! A small HTTP server behind the proxies: always the same answer.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

/// Bytes of the answer's body.
pub const BODY: usize = 1024;

/// Opens a port of this machine, tells it, and answers for ever.
pub async fn serve(told: impl FnOnce(SocketAddr)) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("opening a port")?;
    told(listener.local_addr()?);
    let body = Bytes::from(vec![b'x'; BODY]);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.context("accepting")?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        connections.spawn(async move {
            let service = service_fn(move |_: Request<Incoming>| {
                let body = body.clone();
                async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
            });
            // A connection that breaks is the other side's affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}
