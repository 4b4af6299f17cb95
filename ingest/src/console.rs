//! The console: how each gateway and its links are, what is worst first, whom to call and who is on
//! it. Server-rendered, Korean and English, for a phone as for a desk, also without JavaScript.
//!
//! It promises that no reading's value is on a page for anyone but the owning firm, that every text
//! from outside is escaped, that a state is never told by colour alone, and that nothing changes but
//! by a form of a page of the same browser. It reads through `access` only.

mod fleet;
mod gateway;
mod page;
mod sign;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};

use self::words::Lang;
use crate::access::Access;
use crate::auth::route::{EVERYONE, FLEET, Guard, Route};
use crate::auth::{Auth, Passwords, Sessions, SignedIn};
use crate::consent::Role;

/// Every route of this module. The router is built from this table alone.
pub const ROUTES: [Route; 19] = [
    Route { path: "/", method: "GET", guard: EVERYONE },
    Route { path: "/live", method: "GET", guard: FLEET },
    Route { path: "/gateways/{firm}/{name}", method: "GET", guard: FLEET },
    Route { path: "/gateways/{firm}/{name}/care", method: "POST", guard: FLEET },
    Route { path: "/gateways/{firm}/{name}/contact", method: "POST", guard: FLEET },
    Route { path: "/account", method: "GET", guard: EVERYONE },
    Route { path: "/account/password", method: "POST", guard: EVERYONE },
    Route { path: "/sign-in", method: "GET", guard: Guard::Public },
    Route { path: "/sign-in", method: "POST", guard: Guard::Public },
    Route { path: "/sign-in/link", method: "POST", guard: Guard::Public },
    Route { path: "/officer", method: "GET", guard: Guard::Public },
    Route { path: "/officer", method: "POST", guard: Guard::Public },
    Route { path: "/sign-out", method: "POST", guard: EVERYONE },
    Route { path: "/sign-out/everywhere", method: "POST", guard: EVERYONE },
    Route { path: "/console.css", method: "GET", guard: Guard::Public },
    Route { path: "/console.js", method: "GET", guard: Guard::Public },
    Route { path: "/manifest.webmanifest", method: "GET", guard: Guard::Public },
    Route { path: "/icon.svg", method: "GET", guard: Guard::Public },
    Route { path: "/favicon.ico", method: "GET", guard: Guard::Public },
];

/// The session's cookie; over TLS with the prefix by which browsers keep other hosts from setting it.
const COOKIE: &str = "sandan_session";
const SECURE_COOKIE: &str = "__Host-sandan_session";
/// Which language was chosen.
const LANG_COOKIE: &str = "sandan_lang";
/// Seconds that it is remembered: a year.
const LANG_SECONDS: u32 = 365 * 86_400;
/// Largest form: a note of a visit in Korean, each character nine bytes in a form.
const MAX_FORM_BYTES: usize = 8_192;
/// How long a form may be on its way.
const FORM_DEADLINE: Duration = Duration::from_secs(5);
/// Nothing but our own style, script, pictures and forms, and no frame around us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the handlers share.
pub struct Console {
    /// The door.
    pub access: Arc<Access>,
    /// Who signs in.
    pub auth: Auth,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// The name of the installation.
    pub complex: String,
    /// Whether browsers come by TLS, so that the cookie may say so.
    pub secure: bool,
}

/// Who asks, in which language.
#[derive(Debug, Clone)]
struct At {
    lang: Lang,
    who: SignedIn,
}

/// A form's fields.
type Fields = BTreeMap<String, String>;

