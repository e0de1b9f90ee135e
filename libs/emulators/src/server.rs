//! The server: one address for all vendors, a door for the scenario, and a record of what was asked.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{
    Json, Router,
    body::{Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub use crate::stage::Counts;
use crate::{
    play,
    scenario::{Scenario, Vendor},
    stage::{Recorded, Stage},
    vendor::Call,
};

/// Largest request: Anthropic's limit.
const LARGEST: usize = 32 << 20;
/// Headers whose values are keys.
const KEYS: [&str; 3] = ["authorization", "x-api-key", "x-goog-api-key"];

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct Failed {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// A running server. It stops when this is dropped.
pub struct Emulator {
    address: SocketAddr,
    stage: Stage,
    tasks: JoinSet<()>,
}

impl Emulator {
    /// Serves on a free port of this machine.
    pub async fn start(scenario: Scenario) -> Result<Emulator, Failed> {
        Emulator::listen(SocketAddr::from(([127, 0, 0, 1], 0)), scenario).await
    }

    /// Serves on this address.
    pub async fn listen(address: SocketAddr, scenario: Scenario) -> Result<Emulator, Failed> {
        let failed = |source| Failed { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let stage = Stage::new(scenario);
        let router = router(stage.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // It only ends when the listener breaks, and then there is nothing to answer with.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Emulator { address: bound, stage, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base address to configure for a vendor, as `providers` wants it: what stands before the format's own paths.
    pub fn base_url(&self, vendor: Vendor) -> String {
        let rest = match vendor {
            Vendor::Openrouter => "/api/v1",
            Vendor::Gemini => "/v1",
            Vendor::Anthropic | Vendor::Openai | Vendor::Deepseek | Vendor::Ollama => "",
        };
        format!("http://{}/{}{rest}", self.address, vendor.as_str())
    }

    /// Plays another scenario from its beginning.
    pub fn play(&self, scenario: Scenario) {
        self.stage.play(scenario);
    }

    /// What was asked, in the order of asking; the latest 10,000.
    pub fn requests(&self) -> Vec<Recorded> {
        self.stage.requests()
    }

    /// Forgets what was asked.
    pub fn forget_requests(&self) {
        self.stage.forget_requests();
    }

    /// How many questions were asked, are open, were answered or abandoned.
    pub fn counts(&self) -> Counts {
        *self.stage.counts().borrow()
    }

    /// Sees every change of the counts.
    pub fn watch(&self) -> watch::Receiver<Counts> {
        self.stage.counts()
    }

    /// Returns when the counts are so. Tests give it a deadline.
    pub async fn until(&self, so: impl FnMut(&Counts) -> bool) {
        // The sender lives in the stage, which we hold.
        let _ = self.stage.counts().wait_for(so).await;
    }

    /// Lets go what waits at a gate ([`Fault::Hold`](crate::Fault::Hold)), now and from now on.
    pub fn release(&self, gate: &str) {
        self.stage.release(gate);
    }

    /// Serves until the server breaks.
    pub async fn serve(mut self) {
        self.tasks.join_next().await;
    }
}

fn router(stage: Stage) -> Router {
    Router::new()
        .route("/_scenario", get(show_scenario).put(put_scenario))
        .route("/_requests", get(show_requests).delete(forget_requests))
        .route("/_counts", get(show_counts))
        .route("/_release/{gate}", post(release))
        .fallback(asked)
        .with_state(stage)
}

async fn show_scenario(State(stage): State<Stage>) -> Json<Scenario> {
    Json(stage.scenario())
}

async fn put_scenario(State(stage): State<Stage>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(scenario) => {
            stage.play(scenario);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn show_requests(State(stage): State<Stage>) -> Json<Vec<Recorded>> {
    Json(stage.requests())
}

async fn forget_requests(State(stage): State<Stage>) -> StatusCode {
    stage.forget_requests();
    StatusCode::NO_CONTENT
}

async fn show_counts(State(stage): State<Stage>) -> Json<Value> {
    let counts = *stage.counts().borrow();
    Json(json!({"asked": counts.asked, "open": counts.open, "peak": counts.peak, "answered": counts.answered,
        "abandoned": counts.abandoned}))
}

async fn release(State(stage): State<Stage>, Path(gate): Path<String>) -> StatusCode {
    stage.release(&gate);
    StatusCode::NO_CONTENT
}

async fn asked(State(stage): State<Stage>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let whole = head.uri.path();
    let found = Vendor::ALL.iter().find_map(|vendor| {
        let rest = whole.strip_prefix('/')?.strip_prefix(vendor.as_str())?;
        Some((*vendor, rest.to_owned(), play::format(*vendor, rest)?))
    });
    let Some((vendor, path, format)) = found else {
        let error =
            json!({"error": {"message": format!("nobody is played at {whole}"), "type": "not_found_error"}});
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    };
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, Json(json!({"error": {"message": "request_too_large"}})))
            .into_response();
    };
    let body =
        serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
    let query = head.uri.query().unwrap_or_default().to_owned();
    let call = Call { vendor, path, query, headers: head.headers, body };
    let (model, stream) = play::model(&call);
    let (part, open) = stage.decide(Recorded {
        vendor,
        path: call.path.clone(),
        query: call.query.clone(),
        headers: headers(&call.headers),
        body: call.body.clone(),
        model,
        stream,
    });
    play::play(call, format.as_ref(), part, open, &stage).await
}

fn headers(all: &HeaderMap) -> BTreeMap<String, String> {
    let one = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        let value = value.to_str().unwrap_or("(no text)");
        let shown = match value.split_once(' ') {
            _ if !KEYS.contains(&name.as_str()) => value,
            Some((scheme, _)) => scheme,
            None => "set",
        };
        (name.as_str().to_owned(), shown.to_owned())
    };
    all.iter().map(one).collect()
}
