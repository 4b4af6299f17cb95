//! `/v1/dead-letters`: what was put aside of the own firm, and what is to become of it.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use sandan_proto::id::{FirmId, GatewayId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::Endpoint;
use super::{Api, Problem, query};
use crate::access::{AccessError, Choice, DeadContent, DeadRecord, Deed, MAX_DEAD_RECORDS, parse_reason, reason_word};
use crate::auth::Member;
use crate::auth::route::{DECIDERS, READERS};
use crate::time::rfc3339;

pub(super) const ROUTES: &[Endpoint] = &[
    Endpoint::get("/v1/dead-letters", READERS, || get(list)),
    Endpoint::get("/v1/dead-letters/export", DECIDERS, || get(export)),
    Endpoint::post("/v1/dead-letters/retry", DECIDERS, || post(retry)),
    Endpoint::post("/v1/dead-letters/discard", DECIDERS, || post(discard)),
];

/// Most numbers that one request may name: they stand in its query.
const MAX_IDS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    firm: Option<FirmId>,
    /// Numbers with commas between.
    id: Option<String>,
    gateway: Option<GatewayId>,
    reason: Option<String>,
    all: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

impl Chosen {
    fn choice(&self) -> Result<Choice, Problem> {
        let number = |text: &str| {
            let number = text.parse::<i64>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| Problem::query("`id` is a number of a dead letter, or several with commas between"))
        };
        let ids = self.id.iter().flat_map(|ids| ids.split(',')).map(number).collect::<Result<Vec<_>, _>>()?;
        if ids.len() > MAX_IDS {
            return Err(Problem::query(&format!("more than {MAX_IDS} numbers at once")));
        }
        let reason = match &self.reason {
            None => None,
            Some(word) => Some(parse_reason(word).ok_or_else(|| Problem::query("there is no such `reason`"))?),
        };
        Ok(Choice { ids, gateway: self.gateway.clone(), reason })
    }

    /// Of what is changed it has to be said which.
    fn named(&self) -> Result<Choice, Problem> {
        let choice = self.choice()?;
        let all = query::flag("all", self.all.as_deref())?;
        if choice == Choice::default() && !all {
            return Err(Problem::query("say which: `id`, `gateway`, `reason`, or `all=true`"));
        }
        Ok(choice)
    }

    fn after(&self) -> Result<i64, Problem> {
        let after = query::number("after", self.after.as_deref())?.unwrap_or(0);
        Ok(i64::try_from(after).unwrap_or(i64::MAX))
    }

    fn firm<'a>(&'a self, member: &'a Member) -> &'a FirmId {
        self.firm.as_ref().unwrap_or(&member.firm)
    }
}

async fn list(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let query = query?.0;
    let limit = query::page_limit(query.limit.as_deref(), MAX_DEAD_RECORDS)?;
    let (firm, choice) = (query.firm(&member), query.choice()?);
    let records = api.access.dead_letters(&member, firm, &choice, query.after()?, limit).await?;
    let next = records.last().filter(|_| records.len() == limit).map(|record| record.id);
    let shown: Vec<_> = records.iter().map(shown).collect();
    Ok(Json(json!({ "firm": firm, "dead_letters": shown, "next": next })))
}

/// One record, without a value.
fn shown(record: &DeadRecord) -> Value {
    let letters: Vec<_> = record
        .letters
        .iter()
        .map(|(letter, named)| {
            json!({
                "reason": reason_word(letter.reason),
                "detail": letter.detail,
                "readings": letter.readings,
                "columns": letter.count,
                "asset": named.as_ref().map(|it| &it.0),
                "metric": named.as_ref().map(|it| &it.1),
            })
        })
        .collect();
    json!({
        "id": record.id,
        "gateway": record.gateway,
        "lane": record.lane.to_string(),
        "sequence": record.sequence,
        "received": rfc3339(record.received_us),
        "bytes": record.bytes,
        "letters": letters,
    })
}

async fn export(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = query?.0;
    let export = api.access.export_dead(&member, query.firm(&member), query.choice()?).await?;
    // An error ends the body without its last chunk, which every client reports.
    let body = futures::stream::try_unfold((export, None::<Piece>), async |(mut export, rest)| {
        let piece = match rest {
            Some(piece) => piece,
            None => match export.next().await? {
                Some(content) => Piece { content, from: 0 },
                None => return Ok::<_, AccessError>(None),
            },
        };
        let (text, rest) = piece.lines();
        export.check().await?;
        Ok(Some((Bytes::from(text), (export, rest))))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response())
}

/// Readings that are put into words at once: a record has up to 200,000.
const READINGS_AT_ONCE: usize = 4_096;

/// A record of which the readings from one on are still to be given.
struct Piece {
    content: DeadContent,
    from: usize,
}

impl Piece {
    /// One line a reading, or one for a record that cannot be decoded, with its bytes; and
    /// what is left.
    fn lines(self) -> (String, Option<Self>) {
        let record = &self.content.record;
        let mut reasons: Vec<_> = record.letters.iter().map(|(letter, _)| reason_word(letter.reason)).collect();
        reasons.dedup();
        let received = rfc3339(record.received_us);
        let Some(readings) = &self.content.readings else {
            let mut bytes = String::with_capacity(2 * self.content.original.len());
            for byte in &self.content.original {
                // Writing into a text cannot fail.
                let _ = write!(bytes, "{byte:02x}");
            }
            let line = json!({
                "id": record.id, "gateway": record.gateway, "received": received, "reasons": reasons, "original": bytes,
            });
            return (format!("{line}\n"), None);
        };
        let mut text = String::new();
        let to = readings.len().min(self.from + READINGS_AT_ONCE);
        for reading in &readings[self.from..to] {
            let line = json!({
                "id": record.id,
                "gateway": record.gateway,
                "received": received,
                "reasons": reasons,
                "time": reading.time_us.map(rfc3339),
                "monotonic_us": reading.monotonic_us,
                "asset": reading.series.as_ref().map(|it| &it.0),
                "metric": reading.series.as_ref().map(|it| &it.1),
                "series": reading.index,
                "value": reading.value,
                "quality": reading.quality.to_string(),
            });
            let _ = writeln!(text, "{line}");
        }
        let rest = (to < readings.len()).then_some(Self { from: to, ..self });
        (text, rest)
    }
}

async fn retry(
    api: State<Arc<Api>>,
    member: Extension<Member>,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    handle(api, member, query, Deed::Retry).await
}

async fn discard(
    api: State<Arc<Api>>,
    member: Extension<Member>,
    query: Result<Query<Chosen>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    handle(api, member, query, Deed::Discard).await
}

async fn handle(
    State(api): State<Arc<Api>>,
    Extension(member): Extension<Member>,
    query: Result<Query<Chosen>, QueryRejection>,
    deed: Deed,
) -> Result<Json<Value>, Problem> {
    let query = query?.0;
    if query.limit.is_some() {
        return Err(Problem::query(&format!("one request takes {MAX_DEAD_RECORDS}; go on with `after`")));
    }
    let (firm, choice) = (query.firm(&member), query.named()?);
    let done = api.access.handle_dead(&member, firm, &choice, query.after()?, deed).await?;
    let mut answer = json!({ "firm": firm, "records": done.records, "next": done.next });
    match deed {
        Deed::Retry => {
            answer["stored_readings"] = done.stored.into();
            answer["kept_records"] = done.kept.into();
        }
        Deed::Discard => answer["discarded_readings"] = done.discarded.into(),
    }
    Ok(Json(answer))
}