/// Why there is no answer but a page that says so.
#[derive(Debug)]
enum Stop {
    /// For somebody in another capacity.
    Forbidden,
    /// There is none, or not for this firm.
    NotFound,
    /// The form is not of a page of this browser.
    Foreign,
    /// What was typed does not do, in both languages.
    Again([&'static str; 2]),
    /// The service failed.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Broken(Box::new(error))
    }
}

type Answered = Result<Response, Stop>;

impl Console {
    /// The page that says why.
    fn stopped(&self, lang: Lang, stop: Stop) -> Response {
        let (status, words) = match stop {
            Stop::Forbidden => (
                StatusCode::FORBIDDEN,
                ["이 페이지는 다른 역할의 사람을 위한 것입니다.", "This page is for people in another role."],
            ),
            Stop::NotFound => (
                StatusCode::NOT_FOUND,
                [
                    "이 이름의 페이지가 없거나, 귀하의 것이 아닙니다.",
                    "There is no page of this name, or it is not yours.",
                ],
            ),
            Stop::Foreign => (
                StatusCode::FORBIDDEN,
                [
                    "이 브라우저의 페이지에서 보낸 양식이 아닙니다. 페이지를 다시 열고 해 주세요.",
                    "The form did not come from a page of this browser. Open the page again, and try once more.",
                ],
            ),
            Stop::Again(words) => (StatusCode::UNPROCESSABLE_ENTITY, words),
            Stop::Broken(error) => {
                let error: &(dyn std::error::Error + 'static) = &*error;
                tracing::error!(error, "the console could not answer");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    [
                        "서버가 응답할 수 없습니다. 원인은 서버 로그에 있습니다.",
                        "The service could not answer. Its log says why.",
                    ],
                )
            }
        };
        (status, page::message(&self.complex, lang, words)).into_response()
    }

    fn cookie_name(&self) -> &'static str {
        if self.secure { SECURE_COOKIE } else { COOKIE }
    }

    /// `value` as the session's cookie; empty ends it. A link in a message opens the page signed in:
    /// nothing changes but by a form, which carries a token of its own.
    fn set_cookie(&self, value: &str) -> [(header::HeaderName, String); 1] {
        let secure = if self.secure { "; Secure" } else { "" };
        let age = if value.is_empty() { 0 } else { Sessions::COOKIE_SECONDS };
        let name = self.cookie_name();
        let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
        [(header::SET_COOKIE, cookie)]
    }
}

/// The routes with their guards.
pub fn router(console: Arc<Console>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let handler: MethodRouter<Arc<Console>> = match (route.method, route.path) {
            ("GET", "/") => get(fleet::home),
            ("GET", "/live") => get(fleet::live),
            ("GET", "/gateways/{firm}/{name}") => get(gateway::show),
            ("POST", "/gateways/{firm}/{name}/care") => post(gateway::care),
            ("POST", "/gateways/{firm}/{name}/contact") => post(gateway::contact),
            ("GET", "/account") => get(sign::account),
            ("POST", "/account/password") => post(sign::set_password),
            ("GET", "/sign-in") => get(sign::sign_in_page),
            ("POST", "/sign-in") => post(sign::sign_in),
            ("POST", "/sign-in/link") => post(sign::redeem),
            ("GET", "/officer") => get(sign::officer_page),
            ("POST", "/officer") => post(sign::officer),
            ("POST", "/sign-out") => post(sign::sign_out),
            ("POST", "/sign-out/everywhere") => post(sign::sign_out_everywhere),
            ("GET", "/console.css") => get(style),
            ("GET", "/console.js") => get(script),
            ("GET", "/manifest.webmanifest") => get(manifest),
            ("GET", "/icon.svg" | "/favicon.ico") => get(icon),
            (method, path) => unreachable!("{method} {path} stands in the table and has no handler"),
        };
        let guarded = match route.guard {
            Guard::Public => handler,
            Guard::Page(roles) => {
                handler.route_layer(middleware::from_fn_with_state((console.clone(), roles), signed_in))
            }
            Guard::Firm(_) | Guard::Person => unreachable!("tokens have the API"),
        };
        router = router.route(route.path, guarded);
    }
    let router = router.layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).layer(middleware::from_fn(same_site));
    router.layer(middleware::map_response(hardened)).layer(middleware::from_fn(speaking)).with_state(console)
}

