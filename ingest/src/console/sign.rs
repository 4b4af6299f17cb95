//! Signing in and out: by a sign-in name and password, by a token, by a one-time link.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::words::{Lang, Sentence};
use super::{Answered, At, Console, Stop, asked, field, form, lang_of, own_form, page, see};
use crate::access::ConsentError;
use crate::auth::{MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS, Password, Principal, Secret, Turned};

/// Longest sign-in name, in characters.
const MAX_LOGIN_CHARS: usize = 40;
/// Shortest one.
const MIN_LOGIN_CHARS: usize = 3;

/// A sign-in name as it is compared: small letters, digits and `. _ -`, or Korean.
fn login(text: &str) -> Option<String> {
    let name = text.trim().to_lowercase();
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@'));
    ((MIN_LOGIN_CHARS..=MAX_LOGIN_CHARS).contains(&name.chars().count()) && plain).then_some(name)
}

impl Console {
    fn refused(&self, lang: Lang, why: &Sentence<'_>) -> Response {
        (StatusCode::UNAUTHORIZED, page::sign_in(&self.complex, lang, Some(why))).into_response()
    }

    /// Sends a browser that signed in on, once the log says so. Nobody has the session before. One
    /// who was revoked meanwhile is not found, and gets none.
    async fn welcome(&self, session: Secret, to: &str) -> Result<Option<Response>, Stop> {
        let cookie = session.reveal();
        let Some(who) = self.sessions.find(&cookie, self.access.now_us()).await? else { return Ok(None) };
        self.access.note_sign_in(&who).await?;
        Ok(Some((self.set_cookie(&cookie), see(to)).into_response()))
    }
}

fn answered(console: &Console, lang: Lang, answer: Answered) -> Response {
    answer.unwrap_or_else(|stop| console.stopped(lang, stop))
}

pub(super) async fn sign_in_page(State(console): State<Arc<Console>>, request: Request) -> Response {
    let lang = lang_of(&request);
    let Some(link) = asked(request.uri().query(), "link") else {
        return page::sign_in(&console.complex, lang, None).into_response();
    };
    // Only looked at: a messenger's preview, too, opens the address. The button uses it up.
    match console.sessions.is_open_link(&link, console.access.now_us()).await {
        Ok(true) => page::link_sign_in(&console.complex, lang, &link).into_response(),
        Ok(false) => console.refused(lang, &Sentence::LinkUsed),
        Err(error) => console.stopped(lang, error.into()),
    }
}

pub(super) async fn redeem(State(console): State<Arc<Console>>, request: Request) -> Response {
    let lang = lang_of(&request);
    let fields = match form(request).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let redeemed = async {
        let used = console.sessions.redeem(&field(&fields, "link"), console.access.now_us()).await?;
        let welcome = match used {
            Some(session) => console.welcome(session, "/").await?,
            None => None,
        };
        Ok(welcome.unwrap_or_else(|| console.refused(lang, &Sentence::LinkUsed)))
    };
    answered(&console, lang, redeemed.await)
}

pub(super) async fn sign_in(State(console): State<Arc<Console>>, request: Request) -> Response {
    let lang = lang_of(&request);
    let fields = match form(request).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let (token, name) = (field(&fields, "token"), field(&fields, "login"));
    let now_us = console.access.now_us();
    let signed_in = async {
        let (person, unknown) = if token.is_empty() {
            // As it was typed: a password may begin with a space.
            let typed = fields.get("password").cloned().unwrap_or_default();
            let (Some(name), Some(password)) = (login(&name), Password::typed(typed)) else {
                return Ok(console.refused(lang, &Sentence::PasswordWrong));
            };
            match console.auth.by_password(&console.passwords, &name, password, now_us).await? {
                Ok(person) => (person, Sentence::PasswordWrong),
                Err(Turned::Throttled) => return Ok(console.refused(lang, &Sentence::TooOften)),
                Err(Turned::Busy) => return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()),
                Err(broken @ Turned::Broken) => return Err(broken.into()),
            }
        } else {
            (console.auth.person(&token, now_us).await?, Sentence::TokenUnknown)
        };
        let Some(person) = person else { return Ok(console.refused(lang, &unknown)) };
        let session = console.sessions.sign_in(person.id(), now_us).await?;
        Ok(console.welcome(session, "/").await?.unwrap_or_else(|| console.refused(lang, &unknown)))
    };
    answered(&console, lang, signed_in.await)
}

