//! `GET /v1/readings`: JSON, NDJSON and CSV, by pages or as a stream of the whole range.

mod ndjson;
mod stream;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value as JsonValue, json};

use super::gaps::cause;
use super::query::{self, Extent, Format, Pull, show_cursor};
use super::routes::Endpoint;
use super::{Api, Code, Problem, audit, series};
use crate::access::{AccessError, Bucket, GapMark, Reader, Rows, StoredReading};
use crate::auth::Member;
use crate::auth::route::READERS;
use crate::consent::{Form, Function, Manner, Request};
use crate::time::{SECOND_US, rfc3339};

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/v1/readings", READERS, || get(pull))];

/// Where the next page begins; missing on the last one.
const CURSOR: HeaderName = HeaderName::from_static("sandan-cursor");

async fn pull(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    version: Version,
    headers: HeaderMap,
    query: Result<Query<query::Readings>, QueryRejection>,
) -> Result<Response, Problem> {
    let pull = query?.0.check(&headers, api.access.now_us())?;
    let streams = pull.extent == Extent::Whole;
    if streams && matches!(pull.format, Format::Csv(_)) && version < Version::HTTP_11 {
        // Without chunks an answer that a revocation ends looks like a whole one.
        let detail = "a CSV stream needs HTTP/1.1; behind nginx set `proxy_http_version 1.1`";
        return Err(Problem::new(Code::NeedsHttp11, detail));
    }
    let request = Request {
        asker: member.firm.clone(),
        series: pull.series.clone(),
        form: pull.form.clone(),
        functions: pull.functions.clone(),
        from_us: pull.from_us,
        to_us: pull.to_us,
        manner: Manner { purpose: pull.purpose, ..Manner::default() },
    };
    let reader = api.access.read(&member, request, pull.cursor.clone()).await?;
    match pull.extent {
        Extent::Page(limit) => page(reader, &pull, limit).await,
        Extent::Whole => stream::start(reader, pull).await,
    }
}

/// One statistic of a bucket; NaN where there is none. `Count` is exact to 2^53, which no
/// bucket reaches. Of `Durations` it is all of them together, seconds.
pub(super) fn statistic(bucket: &Bucket, function: Function) -> f64 {
    match function {
        Function::Mean => bucket.mean(),
        Function::Min => bucket.min,
        Function::Max => bucket.max,
        Function::Sum => bucket.sum,
        Function::Count => bucket.count as f64,
        Function::First => bucket.first,
        Function::Last => bucket.last,
        Function::TimeMean => bucket.time_mean(),
        Function::Increase => bucket.increase,
        Function::Durations => bucket.durations.iter().map(|(_, us)| seconds(*us)).sum(),
    }
}

/// µs as seconds.
pub(super) fn seconds(us: i64) -> f64 {
    us as f64 / SECOND_US as f64
}

/// Up to `limit` rows, put together before the first byte leaves, so that it is told in the
/// head where the next page begins.
async fn page(mut reader: Reader, pull: &Pull, limit: usize) -> Result<Response, Problem> {
    let mut pieces = Vec::new();
    let mut count = 0;
    while count < limit {
        let next = match reader.next(limit - count).await {
            // What is left of today's rows is a page too.
            Err(AccessError::QuotaExceeded { .. }) if count > 0 => break,
            next => next?,
        };
        match next {
            None => break,
            Some(rows) => {
                count += length(&rows);
                pieces.push(rows);
            }
        }
    }
    let next = reader.cursor().as_ref().map(show_cursor);
    let body = match pull.format {
        Format::Json => json_page(&reader, pull, &pieces, next.as_deref()),
        Format::Ndjson | Format::Csv(_) => stream::page(&reader, pull, &pieces, next.as_deref()),
    };
    reader.count_bytes(body.len());
    // The page was put together over some time: what was revoked meanwhile must not leave.
    reader.check().await?;
    reader.page_full();
    Ok((head(&reader, pull, next.as_deref()), body).into_response())
}

/// Content type, receipt and cursor.
fn head(reader: &Reader, pull: &Pull, next: Option<&str>) -> HeaderMap {
    let mut headers = audit::receipt(reader.receipt());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(pull.format.content_type()));
    // Digits and points.
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(next).ok()) {
        headers.insert(CURSOR, next);
    }
    headers
}

fn length(rows: &Rows) -> usize {
    match rows {
        Rows::Raw(rows) => rows.len(),
        Rows::Buckets(rows) => rows.len(),
    }
}

fn json_page(reader: &Reader, pull: &Pull, pieces: &[Rows], next: Option<&str>) -> String {
    let rows: Vec<_> = pieces.iter().flat_map(|rows| shown(rows, &pull.functions)).collect();
    let mut body = about(reader, &pull.form);
    let name = match pull.form {
        Form::Raw => "readings",
        Form::Bucketed { .. } => "buckets",
    };
    body[name] = rows.into();
    body["gaps"] = gaps(reader);
    body["completeness"] = completeness(reader);
    body["consents"] = json!(reader.consents());
    body["next"] = next.into();
    body.to_string()
}

/// What is served, before its rows.
fn about(reader: &Reader, form: &Form) -> JsonValue {
    let ranges = reader.ranges().iter().map(|(from, to)| json!({ "from": rfc3339(*from), "to": rfc3339(*to) }));
    let form = match form {
        Form::Raw => "raw",
        Form::Bucketed { .. } => "bucketed",
    };
    json!({ "series": series::shown(reader.series()), "form": form, "served": ranges.collect::<Vec<_>>() })
}

fn shown(rows: &Rows, functions: &BTreeSet<Function>) -> Vec<JsonValue> {
    match rows {
        Rows::Raw(rows) => rows.iter().map(reading).collect(),
        Rows::Buckets(rows) => rows.iter().map(|row| bucket(row, functions)).collect(),
    }
}

pub(super) fn reading(row: &StoredReading) -> JsonValue {
    json!({ "time": rfc3339(row.time_us), "value": row.value, "quality": row.quality.to_string() })
}

fn gaps(reader: &Reader) -> JsonValue {
    reader.gaps().iter().map(gap).collect()
}

/// What came of what was to be expected, in the times of this page.
fn completeness(reader: &Reader) -> JsonValue {
    let of = reader.completeness();
    // More than expected is all of it.
    let share = |came: Option<u64>, expected: Option<u64>| {
        let (came, expected) = (came?, expected.filter(|expected| *expected > 0)?);
        Some((came as f64 / expected as f64).min(1.0))
    };
    json!({
        "readings": of.readings,
        "expected_readings": of.expected_readings,
        "buckets": of.buckets,
        "expected_buckets": of.expected_buckets,
        "share": share(of.readings, of.expected_readings).or_else(|| share(of.buckets, of.expected_buckets)),
    })
}

fn gap(mark: &GapMark) -> JsonValue {
    json!({
        "from": rfc3339(mark.from_us),
        "to": rfc3339(mark.to_us),
        "cause": cause(mark.cause),
        "clock": if mark.uncertain { "estimated" } else { "known" },
    })
}

pub(super) fn bucket(row: &Bucket, functions: &BTreeSet<Function>) -> JsonValue {
    let mut shown = Map::new();
    shown.insert("start".to_owned(), rfc3339(row.start_us).into());
    for function in functions {
        let value = match function {
            Function::Count => row.count.into(),
            Function::Durations => row
                .durations
                .iter()
                .map(|(state, us)| (state.clone(), seconds(*us).into()))
                .collect::<Map<_, _>>()
                .into(),
            other => statistic(row, *other).into(),
        };
        shown.insert(function.as_str().to_owned(), value);
    }
    shown.into()
}
