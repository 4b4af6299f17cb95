//! HTTP/JSON for members under `/v1`, and the two pages for machines, `/healthz` and
//! `/metrics`.
//!
//! It promises that every route stands in [`ROUTES`] with its guard, that an answer is
//! bounded, and that a CSV which a revocation ends breaks off (the connection is
//! aborted before the last chunk), so that it cannot be taken for a whole one. It reads
//! through `access` only and must not know the store.

mod audit;
mod csv;
mod dead_letters;
mod limits;
mod problem;
mod query;
mod readings;
mod series;

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json, Router};
use prometheus_client::registry::Registry;
use sandan_proto::v1::GapCause;
use serde_json::json;

pub use self::limits::{Slots, limited};
pub use self::problem::Problem;
use crate::access::{Access, GapFact};
use crate::auth::route::{Guard, Route};
use crate::auth::{Auth, Member};
use crate::time::rfc3339;

/// Every route of this module. The router is built from this table alone.
pub const ROUTES: [Route; 12] = [
    Route { path: "/v1/series", method: "GET", guard: Guard::Member },
    Route { path: "/v1/readings", method: "GET", guard: Guard::Member },
    Route { path: "/v1/gaps", method: "GET", guard: Guard::Member },
    Route { path: "/v1/audit", method: "GET", guard: Guard::Member },
    Route { path: "/v1/audit/head", method: "GET", guard: Guard::Member },
    Route { path: "/v1/audit/keys", method: "GET", guard: Guard::Public },
    Route { path: "/v1/dead-letters", method: "GET", guard: Guard::Member },
    Route { path: "/v1/dead-letters/export", method: "GET", guard: Guard::Member },
    Route { path: "/v1/dead-letters/retry", method: "POST", guard: Guard::Member },
    Route { path: "/v1/dead-letters/discard", method: "POST", guard: Guard::Member },
    Route { path: "/healthz", method: "GET", guard: Guard::Public },
    Route { path: "/metrics", method: "GET", guard: Guard::Public },
];

/// What the handlers share.
pub struct Api {
    /// The door.
    pub access: Arc<Access>,
    /// Who calls.
    pub auth: Auth,
    /// Requests of members that are being worked on.
    pub slots: Arc<Slots>,
    /// What `/metrics` shows.
    pub registry: Registry,
}

/// The routes with their guards.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let handler: MethodRouter<Arc<Api>> = match route.path {
            "/v1/series" => get(series::list),
            "/v1/readings" => get(readings::pull),
            "/v1/gaps" => get(gaps),
            "/v1/audit" => get(audit::page),
            "/v1/audit/head" => get(audit::head),
            "/v1/audit/keys" => get(audit::keys),
            "/v1/dead-letters" => get(dead_letters::list),
            "/v1/dead-letters/export" => get(dead_letters::export),
            "/v1/dead-letters/retry" => post(dead_letters::retry),
            "/v1/dead-letters/discard" => post(dead_letters::discard),
            "/healthz" => get(healthz),
            "/metrics" => get(metrics),
            path => unreachable!("{path} stands in the table and has no handler"),
        };
        let guarded = match route.guard {
            Guard::Public => handler,
            Guard::Member => handler.route_layer(middleware::from_fn_with_state(api.clone(), member)),
            Guard::Operator => unreachable!("operators have the console"),
        };
        router = router.route(route.path, guarded);
    }
    router.fallback(async || Problem::no_such_page()).with_state(api)
}

/// Lets members through, and says who they are.
async fn member(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let bearer = bearer(request.headers()).ok_or_else(Problem::unauthenticated)?;
    let member = api.auth.member(bearer).await?.ok_or_else(Problem::unauthenticated)?;
    let _slot = api.slots.take(&member.firm).ok_or_else(Problem::busy)?;
    request.extensions_mut().insert(member);
    let mut response = next.run(request).await;
    // What one member may see must not be kept by a proxy for another.
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

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

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &api.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The word of a cause.
fn cause(cause: GapCause) -> String {
    cause.as_str_name().trim_start_matches("GAP_CAUSE_").to_lowercase()
}

async fn gaps(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<query::Gaps>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let query = query?.0;
    let limit = query::page_limit(query.limit.as_deref(), crate::access::MAX_GAPS)?;
    let firm = query.firm.as_ref().unwrap_or(&member.firm);
    let gaps = api.access.gaps(&member, firm, limit).await?;
    let shown = |gap: &GapFact| {
        // Nothing counted what a restart cost.
        let unknown = gap.readings == 0 && gap.cause == GapCause::Restart;
        json!({
            "gateway": gap.gateway,
            "from": gap.from_us.map(rfc3339),
            "to": gap.to_us.map(rfc3339),
            "cause": cause(gap.cause),
            "readings": (!unknown).then_some(gap.readings),
            // The wall time of a boot was never known: its times are the latest that they can have been.
            "clock": if gap.uncertain { "estimated" } else { "known" },
        })
    };
    let gaps: Vec<_> = gaps.iter().map(shown).collect();
    Ok(Json(json!({ "firm": firm, "gaps": gaps })).into_response())
}

#[cfg(test)]
mod tests;
