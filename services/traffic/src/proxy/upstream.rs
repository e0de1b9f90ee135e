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

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::RequestBody;

pub(crate) struct Upstream {
    sender: http1::SendRequest<RequestBody>,
    /// None when it is over.
    connection: Option<http1::Connection<TokioIo<TcpStream>, RequestBody>>,
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
    pub(crate) async fn open(address: &str) -> io::Result<Box<Upstream>> {
        let io = TokioIo::new(connect(address).await?);
        let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        Ok(Box::new(Upstream { sender, connection: Some(connection), reused: false }))
    }

    /// Lets the connection read and write what it can.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // How it ended is told to whoever waits for an answer or reads a body.
            self.connection = None;
        }
    }

    /// It could take a request, as far as was known when it was last driven.
    pub(crate) fn is_ready(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its answer. Dropping the future leaves the connection unusable.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            if let Some(connection) = &mut self.connection
                && Pin::new(connection).poll(cx).is_ready()
            {
                self.connection = None;
            }
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
