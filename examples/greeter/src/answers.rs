//! What each request is answered with.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::config::Config;

/// A longer body to `/echo` is answered with 413. In bytes.
const ECHO_LIMIT: usize = 1024 * 1024;

/// No more is leaked than this, so that a forgotten greeter does not take the machine with it. In bytes.
const LEAK_LIMIT: usize = 1024 * 1024 * 1024;

pub struct Answers {
    config: Config,
    version: HeaderValue,
    openapi: String,
    /// Requests to `/` and `/echo` so far.
    requests: AtomicU64,
    leaked: Mutex<Vec<Vec<u8>>>,
}

impl Answers {
    /// Fails when the file of the OpenAPI document cannot be read or is not JSON.
    pub fn new(config: Config) -> io::Result<Self> {
        let openapi = match &config.openapi {
            None => openapi(&config.version).to_string(),
            Some(path) => {
                let complaint = |error: &dyn std::fmt::Display| {
                    io::Error::other(format!("openapi document {}: {error}", path.display()))
                };
                let text = std::fs::read_to_string(path).map_err(|error| complaint(&error))?;
                serde_json::from_str::<Value>(&text).map_err(|error| complaint(&error))?;
                text
            }
        };
        let version = HeaderValue::from_str(&config.version).map_err(io::Error::other)?;
        Ok(Self { config, version, openapi, requests: AtomicU64::new(0), leaked: Mutex::new(Vec::new()) })
    }

    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let reads = request.method() == Method::GET || request.method() == Method::HEAD;
        let mut response = match request.uri().path() {
            "/" if reads => self.greet().await,
            "/health" if reads => self.health(),
            "/openapi.json" if reads => json_response(StatusCode::OK, self.openapi.clone()),
            "/echo" if request.method() == Method::POST => self.echo(request).await,
            "/" | "/health" | "/openapi.json" => not_allowed("GET, HEAD"),
            "/echo" => not_allowed("POST"),
            _ => json_response(StatusCode::NOT_FOUND, json!({ "error": "not found" })),
        };
        response.headers_mut().insert("x-version", self.version.clone());
        response
    }

    async fn greet(&self) -> Response<Full<Bytes>> {
        if let Err(failure) = self.misbehave().await {
            return failure;
        }
        let Config { version, instance, .. } = &self.config;
        json_response(
            StatusCode::OK,
            json!({ "service": "greeter", "version": version, "instance": instance }),
        )
    }

    fn health(&self) -> Response<Full<Bytes>> {
        if self.config.never_ready {
            json_response(StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready" }))
        } else {
            json_response(StatusCode::OK, json!({ "status": "ready" }))
        }
    }

    async fn echo<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        let Ok(body) = Limited::new(request.into_body(), ECHO_LIMIT).collect().await else {
            let message = format!("the body is longer than {ECHO_LIMIT} bytes or broke off");
            return json_response(StatusCode::PAYLOAD_TOO_LARGE, json!({ "error": message }));
        };
        if let Err(failure) = self.misbehave().await {
            return failure;
        }
        let mut response = Response::new(Full::new(body.to_bytes()));
        let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    /// Counts the request, waits, leaks and perhaps fails, as the settings say.
    async fn misbehave(&self) -> Result<(), Response<Full<Bytes>>> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.leak();
        if !self.config.latency.is_zero() {
            tokio::time::sleep(self.config.latency).await;
        }
        if fails(number, self.config.error_rate) {
            let message = format!("request {number} fails as told");
            return Err(json_response(StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": message })));
        }
        Ok(())
    }

    fn leak(&self) {
        let Ok(mut leaked) = self.leaked.lock() else { return };
        if self.config.leak > 0 && (leaked.len() + 1).saturating_mul(self.config.leak) <= LEAK_LIMIT {
            // Not zeroes: untouched pages would not count as memory in use.
            leaked.push(vec![1; self.config.leak]);
        }
    }
}

/// Whether request `number`, counted from 1, fails: of the first n requests exactly ⌊n · rate⌋ do.
fn fails(number: u64, rate: f64) -> bool {
    let failed_of = |requests: u64| (requests as f64 * rate).floor();
    failed_of(number) > failed_of(number - 1)
}

fn openapi(version: &str) -> Value {
    let answers_json =
        json!({ "description": "ok", "content": { "application/json": { "schema": { "type": "object" } } } });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "greeter", "version": version },
        "paths": {
            "/": { "get": { "operationId": "greet", "responses": { "200": {
                "description": "who answers",
                "content": { "application/json": { "schema": {
                    "type": "object",
                    "required": ["service", "version", "instance"],
                    "properties": {
                        "service": { "type": "string" },
                        "version": { "type": "string" },
                        "instance": { "type": "string" },
                    },
                } } },
            } } } },
            "/health": { "get": { "operationId": "health", "responses": {
                "200": answers_json,
                "503": { "description": "not ready" },
            } } },
            "/echo": { "post": {
                "operationId": "echo",
                "requestBody": { "content": { "*/*": {} } },
                "responses": { "200": { "description": "the body sent" } },
            } },
        },
    })
}

fn json_response(status: StatusCode, body: impl ToString) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response =
        json_response(StatusCode::METHOD_NOT_ALLOWED, json!({ "error": "method not allowed" }));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_failures_is_exact_and_spread() {
        let failing = |rate| (1..=100).filter(|number| fails(*number, rate)).collect::<Vec<_>>();

        assert_eq!(failing(0.0), Vec::<u64>::new());
        assert_eq!(failing(1.0), (1..=100).collect::<Vec<_>>());
        assert_eq!(failing(0.25), (1..=25).map(|number| number * 4).collect::<Vec<_>>());
        assert_eq!(failing(0.3).len(), 30);
    }
}
