//! Who is let through to a route, and what every answer to a member says beside itself.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sandan_proto::id::FirmId;

use super::{Api, Problem, etag};
use crate::auth::Member;
use crate::consent::Role;

/// Lets those through who act for a firm in one of these capacities, and says who they are.
pub(super) async fn of_firm(
    State((api, roles)): State<(Arc<Api>, &'static [Role])>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let bearer = bearer(request.headers()).ok_or_else(Problem::unauthenticated)?;
    let found = api.auth.member(bearer, api.access.now_us()).await?;
    let member = found.filter(|it| roles.contains(&it.role)).ok_or_else(Problem::unauthenticated)?;
    let standing = api.limiter.take(&member, Instant::now());
    let mut response = if standing.granted {
        answered(&api, member, request, next).await
    } else {
        Problem::rate_limited(standing.retry_after_s()).into_response()
    };
    standing.tell(response.headers_mut());
    Ok(response)
}

async fn answered(api: &Arc<Api>, member: Member, mut request: Request, next: Next) -> Response {
    let Some(_slot) = api.slots.take(&member.firm) else { return Problem::busy().into_response() };
    let asked: Option<HeaderMap> = (request.method() == Method::GET).then(|| {
        let tags = request.headers().get_all(header::IF_NONE_MATCH);
        tags.into_iter().map(|tag| (header::IF_NONE_MATCH, tag.clone())).collect()
    });
    request.extensions_mut().insert(member);
    let mut response = next.run(request).await;
    if let Some(asked) = asked {
        response = etag::tagged(&asked, response).await;
    }
    // What one member may see must not be kept by a proxy for another.
    let kept = if response.headers().contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept, Authorization"));
    response
}

/// Lets whoever has a token of a firm, of the alliance or of the complex through, and says who they
/// are. What they may do, their role decides.
pub(super) async fn person(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let bearer = bearer(request.headers()).ok_or_else(Problem::unauthenticated)?;
    let now_us = api.access.now_us();
    let person = api.auth.person(bearer, now_us).await?;
    // Operators see links, and have the console for it.
    let person = person.filter(|it| it.role() != Role::Operator).ok_or_else(Problem::unauthenticated)?;
    let acts = person.acts();
    let id = acts.person.to_string();
    let firm = acts.firm.as_ref().map_or(id.as_str(), FirmId::as_str);
    let standing = api.limiter.take_for(&id, firm, Instant::now());
    let mut response = if standing.granted {
        let _slot = match &acts.firm {
            Some(firm) => Some(api.slots.take(firm).ok_or_else(Problem::busy)?),
            // Few people act for the alliance, and their tokens have a rate of their own.
            None => None,
        };
        request.extensions_mut().insert(person);
        next.run(request).await
    } else {
        Problem::rate_limited(standing.retry_after_s()).into_response()
    };
    standing.tell(response.headers_mut());
    // What one may see must not be kept by a proxy for another.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
