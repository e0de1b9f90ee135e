//! Asking over plain HTTP: instances and data planes, whose addresses the engine knows, and metric providers, whose
//! addresses a spec names and which are asked only where the [egress guard](crate::egress) lets them be. No TLS here: a
//! provider that is only to be had over https is refused by name. Redirects are answers and never followed.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{Request, Response, Uri, body::Incoming, header::HeaderMap};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::Instant,
};

use crate::{Error, egress::Egress, error::Result};

/// The most that is read of an answer where nothing else is said.
const BODY_BYTES: usize = 4 << 20;

/// A client that keeps connections to what the engine knows, and makes a new one for what a spec names.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Empty<Bytes>>,
    egress: Egress,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// From the request's first byte to the answer's last.
    pub took: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Http::guarded(Egress::default())
    }
}

impl Http {
    /// With what a spec may name.
    pub fn guarded(egress: Egress) -> Http {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(8).build_http();
        Http { client, egress }
    }

    /// Status and headers of a GET's answer, whose body is left unread; none when it does not come in time.
    pub async fn head_of(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Option<(u16, HeaderMap)>> {
        let failed = |why: String| Error::Http { url: url.to_owned(), why };
        let request = headers.iter().fold(Request::get(url), |it, (name, value)| it.header(*name, *value));
        let request = request.body(Empty::new()).map_err(|error| failed(error.to_string()))?;
        match tokio::time::timeout(timeout, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(Some((answer.status().as_u16(), answer.headers().clone()))),
            Ok(Err(error)) => Err(failed(chassis::chain(&error))),
            Err(_) => Ok(None),
        }
    }

    /// One GET to an address that the engine knows; every status is an answer.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)], timeout: Duration) -> Result<Answer> {
        self.get_up_to(url, headers, timeout, BODY_BYTES).await
    }

    /// The same with an answer of at most so many bytes.
    pub async fn get_up_to(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
        most: usize,
    ) -> Result<Answer> {
        let failed = |why: String| Error::Http { url: url.to_owned(), why };
        refuse_https(url).map_err(failed)?;
        let request = request(url, headers).map_err(failed)?;
        let began = Instant::now();
        let asked = async {
            let answer = self.client.request(request).await.map_err(|error| chassis::chain(&error))?;
            read(answer, began, most).await
        };
        within(timeout, asked).await.map_err(failed)
    }

    /// One GET to an address that a spec names: resolved once, judged, and asked at the address that was judged, so
    /// that a name cannot mean something else a moment later. Every status is an answer.
    pub async fn get_named(&self, url: &str, headers: &[(&str, &str)], timeout: Duration) -> Result<Answer> {
        let failed = |why: String| Error::Http { url: url.to_owned(), why };
        refuse_https(url).map_err(failed)?;
        let uri: Uri = url.parse().map_err(|error| failed(format!("is no address: {error}")))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().ok_or_else(|| failed("names no host".to_owned()))?;
        // What stands before an `@` is no part of the host.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let request = request(path, &[&[("host", host)], headers].concat()).map_err(failed)?;
        let began = Instant::now();
        let asked = async {
            let stream = self.connect(&uri).await?;
            let begun = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = begun.map_err(|error| chassis::chain(&error))?;
            let asked = async move {
                let answer = sender.send_request(request).await.map_err(|error| chassis::chain(&error))?;
                read(answer, began, BODY_BYTES).await
            };
            tokio::pin!(asked, connection);
            tokio::select! {
                biased;
                answer = &mut asked => answer,
                // The other side closed; what it said before is there.
                _ = &mut connection => asked.await,
            }
        };
        within(timeout, asked).await.map_err(failed)
    }

    async fn connect(&self, uri: &Uri) -> std::result::Result<TcpStream, String> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let found = lookup_host((host, uri.port_u16().unwrap_or(80))).await;
        let found: Vec<SocketAddr> =
            found.map_err(|error| format!("{host} has no address: {error}"))?.collect();
        let mut why = format!("{host} has no address");
        for address in found {
            match self.egress.check(address.ip()) {
                Err(refused) => why = refused,
                Ok(()) => match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => why = format!("connect to {address}: {error}"),
                },
            }
        }
        Err(why)
    }
}

fn refuse_https(url: &str) -> std::result::Result<(), String> {
    match url.starts_with("https:") {
        true => Err("https is not spoken by the agents, use an address within the cluster".to_owned()),
        false => Ok(()),
    }
}

fn request(url: &str, headers: &[(&str, &str)]) -> std::result::Result<Request<Empty<Bytes>>, String> {
    let request = headers.iter().fold(Request::get(url), |it, (name, value)| it.header(*name, *value));
    request.body(Empty::new()).map_err(|error| error.to_string())
}

async fn read(
    answer: Response<Incoming>,
    began: Instant,
    most: usize,
) -> std::result::Result<Answer, String> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, most).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            format!("the answer is longer than {most} bytes")
        } else {
            error.to_string()
        }
    })?;
    let (status, body) = (head.status.as_u16(), body.to_bytes());
    Ok(Answer { status, headers: head.headers, body, took: began.elapsed() })
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = std::result::Result<T, String>>,
) -> std::result::Result<T, String> {
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(format!("no answer in {} ms", timeout.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn allowing(entry: &str) -> Http {
        Http::guarded(Egress::parse(&[entry.to_owned()]).unwrap())
    }

    /// Answers once, and says what was asked.
    async fn serve(listener: TcpListener, answer: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 2048];
        let read = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn what_a_spec_names_inside_is_refused_before_anything_is_sent() {
        let (listener, port) = listener().await;
        let by_name = format!("http://localhost:{port}/secret");
        for url in [&by_name, &format!("http://127.0.0.1:{port}/"), &format!("http://x@127.1:{port}/")] {
            let refused = Http::default().get_named(url, &[], PATIENCE).await.unwrap_err().to_string();

            assert!(refused.contains("agents.egress_allow"), "{refused}");
        }
        assert!(listener.into_std().unwrap().accept().is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn the_metadata_address_is_refused_whatever_is_allowed() {
        for url in ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/"] {
            let refused = allowing("0.0.0.0/0").get_named(url, &[], PATIENCE).await.unwrap_err().to_string();

            assert!(refused.contains("link-local"), "{refused}");
        }
    }

    #[tokio::test]
    async fn what_is_allowed_is_asked_at_its_address_under_its_name() {
        let (listener, port) = listener().await;
        let url = format!("http://localhost:{port}/value?of=x");
        let client = allowing("loopback");
        let answered = serve(listener, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n42");

        let (answer, asked) = tokio::join!(client.get_named(&url, &[], PATIENCE), answered);

        assert_eq!(answer.unwrap().body, "42");
        assert!(asked.starts_with("GET /value?of=x HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: localhost:{port}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let (listener, port) = listener().await;
        let url = format!("http://127.0.0.1:{port}/");
        let client = allowing("loopback");
        let away = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";

        let (answer, _) = tokio::join!(client.get_named(&url, &[], PATIENCE), serve(listener, away));

        assert_eq!(answer.unwrap().status, 302);
    }
}
