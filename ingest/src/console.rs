//! The operators' page: each gateway and its links, what is worst first. Server-rendered,
//! Korean and English, for a phone as for a desk, without JavaScript.
//!
//! It promises that no reading's value is on it, that every text from outside is escaped,
//! and that a state is never told by colour alone. It reads through `access` only.

mod page;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use maud::Markup;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::words::Lang;
use crate::access::{Access, Kind};
use crate::auth::route::{Guard, Route};
use crate::auth::{Auth, Secret, Sessions};
use crate::id::OperatorId;

/// Every route of this module. The router is built from this table alone.
pub const ROUTES: [Route; 6] = [
    Route { path: "/", method: "GET", guard: Guard::Operator },
    Route { path: "/sign-in", method: "GET", guard: Guard::Public },
    Route { path: "/sign-in", method: "POST", guard: Guard::Public },
    Route { path: "/sign-in/link", method: "POST", guard: Guard::Public },
    Route { path: "/sign-out", method: "POST", guard: Guard::Operator },
    Route { path: "/console.css", method: "GET", guard: Guard::Public },
];

/// The session's cookie.
const COOKIE: &str = "sandan_session";
/// Largest form: a token and its name.
const MAX_FORM_BYTES: usize = 1_024;
/// How long a form may be on its way.
const FORM_DEADLINE: Duration = Duration::from_secs(5);
/// Nothing but our own style sheet and forms, and no frame around us.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the handlers share.
pub struct Console {
    /// The door.
    pub access: Arc<Access>,
    /// Who signs in.
    pub auth: Auth,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// The name of the installation.
    pub complex: String,
    /// Whether browsers come by TLS, so that the cookie may say so.
    pub secure: bool,
}

#[derive(Debug, Deserialize)]
struct Asked {
    lang: Option<String>,
    link: Option<String>,
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
}

#[derive(Deserialize)]
struct Redeem {
    link: String,
}

/// The routes with their guards.
pub fn router(console: Arc<Console>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let handler: MethodRouter<Arc<Console>> = match (route.method, route.path) {
            ("GET", "/") => get(overview),
            ("GET", "/sign-in") => get(sign_in_page),
            ("POST", "/sign-in") => post(sign_in),
            ("POST", "/sign-in/link") => post(redeem),
            ("POST", "/sign-out") => post(sign_out),
            ("GET", "/console.css") => get(style),
            (method, path) => unreachable!("{method} {path} stands in the table and has no handler"),
        };
        let guarded = match route.guard {
            Guard::Public => handler,
            Guard::Operator => handler.route_layer(middleware::from_fn_with_state(console.clone(), operator)),
            Guard::Firm(_) | Guard::Person => unreachable!("firms have the API"),
        };
        router = router.route(route.path, guarded);
    }
    router.layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).layer(middleware::map_response(hardened)).with_state(console)
}