pub(super) async fn officer_page(State(console): State<Arc<Console>>, request: Request) -> Response {
    page::officer(&console.complex, lang_of(&request), None).into_response()
}

/// Whoever holds the link is the firm's first officer, and sets a password next.
pub(super) async fn officer(State(console): State<Arc<Console>>, request: Request) -> Response {
    let lang = lang_of(&request);
    let fields = match form(request).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let again = |why: Sentence<'_>| {
        let page = page::officer(&console.complex, lang, Some(&why));
        (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
    };
    let begun = async {
        match console.access.first_officer(&field(&fields, "link"), field(&fields, "name")).await {
            Ok((_, done)) => {
                let session = console.sessions.sign_in(done.person, console.access.now_us()).await?;
                Ok(console.welcome(session, "/account").await?.unwrap_or_else(|| again(Sentence::LinkUsed)))
            }
            Err(ConsentError::Name) => Ok(again(Sentence::NameNeeded)),
            Err(ConsentError::BadLink | ConsentError::Officer(_)) => Ok(again(Sentence::LinkUsed)),
            Err(error) => Err(error.into()),
        }
    };
    answered(&console, lang, begun.await)
}

pub(super) async fn account(State(console): State<Arc<Console>>, Extension(at): Extension<At>) -> Response {
    let login = match at.who.person.as_ref().map(Principal::id) {
        None => Ok(None),
        Some(person) => console.auth.login(person).await,
    };
    match login {
        Ok(login) => page::account(&console.complex, &at, login.as_deref()).into_response(),
        Err(error) => console.stopped(at.lang, error.into()),
    }
}

pub(super) async fn set_password(
    State(console): State<Arc<Console>>,
    Extension(at): Extension<At>,
    request: Request,
) -> Response {
    let lang = at.lang;
    let set = async {
        let fields = match own_form(&at, request).await {
            Ok(fields) => fields,
            Err(stopped) => return stopped,
        };
        if at.who.person.is_none() {
            return Err(Stop::Forbidden);
        }
        let name = login(&field(&fields, "login")).ok_or(Stop::Again([
            "로그인 이름은 3~40자의 글자, 숫자, . _ - @ 로 합니다.",
            "A sign-in name has 3 to 40 letters, digits, or . _ - @",
        ]))?;
        let typed = fields.get("password").cloned().unwrap_or_default();
        if fields.get("again") != Some(&typed) {
            return Err(Stop::Again(["두 번 입력한 비밀번호가 다릅니다.", "The two passwords differ."]));
        }
        let password = Password::chosen(typed, &name).ok_or(Stop::Again([
            "비밀번호는 12자 이상 200자 이하로 하고, 로그인 이름과 다르게 하세요.",
            "A password has 12 to 200 characters, and is not the sign-in name.",
        ]))?;
        let hash = console.passwords.hash(password).await?;
        match console.access.set_password(&at.who, name, hash).await {
            Ok(()) => Ok(see("/account")),
            Err(crate::access::ControlError::Exists { .. }) => Err(Stop::Again([
                "이 로그인 이름은 다른 사람이 쓰고 있습니다.",
                "Somebody else signs in with this name.",
            ])),
            Err(error) => Err(error.into()),
        }
    };
    answered(&console, lang, set.await)
}

pub(super) async fn sign_out(
    State(console): State<Arc<Console>>,
    Extension(at): Extension<At>,
    request: Request,
) -> Response {
    let ended = async {
        if let Err(stopped) = own_form(&at, request).await {
            return stopped;
        }
        console.sessions.sign_out(&at.who.hash).await?;
        Ok((console.set_cookie(""), see("/sign-in")).into_response())
    };
    answered(&console, at.lang, ended.await)
}

pub(super) async fn sign_out_everywhere(
    State(console): State<Arc<Console>>,
    Extension(at): Extension<At>,
    request: Request,
) -> Response {
    let ended = async {
        if let Err(stopped) = own_form(&at, request).await {
            return stopped;
        }
        console.sessions.end_all_of(at.who.person.as_ref().map(Principal::id)).await?;
        Ok((console.set_cookie(""), see("/sign-in")).into_response())
    };
    answered(&console, at.lang, ended.await)
}

/// What the bounds above say to people, kept in step with the code.
const _: () = assert!(MIN_PASSWORD_CHARS == 12 && MAX_PASSWORD_CHARS == 200 && MIN_LOGIN_CHARS == 3);
