//! One gateway: what is wrong and what to tell whoever stands beside it, whom to call, who is on it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use sandan_proto::id::GatewayId;

use super::{Answered, At, Console, Stop, field, own_form, page, see};
use crate::access::{AccessError, CareKind, Contact, ControlError, Part};

/// Longest note, in characters: what fits on a phone.
const MAX_NOTE_CHARS: usize = 500;
/// Longest name of a contact, in characters.
const MAX_NAME_CHARS: usize = 100;
/// Longest number: with a country and an extension.
const MAX_PHONE_CHARS: usize = 24;

fn refused(error: AccessError) -> Stop {
    match error {
        AccessError::OtherFirm | AccessError::Control(ControlError::Missing { .. }) => Stop::NotFound,
        other => other.into(),
    }
}

/// A text of a person, of one line or more.
fn words(text: String, most: usize) -> Result<String, Stop> {
    let plain = text.chars().count() <= most && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r'));
    plain.then_some(text).ok_or(Stop::Again([
        "너무 길거나 쓸 수 없는 글자가 있습니다.",
        "It is too long, or holds a character that cannot be shown.",
    ]))
}

/// Digits, and what people write between them.
fn phone(text: &str) -> Result<String, Stop> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | ' ' | '(' | ')'));
    let fits = text.is_empty() || text.chars().filter(char::is_ascii_digit).count() >= 3;
    (plain && fits && text.len() <= MAX_PHONE_CHARS)
        .then(|| text.to_owned())
        .ok_or(Stop::Again(["전화번호는 숫자와 + - 로 적어 주세요.", "A number is of digits, + and -."]))
}

fn named((firm, name): (String, String)) -> Result<GatewayId, Stop> {
    GatewayId::new(&format!("{firm}/{name}")).map_err(|_| Stop::NotFound)
}

fn answered(console: &Console, at: &At, answer: Answered) -> Response {
    answer.unwrap_or_else(|stop| console.stopped(at.lang, stop))
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Extension(at): Extension<At>,
    Path(path): Path<(String, String)>,
) -> Response {
    let shown = async {
        let id = named(path)?;
        let scene = console.access.scene(&at.who).await?;
        let view = scene.views.iter().find(|view| view.id == id).ok_or(Stop::NotFound)?;
        Ok(page::gateway(&console.complex, &at, &scene, view).into_response())
    };
    answered(&console, &at, shown.await)
}

pub(super) async fn care(
    State(console): State<Arc<Console>>,
    Extension(at): Extension<At>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Response {
    let noted = async {
        let id = named(path)?;
        let fields = match own_form(&at, request).await {
            Ok(fields) => fields,
            Err(stopped) => return stopped,
        };
        let kind = CareKind::parse(&field(&fields, "kind")).ok_or(Stop::NotFound)?;
        let text = words(field(&fields, "words"), MAX_NOTE_CHARS)?;
        let ends = !field(&fields, "end").is_empty() || (kind == CareKind::Visit && text.is_empty());
        let to = format!("/gateways/{id}");
        console.access.set_care(&at.who, id, kind, (!ends).then_some(text)).await.map_err(refused)?;
        Ok(see(&to))
    };
    answered(&console, &at, noted.await)
}

pub(super) async fn contact(
    State(console): State<Arc<Console>>,
    Extension(at): Extension<At>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Response {
    let set = async {
        let id = named(path)?;
        let fields = match own_form(&at, request).await {
            Ok(fields) => fields,
            Err(stopped) => return stopped,
        };
        let part = Part::parse(&field(&fields, "part")).ok_or(Stop::NotFound)?;
        let name = words(field(&fields, "name"), MAX_NAME_CHARS)?;
        let contact = Contact { firm: id.firm(), part, name, phone: phone(&field(&fields, "phone"))? };
        console.access.set_contact(&at.who, contact).await.map_err(refused)?;
        Ok(see(&format!("/gateways/{id}")))
    };
    answered(&console, &at, set.await)
}