/// Lets those through who are signed in in one of these capacities, and says who they are; others
/// get the form to sign in, or are told whom the page is for.
async fn signed_in(
    State((console, roles)): State<(Arc<Console>, &'static [Role])>,
    mut request: Request,
    next: Next,
) -> Response {
    let lang = lang_of(&request);
    let now_us = console.access.now_us();
    let found = match cookie(request.headers(), console.cookie_name()) {
        None => Ok(None),
        Some(cookie) => console.sessions.find(cookie, now_us).await,
    };
    match found {
        Ok(Some(who)) if roles.contains(&who.role()) => {
            request.extensions_mut().insert(At { lang, who });
            next.run(request).await
        }
        Ok(Some(_)) => console.stopped(lang, Stop::Forbidden),
        Ok(None) => (StatusCode::UNAUTHORIZED, page::sign_in(&console.complex, lang, None)).into_response(),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::error!(error, "whether somebody may stay could not be looked up");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Refuses what another site has a browser send. Programs say nothing of a site.
async fn same_site(request: Request, next: Next) -> Response {
    if request.method() == Method::POST && !is_from_here(request.headers()) {
        return (StatusCode::FORBIDDEN, "this form came from another site\n").into_response();
    }
    next.run(request).await
}

fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        // An older browser. Behind a proxy the host may be another, and such ones are few.
        (None, Some(origin)) => origin.split_once("://").map(|(_, name)| name) == text("host"),
        (None, None) => true,
    }
}

async fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // A one-time link must not be told to the next page.
    set(header::REFERRER_POLICY, "no-referrer");
    response
}

/// Remembers a language that was asked for.
async fn speaking(request: Request, next: Next) -> Response {
    let asked = asked(request.uri().query(), "lang").and_then(|it| Lang::parse(&it));
    let mut response = next.run(request).await;
    if let Some(lang) = asked {
        let cookie = format!("{LANG_COOKIE}={}; Path=/; SameSite=Lax; Max-Age={LANG_SECONDS}", lang.code());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// One parameter of an address.
fn asked(query: Option<&str>, name: &str) -> Option<String> {
    let uri = format!("/?{}", query.unwrap_or_default()).parse().ok()?;
    let axum::extract::Query(all) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()?;
    all.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn lang_of(request: &Request) -> Lang {
    let asked = asked(request.uri().query(), "lang");
    let asked = asked.as_deref().or_else(|| cookie(request.headers(), LANG_COOKIE));
    Lang::of(asked, request.headers())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The fields of a form of a page that anybody may see.
async fn form(request: Request) -> Result<Fields, Response> {
    match tokio::time::timeout(FORM_DEADLINE, Form::<Fields>::from_request(request, &())).await {
        Ok(Ok(Form(form))) => Ok(form),
        Ok(Err(rejection)) => Err(rejection.into_response()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

/// The fields of a form of a page of this browser.
async fn own_form(at: &At, request: Request) -> Result<Fields, Result<Response, Stop>> {
    let fields = form(request).await.map_err(Ok)?;
    let ours = fields.get("csrf").is_some_and(|token| at.who.is_ours(token));
    if ours { Ok(fields) } else { Err(Err(Stop::Foreign)) }
}

/// A field without the space around it; empty where there is none.
fn field(fields: &Fields, name: &str) -> String {
    fields.get(name).map(|it| it.trim().to_owned()).unwrap_or_default()
}

fn see(path: &str) -> Response {
    Redirect::to(path).into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600")], text).into_response()
}

async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("console/style.css"))
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("console/live.js"))
}

async fn manifest() -> Response {
    file("application/manifest+json", include_str!("console/manifest.json"))
}

async fn icon() -> Response {
    file("image/svg+xml", include_str!("console/icon.svg"))
}

#[cfg(test)]
mod tests;
