//! `/v1/groups`: who is in which group, and how firms join and leave.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Json};
use sandan_proto::id::{FirmId, GroupId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::consents::{Answered, body};
use super::routes::Endpoint;
use super::{Api, Code, Problem};
use crate::auth::Principal;
use crate::auth::route::Guard;
use crate::consent::{Group, Membership};

/// Longest body: the id of a firm.
const MAX_BODY_BYTES: usize = 4 << 10;

pub(super) const ROUTES: &[Endpoint] = &[
    Endpoint::get("/v1/groups", Guard::Person, || get(list)),
    Endpoint::post("/v1/groups/{group}/join", Guard::Person, || {
        post(join).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
    }),
    Endpoint::post("/v1/groups/{group}/leave", Guard::Person, || {
        post(leave).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
    }),
];

fn shown(id: &GroupId, group: &Group) -> Value {
    let (roster, firms) = group.newest().map_or((0, Vec::new()), |(version, firms)| (version, firms.iter().collect()));
    json!({ "id": id, "kind": group.kind, "coordinator": group.coordinator, "roster": roster, "firms": firms })
}

async fn list(State(api): State<Arc<Api>>) -> Answered {
    let groups = api.access.groups().await?;
    let groups: Vec<_> = groups.iter().map(|(id, group)| shown(id, group)).collect();
    Ok(Json(json!({ "groups": groups })).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    firm: FirmId,
}

type In = Result<Path<String>, PathRejection>;
type Body = Result<Json<Changed>, JsonRejection>;

async fn join(api: State<Arc<Api>>, by: Extension<Principal>, path: In, changed: Body) -> Answered {
    change(&api, &by, path, Membership::Join(body(changed)?.firm)).await
}

async fn leave(api: State<Arc<Api>>, by: Extension<Principal>, path: In, changed: Body) -> Answered {
    change(&api, &by, path, Membership::Leave(body(changed)?.firm)).await
}

async fn change(api: &Api, by: &Principal, path: In, change: Membership) -> Answered {
    let Ok(Path(id)) = path else { return Err(Problem::no_such_page()) };
    let id = GroupId::new(&id).map_err(|_| Problem::new(Code::NoSuchGroup, "there is no group of this name"))?;
    let group = api.access.change_roster(&by.acts(), &id, &change).await?;
    Ok(Json(shown(&id, &group)).into_response())
}
