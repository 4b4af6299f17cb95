//! `GET /v1/series`: what a member may know to exist.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Extension, Json};
use sandan_proto::reading::ValueType;
use serde_json::{Value, json};

use super::routes::Endpoint;
use super::{Api, Problem, query};
use crate::access::{SeriesInfo, Shared};
use crate::auth::Member;
use crate::auth::route::Guard;
use crate::consent::SharedForm;
use crate::time::{rfc3339, show_duration};

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/v1/series", Guard::Member, || get(list))];

async fn list(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<query::Series>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let series = api.access.series(&member, query?.0.firm.as_ref()).await?;
    let series: Vec<_> = series
        .iter()
        .map(|it| {
            let mut shown = shown(&it.info);
            shown["newest"] = it.info.newest_us.map(rfc3339).into();
            shown["own"] = it.own.into();
            shown["consents"] = it.consents.iter().map(consent).collect();
            shown
        })
        .collect();
    Ok(Json(json!({ "series": series })))
}

/// What a series is.
pub(super) fn shown(info: &SeriesInfo) -> Value {
    let kind = match info.value_type {
        ValueType::F64 | ValueType::Unspecified => "f64",
        ValueType::I64 => "i64",
        ValueType::Bool => "bool",
        ValueType::Text => "text",
    };
    json!({
        "firm": info.key.firm,
        "asset": info.key.asset,
        "metric": info.key.metric,
        "path": info.path,
        "name": { "ko": info.name_ko, "en": info.name_en },
        "unit": info.unit,
        "other_units": info.other_units,
        "type": kind,
        "time_zone": info.time_zone,
        "expected_interval_ms": info.expected_interval_ms,
    })
}

fn consent(shared: &Shared) -> Value {
    let terms = &shared.terms;
    let mut shown = json!({
        "id": shared.id,
        "from": terms.event.from_us.map(rfc3339),
        "to": terms.event.to_us.map(rfc3339),
        "until": rfc3339(terms.access.until_us),
    });
    match &terms.form {
        SharedForm::Raw => shown["form"] = "raw".into(),
        SharedForm::Benchmark => shown["form"] = "benchmark".into(),
        SharedForm::Bucketed { floor_us, functions } => {
            shown["form"] = "bucketed".into();
            shown["floor"] = show_duration(*floor_us).into();
            shown["functions"] = json!(functions);
        }
    }
    shown
}
