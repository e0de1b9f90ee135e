//! `/live`, `/ready` and `/metrics` for whoever runs us.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::{health::Health, metrics::Page, tasks::Tasks};

/// What the endpoints show: all services of this process.
#[derive(Clone, Debug, Default)]
pub struct Board {
    services: Arc<Mutex<Vec<(String, Health)>>>,
    /// The metrics.
    pub page: Page,
}

/// The body of `/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether work may be given to this process.
    pub ready: bool,
    /// Why not, as `service: reason`.
    pub reasons: Vec<String>,
}

impl Board {
    /// Shows this service too.
    pub fn add(&self, name: &str, health: &Health) {
        self.services().push((name.to_owned(), health.clone()));
    }

    /// No longer shows this service.
    pub fn remove(&self, health: &Health) {
        self.services().retain(|(_, other)| other != health);
    }

    /// How many services of this name are shown.
    pub fn count(&self, name: &str) -> usize {
        self.services().iter().filter(|(other, _)| other == name).count()
    }

    /// Ready when every service is, and there is one.
    pub fn readiness(&self) -> Readiness {
        let services = self.services();
        let reason = |(name, health): &(String, Health)| {
            let name = name.clone();
            health.reasons().into_iter().map(move |reason| format!("{name}: {reason}"))
        };
        let mut reasons: Vec<String> = services.iter().flat_map(reason).collect();
        if services.is_empty() {
            reasons.push("no service has started".to_owned());
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }

    fn died(&self) -> Option<String> {
        self.services().iter().find_map(|(name, health)| Some(format!("{name}: {}", health.died()?)))
    }

    fn services(&self) -> MutexGuard<'_, Vec<(String, Health)>> {
        self.services.lock()
    }
}

/// Binds, then serves in a critical task of `tasks` until they stop. The address, with the port that was chosen.
pub async fn serve(listen: SocketAddr, board: Board, tasks: &Tasks) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(board);
    let stopping = tasks.stopping();
    tasks.critical("health endpoint", async move {
        tokio::select! {
            served = async { axum::serve(listener, routes).await } => served,
            () = stopping.cancelled() => Ok(()),
        }
    });
    Ok(address)
}

async fn live(State(board): State<Board>) -> Response {
    match board.died() {
        None => "live\n".into_response(),
        Some(cause) => (StatusCode::SERVICE_UNAVAILABLE, format!("{cause}\n")).into_response(),
    }
}

async fn ready(State(board): State<Board>) -> Response {
    let readiness = board.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(board): State<Board>) -> Response {
    match board.page.text() {
        Ok(text) => ([(header::CONTENT_TYPE, Page::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
