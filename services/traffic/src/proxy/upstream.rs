//! One connection to an instance, driven by whoever uses it.
//!
//! hyper's client connection is a future that is usually given a task of its own; then every request costs two
//! wake-ups across tasks. Here the future that forwards a request polls the connection itself, the answer's body
//! polls it on, and an idle connection in the pool is polled by nobody until it is taken or swept. So a request
//! stays on one task and one processor core from its first to its last byte.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};

use super::body::RequestBody;

pub(crate) struct Upstream {
    sender: http1::SendRequest<RequestBody>,
    connection: http1::Connection<TokioIo<TcpStream>, RequestBody>,
    /// It speaks no HTTP any more and must not be driven.
    ended: bool,
    /// Counts against the bound of connections to instances.
    slot: OwnedSemaphorePermit,
    /// It has carried a request before. Such a connection may be closed by the other side at any moment.
    pub(crate) reused: bool,
}

/// Connects. `address` is `host:port`; a name is resolved anew each time.
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = match address.parse::<std::net::SocketAddr>() {
        Ok(address) => TcpStream::connect(address).await?,
        Err(_) => TcpStream::connect(address).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Upstream {
    pub(crate) async fn open(
        address: &str,
        rules: &http1::Builder,
        slot: OwnedSemaphorePermit,
    ) -> io::Result<Box<Upstream>> {
        let io = TokioIo::new(connect(address).await?);
        let (sender, connection) = rules.handshake(io).await.map_err(io::Error::other)?;
        Ok(Box::new(Upstream { sender, connection, ended: false, slot, reused: false }))
    }

    /// Lets the connection read and write what it can.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        // How it ended is told to whoever waits for an answer or reads a body.
        self.ended = self.ended || Pin::new(&mut self.connection).poll(cx).is_ready();
    }

    /// It could take a request, as far as was known when it was last driven.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ended && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer. Dropping the future leaves the connection unusable.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            self.ended = self.ended || Pin::new(&mut self.connection).poll(cx).is_ready();
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// The bare connection once the instance has switched protocols, what it has said since, and what counts for it.
    pub(crate) async fn switched(mut self) -> (TcpStream, Bytes, OwnedSemaphorePermit) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let parts = self.connection.into_parts();
        (parts.io.into_inner(), parts.read_buf, self.slot)
    }
}
