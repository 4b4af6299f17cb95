//! `/v1/runs`: lots and charges of the own firm, by JSON, by CSV, and by a tag of the machine.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use sandan_proto::id::{AssetId, MetricId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::consents::body;
use super::routes::Endpoint;
use super::{Api, Code, Problem, query};
use crate::access::{Customer, MAX_RUNS, MAX_TAG_US, RunEntry, RunPlace, Tag};
use crate::auth::Member;
use crate::auth::route::RECORDERS;
use crate::consent::{Run, table};
use crate::time::{parse_time, rfc3339, show_duration};

/// Longest body: a thousand runs of some 300 bytes each, and room.
const MAX_BODY_BYTES: usize = 1 << 20;

pub(super) const ROUTES: &[Endpoint] = &[
    Endpoint::get("/v1/runs", RECORDERS, || get(list)),
    Endpoint::post("/v1/runs", RECORDERS, || post(put).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))),
    Endpoint::post("/v1/runs/from-tag", RECORDERS, || post(take).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    asset: Option<AssetId>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

fn shown(entry: &RunEntry) -> Value {
    let RunEntry { id, run: Run { asset, customer, from_us, to_us } } = entry;
    json!({
        "asset": asset,
        "id": id,
        "customer": customer,
        "from": rfc3339(*from_us),
        "to": to_us.map(rfc3339),
    })
}

async fn list(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Asked { asset, from, to, limit, after } = query?.0;
    let now_us = api.access.now_us();
    let time = |text: Option<String>, or| text.map_or(Ok(or), |text| parse_time(&text, now_us));
    let range = (time(from, i64::MIN)?, time(to, i64::MAX)?);
    let limit = query::page_limit(limit.as_deref(), MAX_RUNS)?;
    let after = after.as_deref().map(place).transpose()?;
    let runs = api.access.runs(&member.firm, asset.as_ref(), range, after.as_ref(), limit).await?;
    let next = runs.last().filter(|_| runs.len() == limit);
    let next = next.map(|RunEntry { id, run }| format!("{}/{}/{id}", run.asset, run.from_us));
    let runs: Vec<_> = runs.iter().map(shown).collect();
    Ok(Json(json!({ "firm": member.firm, "runs": runs, "next": next })).into_response())
}

/// `asset/from_us/id`, as `next` of a page says it.
fn place(text: &str) -> Result<RunPlace, Problem> {
    let parsed = || {
        let (asset, rest) = text.split_once('/')?;
        let (from_us, id) = rest.split_once('/')?;
        Some(RunPlace { asset: asset.parse().ok()?, from_us: from_us.parse().ok()?, id: id.to_owned() })
    };
    // A NUL is in no number, and in no text of a database.
    let parsed = parsed().filter(|it| !it.id.contains('\0'));
    parsed.ok_or_else(|| Problem::query("`after` is as `next` of the page before says it"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    runs: Vec<Noted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    asset: AssetId,
    id: String,
    customer: String,
    from: String,
    to: Option<String>,
}

async fn put(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let bytes =
        bytes.map_err(|_| Problem::new(Code::BodyTooLong, &format!("at most {MAX_BODY_BYTES} bytes at once")))?;
    let wrong = |what: &str| Problem::new(Code::BadBody, what);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let now_us = api.access.now_us();
    let runs = match kind.split(';').next().unwrap_or_default().trim() {
        "text/csv" => {
            let text =
                std::str::from_utf8(&bytes).map_err(|_| wrong("the table is not UTF-8: save it as CSV UTF-8"))?;
            let runs = table(text, now_us).map_err(|fault| wrong(&fault.to_string()))?;
            runs.into_iter().map(|(id, run)| RunEntry { id, run }).collect()
        }
        "application/json" => {
            let put: Put = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
            put.runs.into_iter().map(|noted| noted.entry(now_us)).collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(wrong("runs come as application/json or text/csv")),
    };
    if runs.len() > MAX_RUNS {
        return Err(wrong(&format!("at most {MAX_RUNS} runs at once")));
    }
    let count = runs.len();
    api.access.put_runs(&member, runs).await?;
    Ok(Json(json!({ "firm": member.firm, "runs": count })).into_response())
}

impl Noted {
    fn entry(self, now_us: i64) -> Result<RunEntry, Problem> {
        let wrong = |what: &str| Problem::new(Code::BadBody, &format!("run `{}`: {what}", self.id));
        let time = |text: &str| parse_time(text, now_us).map_err(|error| wrong(&error.to_string()));
        let (from_us, to_us) = (time(&self.from)?, self.to.as_deref().map(time).transpose()?);
        let run = Run { asset: self.asset.clone(), customer: self.customer.clone(), from_us, to_us };
        match run.fault(&self.id, now_us) {
            Some(fault) => Err(wrong(fault)),
            None => Ok(RunEntry { id: self.id, run }),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromTag {
    asset: AssetId,
    metric: MetricId,
    from: String,
    to: Option<String>,
    customer: Option<String>,
    customer_metric: Option<MetricId>,
}

async fn take(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    asked: Result<Json<FromTag>, JsonRejection>,
) -> Result<Response, Problem> {
    let FromTag { asset, metric, from, to, customer, customer_metric } = body(asked)?;
    let now_us = api.access.now_us();
    let wrong = |what: &str| Problem::new(Code::BadBody, what);
    let time = |text: &str| parse_time(text, now_us).map_err(|error| wrong(&error.to_string()));
    let (from_us, to_us) = (time(&from)?, to.as_deref().map_or(Ok(now_us), time)?.min(now_us));
    if from_us >= to_us || to_us.saturating_sub(from_us) > MAX_TAG_US {
        let longest = show_duration(MAX_TAG_US);
        return Err(wrong(&format!("`from` lies before `to` and before now, and at most {longest} before")));
    }
    let customer = match (customer, customer_metric) {
        (Some(name), None) => Customer::Named(name),
        (None, Some(metric)) => Customer::Told(metric),
        _ => return Err(wrong("write one of `customer` and `customer_metric`")),
    };
    let taken = api.access.take_runs(&member, Tag { asset, metric, from_us, to_us, customer }).await?;
    let taken: Vec<_> = taken.iter().map(shown).collect();
    Ok(Json(json!({ "firm": member.firm, "runs": taken })).into_response())
}
