//! Entity tags of answers that are put together before they leave, and 304 for who has one.
//!
//! The tag is weak: it is one of what is said, not of its bytes, which may be compressed.
//! It is made of the whole answer, with the consents that it rests on and how far it
//! reaches, so that it changes with the data and with the consents. Everything is done for
//! it that is done for an answer, the owner's log among it: only the bytes stay away.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use sha2::{Digest, Sha256};

/// The longest answer that is put together: a page of 10,000 rows has a tenth of it.
const MOST_BYTES: usize = 32 << 20;
/// Bytes of the digest that make a tag.
const TAG_BYTES: usize = 16;

/// `response` with a tag, or 304 where the asker has it. One that is a stream, or no answer
/// of its own, is left as it is.
pub(super) async fn tagged(asked: &HeaderMap, response: Response) -> Response {
    let length = response.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if response.status() != StatusCode::OK || length.is_none_or(|length| length > MOST_BYTES) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MOST_BYTES).await else {
        // A body whose length is known stands in memory and cannot fail.
        return Response::from_parts(head, Body::empty());
    };
    let mut digest = Sha256::new();
    // The same figures in another form are another answer.
    digest.update(head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes));
    digest.update([0]);
    digest.update(&body);
    let tag =
        digest.finalize()[..TAG_BYTES].iter().fold("W/\"".to_owned(), |text, byte| format!("{text}{byte:02x}")) + "\"";
    let is_known = is_among(&tag, asked);
    // Hexadecimal digits and quotes.
    if let Ok(tag) = HeaderValue::try_from(tag) {
        head.headers.insert(header::ETAG, tag);
    }
    if is_known {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

/// Whether `If-None-Match` names the tag, weakly compared.
fn is_among(tag: &str, asked: &HeaderMap) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let lines = asked.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|line| line.to_str().ok());
    // Our tags have no comma.
    lines.flat_map(|line| line.split(',')).any(|named| named.trim() == "*" || bare(named) == bare(tag))
}
