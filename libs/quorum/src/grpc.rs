//! Frames over gRPC, with mutual TLS when there is a certificate.
//!
//! One method, `/code.quorum.v1.Member/Ask`, of which [`crate::wire`] is the contract. The service is written by hand:
//! one unary call needs no generator.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use ground::Secret;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Body as HttpBody, Bytes, Service, StdError, http},
    server::{NamedService, UnaryService},
    transport::{
        Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
        server::TcpIncoming,
    },
};
use tonic_prost::ProstCodec;

use crate::{
    error::Error,
    transport::{Lost, Serve, Transport},
    types::Peer,
    wire::{Frame, MAX_FRAME},
};

const SERVICE: &str = "code.quorum.v1.Member";
const METHOD: &str = "/code.quorum.v1.Member/Ask";
/// Connecting takes no longer.
const CONNECT: Duration = Duration::from_millis(500);
/// A call takes no longer here, whatever the caller's patience is.
const LONGEST: Duration = Duration::from_secs(30);
/// Calls of one connection that are worked on at once.
const AT_ONCE: usize = 64;
/// Connections that are kept to others; a cluster is much smaller.
const CHANNELS: usize = 64;

/// Certificate, key and the authority that both sides' certificates must come from, as PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// This member's certificate with its chain.
    pub certificate: String,
    /// Its key.
    pub key: Secret,
    /// The authority. Whoever has a certificate of it may speak as a member: give the cluster one of its own.
    pub authority: String,
    /// The name that every member's certificate must carry.
    pub name: String,
}

impl Tls {
    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, self.key.reveal())
    }

    fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(self.identity())
            .ca_certificate(Certificate::from_pem(&self.authority))
            .domain_name(&self.name)
    }

    fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(self.identity())
            .client_ca_root(Certificate::from_pem(&self.authority))
    }
}

/// Asks others. Keeps one connection for each address.
pub(crate) struct Client {
    tls: Option<Tls>,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Client {
    pub fn new(tls: Option<Tls>) -> Client {
        Client { tls, channels: Mutex::default() }
    }

    fn channel(&self, address: &str) -> Result<Channel, String> {
        if let Some(channel) = self.channels.lock().get(address) {
            return Ok(channel.clone());
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|error| format!("{address} is no address: {error}"))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(2));
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.client()).map_err(|error| format!("TLS: {error}"))?;
        }
        let channel = endpoint.connect_lazy();
        let mut channels = self.channels.lock();
        if channels.len() >= CHANNELS {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

#[async_trait::async_trait]
impl Transport for Client {
    async fn ask(&self, peer: &Peer, frame: Frame, within: Duration) -> Result<Frame, Lost> {
        let channel = self.channel(&peer.address).map_err(Lost::Unreachable)?;
        let mut grpc = tonic::client::Grpc::new(channel)
            .max_decoding_message_size(MAX_FRAME)
            .max_encoding_message_size(MAX_FRAME);
        let asked = async {
            grpc.ready().await.map_err(|error| Lost::Unreachable(chain(&error)))?;
            let mut request = Request::new(frame);
            request.set_timeout(within);
            let path = http::uri::PathAndQuery::from_static(METHOD);
            let answer = grpc.unary(request, path, ProstCodec::<Frame, Frame>::default()).await;
            answer.map(Response::into_inner).map_err(|status| lost(&status))
        };
        let late = |_| Lost::Unanswered(format!("not within {within:?}"));
        tokio::time::timeout(within, asked).await.map_err(late)?
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn lost(status: &Status) -> Lost {
    let text = chain(status);
    // tonic reports a connection that could not be made so, with its cause as a source.
    if status.code() == tonic::Code::Unavailable { Lost::Unreachable(text) } else { Lost::Unanswered(text) }
}

/// Answers others at a listener that is open already, until `stop` is done.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    member: Arc<dyn Serve>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let broken = |error: tonic::transport::Error| Error::Listen { address, source: error.into() };
    let mut server = Server::builder()
        .timeout(LONGEST)
        .concurrency_limit_per_connection(AT_ONCE)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(2)));
    if let Some(tls) = &tls {
        server = server.tls_config(tls.server()).map_err(broken)?;
    }
    server
        .add_service(Door(member))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await
        .map_err(broken)
}

/// The gRPC service.
#[derive(Clone)]
struct Door(Arc<dyn Serve>);

impl NamedService for Door {
    const NAME: &'static str = SERVICE;
}

impl UnaryService<Frame> for Door {
    type Response = Frame;
    type Future = BoxFuture<'static, Result<Response<Frame>, Status>>;

    fn call(&mut self, request: Request<Frame>) -> Self::Future {
        let member = Arc::clone(&self.0);
        Box::pin(async move { Ok(Response::new(member.answer(request.into_inner()).await)) })
    }
}

impl<B> Service<http::Request<B>> for Door
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = futures::future::Either<
        BoxFuture<'static, Result<http::Response<Body>, Infallible>>,
        Ready<Result<http::Response<Body>, Infallible>>,
    >;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != METHOD {
            return futures::future::Either::Right(ready(Ok(
                Status::unimplemented("no such method").into_http()
            )));
        }
        let door = self.clone();
        futures::future::Either::Left(Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Frame, Frame>::default())
                .max_decoding_message_size(MAX_FRAME)
                .max_encoding_message_size(MAX_FRAME);
            Ok(grpc.unary(door, request).await)
        }))
    }
}