/// Lets signed-in operators through; others get the form to sign in.
async fn operator(
    State(console): State<Arc<Console>>,
    Query(asked): Query<Asked>,
    request: Request,
    next: Next,
) -> Response {
    let now_us = console.access.now_us();
    let cookie = cookie(request.headers()).filter(|cookie| console.sessions.is_signed_in(cookie, now_us));
    // Revoked by another process, of whose sessions this one keeps its own.
    let may = match cookie.and_then(|cookie| console.sessions.operator(cookie, now_us)) {
        Some(operator) => console.auth.is_operator(operator).await,
        None => Ok(cookie.is_some()),
    };
    match may {
        Ok(true) => return next.run(request).await,
        Ok(false) => {}
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::error!(error, "whether an operator may stay could not be looked up");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    let lang = Lang::of(asked.lang.as_deref(), request.headers());
    (StatusCode::UNAUTHORIZED, page::sign_in(&console.complex, lang, None)).into_response()
}

async fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // A one-time link must not be told to the next page.
    set(header::REFERRER_POLICY, "no-referrer");
    response
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

impl Console {
    /// `value` as the session's cookie; empty ends it.
    fn set_cookie(&self, value: &str) -> [(header::HeaderName, String); 1] {
        let secure = if self.secure { "; Secure" } else { "" };
        let age = if value.is_empty() { 0 } else { Sessions::COOKIE_SECONDS };
        let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
        [(header::SET_COOKIE, cookie)]
    }

    /// A session for the operator of a token that was just looked up; none when the token
    /// was revoked meanwhile. A revocation ends the sessions that are there: one that came
    /// after it sees here that the token is gone, one that came before it is ended by it.
    async fn open_session(
        &self,
        operator: OperatorId,
        token: &str,
    ) -> Result<Option<Secret>, Box<dyn std::error::Error + Send + Sync>> {
        let session = self.sessions.sign_in(operator, self.access.now_us())?;
        if self.auth.operator(token).await? == Some(operator) {
            return Ok(Some(session));
        }
        self.sessions.sign_out(&session.reveal(), self.access.now_us());
        Ok(None)
    }

    /// Sends a browser that signed in to the overview, once the log says so. Nobody has the
    /// session before.
    async fn welcome(&self, session: Secret, actor: &str, lang: Lang) -> Response {
        if let Err(error) = self.access.note(Kind::SignedIn, actor).await {
            return broken(&error, self, lang);
        }
        let home = format!("/?lang={}", lang.code());
        (self.set_cookie(&session.reveal()), Redirect::to(&home)).into_response()
    }
}

fn broken(error: &(dyn std::error::Error + 'static), console: &Console, lang: Lang) -> Response {
    tracing::error!(error, "the console could not answer");
    (StatusCode::INTERNAL_SERVER_ERROR, page::broken(&console.complex, lang)).into_response()
}

async fn overview(State(console): State<Arc<Console>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let lang = Lang::of(asked.lang.as_deref(), &headers);
    match console.access.fleet().await {
        Ok((views, firms, now_us)) => {
            let dead = console.access.dead_totals().await.unwrap_or_else(|error| {
                // How the links are is shown all the same.
                tracing::error!(%error, "what is put aside cannot be counted for the console");
                BTreeMap::default()
            });
            let is_short = console.access.is_disk_short();
            page::overview(&console.complex, lang, &views, &firms, &dead, is_short, now_us).into_response()
        }
        Err(error) => broken(&error, &console, lang),
    }
}

async fn sign_in_page(State(console): State<Arc<Console>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let lang = Lang::of(asked.lang.as_deref(), &headers);
    let Some(link) = asked.link else {
        return page::sign_in(&console.complex, lang, None).into_response();
    };
    // Only looked at: a messenger's preview, too, opens the address. The button uses it up.
    if console.sessions.is_open_link(&link, console.access.now_us()) {
        page::link_sign_in(&console.complex, lang, &link).into_response()
    } else {
        refused(&console, lang, &words::Sentence::LinkUsed)
    }
}

async fn redeem(
    State(console): State<Arc<Console>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let lang = Lang::of(asked.lang.as_deref(), &headers);
    let form: Redeem = match form(request).await {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    match console.sessions.redeem(&form.link, console.access.now_us()) {
        Ok(Some(session)) => console.welcome(session, "one-time link", lang).await,
        Ok(None) => refused(&console, lang, &words::Sentence::LinkUsed),
        Err(error) => broken(&error, &console, lang),
    }
}

async fn sign_in(
    State(console): State<Arc<Console>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let lang = Lang::of(asked.lang.as_deref(), &headers);
    let form: SignIn = match form(request).await {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    let token = form.token.trim();
    let operator = match console.auth.operator(token).await {
        Ok(Some(operator)) => operator,
        Ok(None) => return refused(&console, lang, &words::Sentence::TokenUnknown),
        Err(error) => return broken(&error, &console, lang),
    };
    match console.open_session(operator, token).await {
        Ok(Some(session)) => console.welcome(session, &format!("operator {operator}"), lang).await,
        Ok(None) => refused(&console, lang, &words::Sentence::TokenUnknown),
        Err(error) => broken(&*error, &console, lang),
    }
}

/// The form in a request's body.
async fn form<T: DeserializeOwned>(request: Request) -> Result<T, Response> {
    match tokio::time::timeout(FORM_DEADLINE, Form::<T>::from_request(request, &())).await {
        Ok(Ok(Form(form))) => Ok(form),
        Ok(Err(rejection)) => Err(rejection.into_response()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

fn refused(console: &Console, lang: Lang, why: &words::Sentence<'_>) -> Response {
    (StatusCode::UNAUTHORIZED, page::sign_in(&console.complex, lang, Some(why))).into_response()
}

async fn sign_out(State(console): State<Arc<Console>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let lang = Lang::of(asked.lang.as_deref(), &headers);
    if let Some(cookie) = cookie(&headers) {
        console.sessions.sign_out(cookie, console.access.now_us());
    }
    let page: Markup = page::sign_in(&console.complex, lang, None);
    (console.set_cookie(""), page).into_response()
}

async fn style() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, include_str!("console/style.css")).into_response()
}

#[cfg(test)]
mod tests;
