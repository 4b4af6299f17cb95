//! `GET /v1/audit`, `/v1/audit/head` and `/v1/audit/keys`: a firm's own log, and what proves
//! it later.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use serde_json::json;

use super::query::{self, AuditFormat};
use super::routes::Endpoint;
use super::{Api, Code, Problem};
use crate::access::{Entry, MAX_AUDIT_PAGE, Receipt};
use crate::auth::Member;
use crate::auth::route::{DECIDERS, Guard};
use crate::time::rfc3339;

pub(super) const ROUTES: &[Endpoint] = &[
    Endpoint::get("/v1/audit", DECIDERS, || get(page)),
    Endpoint::get("/v1/audit/head", DECIDERS, || get(head)),
    Endpoint::get("/v1/audit/keys", Guard::Public, || get(keys)),
];

/// Where an answer carries its place in the owner's log: a [`Receipt`] as JSON.
pub(super) const RECEIPT: HeaderName = HeaderName::from_static("sandan-receipt");

/// The receipt as a header; none for one's own series.
pub(super) fn receipt(receipt: Option<&Receipt>) -> HeaderMap {
    // Ids, numbers and hexadecimal digits: all of it may stand in a header.
    let value = receipt.and_then(|it| HeaderValue::try_from(serde_json::to_string(it).ok()?).ok());
    value.into_iter().map(|value| (RECEIPT, value)).collect()
}

async fn page(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<query::Audit>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = query?.0;
    let limit = query::page_limit(query.limit.as_deref(), MAX_AUDIT_PAGE)?;
    let after = query::number("after", query.after.as_deref())?.unwrap_or(0);
    let firm = query.firm.as_ref().unwrap_or(&member.firm);
    let entries = api.access.audit(&member, firm, after, limit).await?;
    if query.format == Some(AuditFormat::Ndjson) {
        // As `audit export` writes them and `audit verify` reads them.
        let lines: String =
            entries.iter().filter_map(|it| serde_json::to_string(it).ok()).map(|it| it + "\n").collect();
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response());
    }
    let next = entries.last().filter(|_| entries.len() == limit).map(|entry| entry.number);
    let shown = |entry: &Entry| {
        json!({
            "number": entry.number,
            "time": rfc3339(entry.time_us),
            "time_us": entry.time_us,
            "kind": entry.kind.as_str(),
            "actor": entry.actor,
            "detail": entry.detail,
            "previous": entry.previous,
            "hash": entry.hash,
        })
    };
    let entries: Vec<_> = entries.iter().map(shown).collect();
    Ok(Json(json!({ "firm": firm, "entries": entries, "next": next })).into_response())
}

async fn head(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<query::OfFirm>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = query?.0;
    let firm = query.firm.as_ref().unwrap_or(&member.firm);
    let proof = api.access.audit_head(&member, firm).await?;
    let empty = || Problem::new(Code::EmptyLog, "the firm's log has no entry yet");
    Ok(Json(proof.ok_or_else(empty)?).into_response())
}

async fn keys(State(api): State<Arc<Api>>) -> Response {
    Json(json!({ "keys": api.access.audit_keys() })).into_response()
}
