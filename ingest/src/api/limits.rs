//! Bounds on every request, whichever page it asks for.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::Problem;
use crate::metrics::{Answer, Metrics};

/// Longest path and query. The longest sensible pull has some 400 bytes.
const MAX_TARGET_BYTES: usize = 4_096;
/// Requests that are worked on at once; each may hold a chunk of rows, some megabytes.
const MAX_REQUESTS: usize = 256;
/// Until an answer must have begun. A page of 10,000 rows takes well under a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

struct Limits {
    slots: Semaphore,
    metrics: Arc<Metrics>,
}

/// Counts a request while it is open, also one whose caller goes away.
struct Open(Arc<Metrics>);

impl Open {
    fn count(metrics: Arc<Metrics>) -> Self {
        metrics.requests_open.inc();
        Self(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.requests_open.dec();
    }
}

/// `router` with the bounds around it and its answers counted.
pub fn limited(router: Router, metrics: Arc<Metrics>) -> Router {
    let limits = Arc::new(Limits { slots: Semaphore::new(MAX_REQUESTS), metrics });
    router.layer(middleware::from_fn_with_state(limits, limit))
}

async fn limit(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let open = Open::count(limits.metrics.clone());
    let response = answer(&limits, request, next).await;
    drop(open);
    // Only paths of the tables become labels; what people make up is one.
    let status = response.status().as_u16();
    limits.metrics.answers.get_or_create(&Answer { route: route.unwrap_or_default(), status }).inc();
    response
}

async fn answer(limits: &Limits, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        let detail = format!("path and query have {target} bytes, more than {MAX_TARGET_BYTES}");
        return Problem::new(StatusCode::URI_TOO_LONG, "query_too_long", "The query is too long", &detail)
            .into_response();
    }
    let Ok(_slot) = limits.slots.try_acquire() else {
        let detail = "too many requests are being answered; try again in a moment";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail).into_response();
    };
    tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "no answer was ready in time; ask for a shorter range";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "too_slow", "It took too long", detail).into_response()
    })
}
