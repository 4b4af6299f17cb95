//! The local HTTP server: `/metrics`, `/healthz`, `/status`. Loopback only; it shows
//! health and nothing else.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::health::{Health, Status, metrics};

/// Content type of the `OpenMetrics` text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Shown {
    health: Health,
    registry: Arc<Registry>,
}

/// Serves until `stop` is cancelled.
pub async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router(health)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(health: Health) -> Router {
    let registry = Arc::new(metrics::registry(&health));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/status", get(status))
        .route("/metrics", get(scrape))
        .with_state(Shown { health, registry })
}

async fn status(State(shown): State<Shown>) -> Json<Status> {
    Json(shown.health.status(clock::monotonic_us()))
}

async fn scrape(State(shown): State<Shown>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shown.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
