//! Connections that ask, read the answer to its end, and ask again.

use std::{net::SocketAddr, pin::pin, time::Duration};

use anyhow::{Context, Result, bail};
use benches::rounds::Times;
use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    client::conn::http1::{self, SendRequest},
    header::HOST,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

/// What a generator saw.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Answers per second, all of them 200.
    pub per_second: f64,
    /// How many.
    pub answers: usize,
    /// From the request to the last byte of its answer.
    pub times: Times,
}

/// So many connections for so long. An answer that is not 200, or that has another length than `length`, is an error.
pub async fn generate(
    address: SocketAddr,
    connections: usize,
    span: Duration,
    length: usize,
) -> Result<Load> {
    let mut loops = JoinSet::new();
    let began = Instant::now();
    let until = began + span;
    for _ in 0..connections {
        loops.spawn(connection(address, until, length));
    }
    let mut times = Times::default();
    while let Some(ended) = loops.join_next().await {
        times.merge(ended.context("a connection's task broke")??);
    }
    let answers = times.count();
    Ok(Load { per_second: answers as f64 / began.elapsed().as_secs_f64(), answers, times })
}

async fn connection(address: SocketAddr, until: Instant, length: usize) -> Result<Times> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, driven) = http1::handshake(TokioIo::new(stream)).await?;
    // One task for both halves: the driver is polled whenever the asking is.
    match select(pin!(ask(sender, address, until, length)), pin!(driven)).await {
        Either::Left((done, _)) => done,
        Either::Right((ended, _)) => {
            ended.context("the connection broke")?;
            bail!("{address} closed a connection")
        }
    }
}

async fn ask(
    mut sender: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
    until: Instant,
    length: usize,
) -> Result<Times> {
    let host = address.to_string();
    let mut times = Times::default();
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(times);
        }
        let request = Request::get("/item?number=42").header(HOST, &host).header("user-agent", "load");
        sender.ready().await?;
        let mut answer = sender.send_request(request.body(Empty::new())?).await?;
        let mut bytes = 0;
        while let Some(frame) = answer.body_mut().frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        if !answer.status().is_success() || bytes != length {
            bail!("{address} answered {} with {bytes} bytes", answer.status());
        }
        times.add(began.elapsed());
    }
}
