//! The two pages for machines: `/healthz` and `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sandan_proto::exposition::negotiate;

use super::Api;
use super::routes::Endpoint;
use crate::auth::route::Guard;

pub(super) const ROUTES: &[Endpoint] = &[
    Endpoint::get("/healthz", Guard::Public, || get(healthz)),
    Endpoint::get("/metrics", Guard::Public, || get(metrics)),
];

async fn healthz(State(api): State<Arc<Api>>) -> Response {
    let health = api.access.health().await;
    if !health.answers {
        return (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer").into_response();
    }
    let (status, text) = if api.access.is_disk_short() {
        let why = "the disk is below its reserve: nothing more is stored, and gateways keep what they read";
        (StatusCode::SERVICE_UNAVAILABLE, why)
    } else {
        (StatusCode::OK, "ok")
    };
    let mut text = text.to_owned();
    if health.suspended {
        text.push_str(
            "\na restore suspended consents; `sandan-ingest consent list` shows those that are not confirmed",
        );
    }
    if health.witness_behind {
        text.push_str("\nthe witness cannot be written; the log says why");
    }
    (status, text).into_response()
}

async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &api.registry) {
        Ok(()) => {
            let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            let (kind, text) = negotiate(accept, text);
            ([(header::CONTENT_TYPE, kind), (header::VARY, "accept")], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
