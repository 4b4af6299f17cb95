//! `GET /errors/{code}`: the page of a problem's code, to which its `type` leads.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::routes::Endpoint;
use super::{Code, Problem, negotiate};
use crate::auth::route::Guard;

pub(super) const ROUTES: &[Endpoint] = &[Endpoint::get("/errors/{code}", Guard::Public, || get(page))];

async fn page(code: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Problem> {
    let named = |it: &Code| code.as_ref().is_ok_and(|code| code.0 == it.as_str());
    let code = Code::ALL.into_iter().find(named).ok_or_else(Problem::no_such_page)?;
    let language = negotiate::language(&headers);
    let [english, korean] = code.pages();
    let text = if language == "ko" { korean } else { english };
    let headers = [
        // As it is written: browsers show it, and Markdown they would only save.
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_LANGUAGE, language),
        (header::VARY, "Accept-Language"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    Ok((headers, text).into_response())
}
