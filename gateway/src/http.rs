//! The local HTTP server: `/metrics`, `/healthz`, `/status`. Loopback only; it shows
//! health and nothing else.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use sandan_proto::exposition::negotiate;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::health::{Health, Status, metrics};

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

async fn scrape(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shown.registry) {
        Ok(()) => {
            let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let (kind, text) = negotiate(accept, text);
            ([(CONTENT_TYPE, kind), (VARY, "accept")], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
