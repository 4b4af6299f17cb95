//! `GET /v1/readings/live`: what is new of a series, as server-sent events.
//!
//! Each event, and each sign of life, has for its id the place behind it: a client that goes on with
//! `Last-Event-ID` gets each reading once. The last event of a stream says why it ended.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::query::{self, show_place};
use super::readings::{bucket, reading};
use super::routes::Endpoint;
use super::{Api, Problem, audit, negotiate, series};
use crate::access::{AccessError, Follower, News, Place, Rows};
use crate::auth::Member;
use crate::auth::route::READERS;
use crate::consent::{Form, Function};

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/v1/readings/live", READERS, || get(follow))];

const KIND: &str = "text/event-stream";
/// How long a client waits before it connects again, ms.
const RETRY_MS: u32 = 2_000;
/// Where a stream that broke off is gone on with.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx hands on each event as it comes.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

async fn follow(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    headers: HeaderMap,
    query: Result<Query<query::Live>, QueryRejection>,
) -> Result<Response, Problem> {
    negotiate::media(&headers, &[KIND]).ok_or_else(|| Problem::not_acceptable(&[KIND]))?;
    let place = match headers.get(LAST_EVENT_ID).map(HeaderValue::to_str) {
        None | Some(Ok("")) => None,
        Some(Ok(place)) => Some(place),
        Some(Err(_)) => return Err(AccessError::Cursor.into()),
    };
    let follow = query?.0.check(member.firm.clone(), place, api.access.now_us())?;
    let (form, functions) = (follow.request.form.clone(), follow.request.functions.clone());
    let follower = api.access.follow(&member, follow).await?;
    let mut head = audit::receipt(follower.receipt());
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static(KIND));
    head.extend([UNBUFFERED]);
    let begun = Some(first(&follower, &form));
    let stream = Stream { follower: Some(follower), functions, begun };
    let events = futures::stream::unfold(stream, async |mut at| {
        let text = at.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), at))
    });
    Ok((head, Body::from_stream(events)).into_response())
}

/// One event.
fn event(kind: &str, place: &Place, data: &Value) -> String {
    // JSON has no line breaks of its own.
    format!("event: {kind}\nid: {}\ndata: {data}\n\n", show_place(place))
}

fn first(follower: &Follower, form: &Form) -> String {
    let form = match form {
        Form::Raw => "raw",
        Form::Bucketed { .. } => "bucketed",
    };
    let about = json!({ "series": series::shown(follower.series()), "form": form, "consents": follower.consents() });
    format!("retry: {RETRY_MS}\n{}", event("series", follower.place(), &about))
}

/// Where a stream is.
struct Stream {
    /// None once its last event was made.
    follower: Option<Follower>,
    functions: std::collections::BTreeSet<Function>,
    begun: Option<String>,
}

impl Stream {
    /// The next text; none at the end.
    async fn next(&mut self) -> Option<String> {
        let follower = self.follower.as_mut()?;
        if let Some(begun) = self.begun.take() {
            return Some(begun);
        }
        let text = match follower.next().await {
            Ok(News::Rows(rows)) => {
                let (kind, rows): (_, Vec<Value>) = match &rows {
                    Rows::Raw(rows) => ("readings", rows.iter().map(reading).collect()),
                    Rows::Buckets(rows) => ("buckets", rows.iter().map(|row| bucket(row, &self.functions)).collect()),
                };
                event(kind, follower.place(), &json!({ kind: rows }))
            }
            // An id without data is kept and tells nothing.
            Ok(News::Quiet) => format!(": nothing new\nid: {}\n\n", show_place(follower.place())),
            Err(error) => {
                let last = event("end", follower.place(), &Problem::from(error).told());
                self.follower = None;
                return Some(last);
            }
        };
        follower.count_bytes(text.len());
        Some(text)
    }
}
