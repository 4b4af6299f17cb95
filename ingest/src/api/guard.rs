//! Who is let through to a route.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{Api, Problem};

/// Lets members through, and says who they are.
pub(super) async fn member(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let bearer = bearer(request.headers()).ok_or_else(Problem::unauthenticated)?;
    let member = api.auth.member(bearer).await?.ok_or_else(Problem::unauthenticated)?;
    let _slot = api.slots.take(&member.firm).ok_or_else(Problem::busy)?;
    request.extensions_mut().insert(member);
    let mut response = next.run(request).await;
    // What one member may see must not be kept by a proxy for another.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
