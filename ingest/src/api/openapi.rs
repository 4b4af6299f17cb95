//! `GET /v1/openapi.json`: what there is, for programs. Each module's routes are described in
//! a file beside the others, under `openapi/`, which people have reviewed; the tests compare
//! them with the table of routes and with what is answered.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value};

use super::routes::Endpoint;
use crate::auth::route::Guard;

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/v1/openapi.json", Guard::Public, || get(document))];

/// Everything but the paths; then the paths of each module, with schemas of its own where it
/// has some.
const PARTS: [&str; 12] = [
    include_str!("openapi/base.json"),
    include_str!("openapi/series.json"),
    include_str!("openapi/readings.json"),
    include_str!("openapi/live.json"),
    include_str!("openapi/gaps.json"),
    include_str!("openapi/consents.json"),
    include_str!("openapi/runs.json"),
    include_str!("openapi/audit.json"),
    include_str!("openapi/dead_letters.json"),
    include_str!("openapi/errors.json"),
    include_str!("openapi/alerts.json"),
    include_str!("openapi/watch.json"),
];

/// Made at the first request. Constant, as its parts are.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| whole().to_string());

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The parts as one document.
pub(super) fn whole() -> Value {
    // A part that is no JSON does not pass the tests, and leaves out what it describes.
    let parts = PARTS.map(|part| serde_json::from_str::<Value>(part).unwrap_or_default());
    parts.into_iter().fold(Value::Object(Map::new()), |mut document, part| {
        join(&mut document, part);
        document
    })
}

/// Takes the keys of `part` into `document`, within those that both have.
fn join(document: &mut Value, part: Value) {
    match (document, part) {
        (Value::Object(document), Value::Object(part)) => {
            for (key, value) in part {
                join(document.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Null, Value::Null) => {}
        (document, part) => *document = part,
    }
}

#[cfg(test)]
pub(super) fn parts() -> impl Iterator<Item = serde_json::Result<Value>> {
    PARTS.into_iter().map(serde_json::from_str)
}
