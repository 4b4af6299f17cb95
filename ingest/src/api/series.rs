//! `GET /v1/series`: what a member may read, by pages.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Extension, Json};
use sandan_proto::reading::ValueType;
use serde_json::{Value, json};

use super::routes::Endpoint;
use super::{Api, Problem, query};
use crate::access::{MAX_SERIES_PAGE, SeriesInfo, Visible};
use crate::auth::Member;
use crate::auth::route::READERS;
use crate::consent::{Offer, Offered};
use crate::time::{rfc3339, show_duration};

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/v1/series", READERS, || get(list))];

async fn list(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<query::Series>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let query = query?.0;
    let after = query.after.as_deref().map(query::series_after).transpose()?;
    let limit = query::page_limit(query.limit.as_deref(), MAX_SERIES_PAGE)?;
    let page = api.access.series(&member, query.firm.as_ref(), after.as_ref(), limit).await?;
    let series: Vec<_> = page.series.iter().map(listed).collect();
    Ok(Json(json!({ "series": series, "next": page.next.map(|key| key.to_string()) })))
}

fn listed(it: &Visible) -> Value {
    let mut shown = shown(&it.info);
    shown["newest"] = it.info.newest_us.map(rfc3339).into();
    shown["own"] = it.own.into();
    shown["metric_name"] = it.metric.map_or(Value::Null, |(word, _)| json!({ "ko": word.name.ko, "en": word.name.en }));
    shown["class"] = json!(it.metric.map(|(_, class)| class));
    shown["consents"] = it.offers.iter().map(offer).collect();
    shown
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

/// What may be read under one consent, and how.
fn offer(offer: &Offer) -> Value {
    let run = |(from, to): &(i64, i64)| json!({ "from": rfc3339(*from), "to": rfc3339(*to) });
    let mut shown = json!({
        "id": offer.consent,
        "identity": offer.identity,
        "from": offer.event.from_us.map(rfc3339),
        "to": offer.event.to_us.map(rfc3339),
        "runs": offer.runs.as_ref().map(|runs| runs.iter().map(run).collect::<Vec<_>>()),
        "minimum_age": (offer.minimum_age_us > 0).then(|| show_duration(offer.minimum_age_us)),
        "stored_by": offer.stored_by.map(|mark| rfc3339(mark.at_us)),
        "until": rfc3339(offer.until_us),
        "purposes": offer.purposes,
        "onward_use": offer.onward_use,
        "rows_per_day": offer.quota.map(|(rows, _)| rows),
        "rows_left_today": offer.quota.map(|(_, left)| left),
    });
    match &offer.form {
        Offered::Raw => shown["form"] = "raw".into(),
        Offered::Bucketed { floor_us, functions } => {
            shown["form"] = "bucketed".into();
            shown["floor"] = show_duration(*floor_us).into();
            shown["functions"] = json!(functions);
        }
    }
    shown
}
