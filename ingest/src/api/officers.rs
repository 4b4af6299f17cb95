//! `/v1/officers`: who decides for a firm on what is shared, and how officers come and go.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use sandan_proto::id::FirmId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::consents::{Answered, body};
use super::routes::Endpoint;
use super::{Api, Problem};
use crate::access::{ConsentError, OfficerDone, OfficerTask};
use crate::auth::Principal;
use crate::auth::route::Guard;
use crate::consent::Standing;
use crate::id::PersonId;
use crate::time::rfc3339;

/// Longest body: a name of 100 characters and a link.
const MAX_BODY_BYTES: usize = 4 << 10;

pub(super) const ROUTES: &[Endpoint] = &[
    Endpoint::get("/v1/officers", Guard::Person, || get(list)),
    Endpoint::post("/v1/officers", Guard::Person, || post(mint).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))),
    Endpoint::post("/v1/officers/first", Guard::Public, || post(first).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))),
    Endpoint::post("/v1/officers/{person}/{deed}", Guard::Person, || post(deal)),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfFirm {
    /// The alliance says of which; officers are of their own.
    firm: Option<FirmId>,
}

type Asked = Result<Query<OfFirm>, QueryRejection>;

fn standing(standing: Option<Standing>) -> Value {
    match standing {
        None => Value::Null,
        Some(Standing::Confirmed) => json!({ "state": "confirmed" }),
        Some(Standing::Waiting { since_us }) => json!({ "state": "waiting", "since": rfc3339(since_us) }),
    }
}

fn done(done: OfficerDone) -> Value {
    let token = done.token.map(crate::auth::Secret::reveal);
    json!({ "person": done.person, "standing": standing(done.standing), "token": token })
}

async fn list(State(api): State<Arc<Api>>, Extension(person): Extension<Principal>, query: Asked) -> Answered {
    let all = api.access.officers(&person.acts(), query?.0.firm.as_ref()).await?;
    let line = |it: &crate::access::Officer| json!({ "person": it.person, "name": it.name, "standing": standing(Some(it.standing)) });
    Ok(Json(json!({ "officers": all.iter().map(line).collect::<Vec<_>>() })).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Minted {
    name: String,
}

async fn mint(
    State(api): State<Arc<Api>>,
    Extension(person): Extension<Principal>,
    query: Asked,
    minted: Result<Json<Minted>, JsonRejection>,
) -> Answered {
    let Minted { name } = body(minted)?;
    let firm = query?.0.firm;
    let it = api.access.deal_with_officer(&person.acts(), firm.as_ref(), OfficerTask::Mint(name)).await?;
    Ok(created(done(it)))
}

fn created(json: Value) -> Response {
    // It holds a token, which nobody on the way is to keep.
    (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(json)).into_response()
}

async fn deal(
    State(api): State<Arc<Api>>,
    Extension(by): Extension<Principal>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Asked,
) -> Answered {
    let Ok(Path((person, deed))) = path else { return Err(Problem::no_such_page()) };
    let person: PersonId = person.parse().map_err(|_| Problem::from(ConsentError::NoSuchOfficer))?;
    let task = match deed.as_str() {
        "reset" => OfficerTask::Reset(person),
        "confirm" => OfficerTask::Confirm(person),
        "remove" => OfficerTask::Remove(person),
        _ => return Err(Problem::no_such_page()),
    };
    let it = api.access.deal_with_officer(&by.acts(), query?.0.firm.as_ref(), task).await?;
    Ok(Json(done(it)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    /// The link's text: a secret.
    link: String,
    name: String,
}

async fn first(State(api): State<Arc<Api>>, first: Result<Json<First>, JsonRejection>) -> Answered {
    let First { link, name } = body(first)?;
    let (firm, it) = api.access.first_officer(&link, name).await?;
    let mut json = done(it);
    json["firm"] = json!(firm);
    Ok(created(json))
}
