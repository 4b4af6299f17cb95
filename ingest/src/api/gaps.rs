//! `GET /v1/gaps`: what the own firm's gateways declared as lost.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use sandan_proto::v1::GapCause;
use serde_json::json;

use super::routes::Endpoint;
use super::{Api, Problem, query};
use crate::access::{GapFact, MAX_GAPS};
use crate::auth::Member;
use crate::auth::route::LINKS;
use crate::time::rfc3339;

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/v1/gaps", LINKS, || get(list))];

/// The word of a cause.
pub(super) fn cause(cause: GapCause) -> String {
    cause.as_str_name().trim_start_matches("GAP_CAUSE_").to_lowercase()
}

async fn list(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<query::Gaps>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = query?.0;
    let limit = query::page_limit(query.limit.as_deref(), MAX_GAPS)?;
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
