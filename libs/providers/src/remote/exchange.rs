//! Requests and answers over HTTP, for one provider.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ground::Secret;
use reqwest::{
    Response,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    ask::Ask,
    catalogue::{Model, Provider},
    failure::{Class, Failure, Phase},
    wire::{self, Heard, Wire},
};

/// Where vendors put the id of a request.
const REQUEST_IDS: [&str; 3] = ["request-id", "x-request-id", "x-generation-id"];

pub(super) struct Exchange {
    http: reqwest::Client,
    pub wire: Arc<dyn Wire>,
    base: String,
    headers: HeaderMap,
    key: Option<Secret>,
    first_byte: Duration,
    idle: Duration,
    max_body: usize,
}

impl Exchange {
    pub(super) fn new(
        http: reqwest::Client,
        wire: Arc<dyn Wire>,
        provider: &Provider,
        key: Option<Secret>,
    ) -> Exchange {
        let mut headers = HeaderMap::new();
        for (name, value) in wire.headers() {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let configured = provider.headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        });
        for (name, value) in configured {
            headers.insert(name, value);
        }
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        if let Some(key) = &key {
            let (name, before) = wire.key_header();
            if let Ok(mut value) = HeaderValue::from_str(&format!("{before}{}", key.reveal())) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Exchange {
            http,
            wire,
            base: provider.base_url.trim_end_matches('/').to_owned(),
            headers,
            key,
            first_byte: provider.first_byte_timeout.0,
            idle: provider.idle_timeout.0,
            max_body: provider.max_body,
        }
    }

    /// Asks for a whole answer.
    pub(super) async fn whole(&self, model: &Model, ask: &Ask) -> Result<Heard, Failure> {
        let mut response = self.send(model, ask, false).await?;
        let id = request_id(response.headers());
        let body = self.read_all(&mut response).await?;
        // Some servers begin a document with a byte order mark, which JSON does not have.
        let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body).trim_ascii();
        let heard = if text.is_empty() {
            Err(Failure::new(Class::Malformed, "the answer has no body"))
        } else {
            match serde_json::from_slice::<Value>(text) {
                Ok(body) => self.wire.reply(&body),
                Err(error) => Err(Failure::new(Class::Malformed, format!("the answer is no JSON: {error}"))),
            }
        };
        heard.map_err(|failure| self.named(failure, &id))
    }

    /// Sends the question; an answer that comes back has status 200.
    pub(super) async fn send(&self, model: &Model, ask: &Ask, streaming: bool) -> Result<Response, Failure> {
        let mut body = self.wire.body(model, ask, streaming);
        wire::merge(&mut body, &model.extra);
        let request = self
            .http
            .post(format!("{}{}", self.base, self.wire.path(model, streaming)))
            .headers(self.headers.clone())
            .body(body.to_string());
        let sent = timeout(self.first_byte, request.send()).await;
        let response = match sent {
            Err(_) => return Err(Failure::new(Class::Timeout(Phase::FirstByte), "")),
            Ok(Err(error)) => return Err(self.trouble(error)),
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
    }

    /// The next bytes of an answer; none at its end.
    pub(super) async fn next(&self, response: &mut Response) -> Result<Option<Bytes>, Failure> {
        match timeout(self.idle, response.chunk()).await {
            Err(_) => Err(Failure::new(Class::Timeout(Phase::Idle), "")),
            Ok(Err(error)) => Err(self.trouble(error)),
            Ok(Ok(bytes)) => Ok(bytes),
        }
    }

    pub(super) fn max_body(&self) -> usize {
        self.max_body
    }

    /// The failure with the request's id, without the key.
    pub(super) fn named(&self, mut failure: Failure, id: &Option<String>) -> Failure {
        failure.request_id = failure.request_id.or_else(|| id.clone());
        if let Some(key) = &self.key {
            failure.detail = key.scrub(&failure.detail);
        }
        failure
    }

    async fn refused(&self, mut response: Response) -> Failure {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // An error whose text cannot be read is still an error of this status.
        let body = self.read_all(&mut response).await.unwrap_or_default();
        let told: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
        let mut failure = if (300..400).contains(&status) {
            // Followed, it would carry the key to another host.
            Failure::new(Class::Upstream, "it redirects, which is not followed")
        } else {
            self.wire.failure(status, &headers, &told)
        };
        failure.http = Some(status);
        self.named(failure, &request_id(&headers))
    }

    async fn read_all(&self, response: &mut Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(bytes) = self.next(response).await? {
            body.extend_from_slice(&bytes);
            if body.len() > self.max_body {
                return Err(too_large(self.max_body));
            }
        }
        Ok(body)
    }

    fn trouble(&self, error: reqwest::Error) -> Failure {
        let class = if error.is_connect() {
            if error.is_timeout() { Class::Timeout(Phase::Connect) } else { Class::Upstream }
        } else if error.is_body() || error.is_decode() {
            Class::Malformed
        } else {
            Class::Upstream
        };
        let mut detail = String::new();
        let error = error.without_url();
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(one) = source {
            if !detail.is_empty() {
                detail.push_str(": ");
            }
            detail.push_str(&one.to_string());
            source = one.source();
        }
        self.named(Failure::new(class, detail), &None)
    }
}

/// More than this is no answer but an attack or an accident; asking again would bring as much.
pub(super) fn too_large(max: usize) -> Failure {
    let mut failure = Failure::new(Class::Malformed, format!("the answer is larger than {max} bytes"));
    failure.retry = Some(false);
    failure
}

pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = REQUEST_IDS.iter().find_map(|name| headers.get(*name))?;
    id.to_str().ok().map(|id| id.chars().take(128).collect())
}
