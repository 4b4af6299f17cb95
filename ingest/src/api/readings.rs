//! `GET /v1/readings`: JSON by pages, CSV as a stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value as JsonValue, json};

use super::gaps::cause;
use super::query::{self, Format, show_cursor};
use super::routes::Endpoint;
use super::{Api, Code, Problem, audit, csv, series};
use crate::access::{AccessError, Bucket, GapMark, Reader, Rows, StoredReading};
use crate::auth::Member;
use crate::auth::route::Guard;
use crate::consent::{Form, Function, Manner, Request};
use crate::time::{SECOND_US, rfc3339};

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/v1/readings", Guard::Member, || get(pull))];

async fn pull(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    version: Version,
    headers: HeaderMap,
    query: Result<Query<query::Readings>, QueryRejection>,
) -> Result<Response, Problem> {
    let pull = query?.0.check(&headers, api.access.now_us())?;
    if pull.format == Format::Csv && version < Version::HTTP_11 {
        // Without chunks an answer that a revocation ends looks like a whole one.
        let detail = "a CSV stream needs HTTP/1.1; behind nginx set `proxy_http_version 1.1`";
        return Err(Problem::new(Code::NeedsHttp11, detail));
    }
    let request = Request {
        asker: member.firm.clone(),
        series: pull.series,
        form: pull.form.clone(),
        functions: pull.functions.clone(),
        from_us: pull.from_us,
        to_us: pull.to_us,
        manner: Manner::default(),
    };
    let reader = api.access.read(&member, request, pull.cursor).await?;
    match pull.format {
        Format::Json => page(reader, &pull.form, &pull.functions, pull.limit).await,
        Format::Csv => stream(reader, &pull.form, pull.functions).await,
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

async fn page(
    mut reader: Reader,
    form: &Form,
    functions: &BTreeSet<Function>,
    limit: usize,
) -> Result<Response, Problem> {
    let mut shown = Vec::new();
    while shown.len() < limit {
        match reader.next(limit - shown.len()).await? {
            None => break,
            Some(Rows::Raw(rows)) => shown.extend(rows.iter().map(reading)),
            Some(Rows::Buckets(rows)) => shown.extend(rows.iter().map(|row| bucket(row, functions))),
        }
    }
    let ranges = reader.ranges().iter().map(|(from, to)| json!({ "from": rfc3339(*from), "to": rfc3339(*to) }));
    let (name, rows) = match form {
        Form::Raw => ("raw", "readings"),
        Form::Bucketed { .. } => ("bucketed", "buckets"),
    };
    let body = json!({
        "series": series::shown(reader.series()),
        "form": name,
        "served": ranges.collect::<Vec<_>>(),
        rows: shown,
        "gaps": reader.gaps().iter().map(gap).collect::<Vec<_>>(),
        "consents": reader.consents(),
        "next": reader.cursor().as_ref().map(show_cursor),
    });
    let body = body.to_string();
    reader.count_bytes(body.len());
    // The page was put together over some time: what was revoked meanwhile must not leave.
    reader.check().await?;
    reader.page_full();
    let receipt = audit::receipt(reader.receipt());
    Ok((receipt, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn reading(row: &StoredReading) -> JsonValue {
    json!({ "time": rfc3339(row.time_us), "value": row.value, "quality": row.quality.to_string() })
}

fn gap(mark: &GapMark) -> JsonValue {
    json!({
        "from": rfc3339(mark.from_us),
        "to": rfc3339(mark.to_us),
        "cause": cause(mark.cause),
        "clock": if mark.uncertain { "estimated" } else { "known" },
    })
}

fn bucket(row: &Bucket, functions: &BTreeSet<Function>) -> JsonValue {
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

/// Where a CSV stream is.
struct Stream {
    reader: Reader,
    functions: BTreeSet<Function>,
    /// Made before the answer began, so that a refusal still has its status.
    first: Option<String>,
}

async fn stream(mut reader: Reader, form: &Form, functions: BTreeSet<Function>) -> Result<Response, Problem> {
    let mut first = csv::header(form, &functions);
    if let Some(rows) = reader.next(usize::MAX).await? {
        first.push_str(&csv::body(reader.series(), &functions, &rows));
    }
    let receipt = audit::receipt(reader.receipt());
    let start = Stream { reader, functions, first: Some(first) };
    // An error ends the body without its last chunk, which every client reports.
    let body = futures::stream::try_unfold(start, async |mut at| {
        let piece = match at.first.take() {
            Some(first) => {
                at.reader.check().await?;
                Some(first)
            }
            None => at.reader.next(usize::MAX).await?.map(|rows| csv::body(at.reader.series(), &at.functions, &rows)),
        };
        let Some(piece) = piece else { return Ok::<_, AccessError>(None) };
        at.reader.count_bytes(piece.len());
        Ok(Some((Bytes::from(piece), at)))
    });
    Ok((receipt, [(header::CONTENT_TYPE, "text/csv; charset=utf-8")], Body::from_stream(body)).into_response())
}
