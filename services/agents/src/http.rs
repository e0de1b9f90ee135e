//! Asking over plain HTTP: instances, data planes and metric providers inside the cluster. No TLS here: a provider that
//! is only to be had over https is refused by name.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header::HeaderMap};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::Instant;

use crate::{Error, error::Result};

/// The most that is read of an answer.
const BODY_BYTES: usize = 4 << 20;

/// A client that keeps connections.
#[derive(Clone, Debug)]
pub struct Http(Client<HttpConnector, Empty<Bytes>>);

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
        Http(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(8).build_http())
    }
}

impl Http {
    /// One GET; every status is an answer.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)], timeout: Duration) -> Result<Answer> {
        let failed = |why: String| Error::Http { url: url.to_owned(), why };
        if url.starts_with("https:") {
            return Err(failed(
                "https is not spoken by the agents, use an address within the cluster".to_owned(),
            ));
        }
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).map_err(|error| failed(error.to_string()))?;
        let began = Instant::now();
        let asked = async {
            let answer = self.0.request(request).await.map_err(|error| chassis::chain(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|error| error.to_string())?;
            Ok::<Answer, String>(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
                took: began.elapsed(),
            })
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(failed(format!("no answer in {} ms", timeout.as_millis()))),
        }
    }
}
