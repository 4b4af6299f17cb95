//! Errors as RFC 9457 problems with a `code` that programs can match on.

use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::audit;
use crate::access::{AccessError, Receipt};
use crate::auth::LookupError;
use crate::consent::Reason;
use crate::time::TimeError;

/// Longest part of a query that a problem repeats.
const MAX_DETAIL_CHARS: usize = 300;

/// One refusal.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    reasons: Vec<Reason>,
    receipt: Option<Box<Receipt>>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: &(impl ToString + ?Sized),
    ) -> Self {
        let detail = detail.to_string().chars().take(MAX_DETAIL_CHARS).collect();
        Self { status, code, title, detail, reasons: Vec::new(), receipt: None }
    }

    pub(super) fn unauthenticated() -> Self {
        let detail = "send `Authorization: Bearer smb_…` with a member's token that is not revoked";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Who are you?", detail)
    }

    pub(super) fn busy() -> Self {
        let detail = "too many requests are being answered; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail)
    }

    pub(super) fn no_such_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_page", "No such page", "there is nothing at this address")
    }

    pub(super) fn method_not_allowed() -> Self {
        let detail = "this address does not take this method; `Allow` names those that it takes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Not with this method", detail)
    }

    pub(super) fn query(detail: &(impl ToString + ?Sized)) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_query", "The query cannot be read", detail)
    }

    fn away(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error, "a request was not answered: the database is away");
        let detail = "the database does not answer; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_away", "The store is away", detail)
    }

    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        let detail = "the service could not answer; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something broke here", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|it| json!({ "consent": it.consent, "code": it.why.code(), "detail": it.why.to_string() }))
            .collect();
        let body = json!({
            "type": format!("urn:sandan:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "reasons": reasons,
        });
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response =
            (self.status, audit::receipt(self.receipt.as_deref()), headers, body.to_string()).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        // What comes before the colon is how it was read, not what is wrong.
        let text = rejection.body_text();
        Self::query(text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text))
    }
}

impl From<TimeError> for Problem {
    fn from(error: TimeError) -> Self {
        Self::query(&error)
    }
}

impl From<LookupError> for Problem {
    fn from(error: LookupError) -> Self {
        if error.is_away() { Self::away(&error) } else { Self::internal(&error) }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::new(StatusCode::NOT_FOUND, "no_such_series", "No such series", &error),
            AccessError::Denied(reasons, receipt) => {
                let detail = "a consent names this series for your firm and does not cover this request";
                Self {
                    reasons,
                    receipt,
                    ..Self::new(StatusCode::FORBIDDEN, "not_covered", "Not covered by a consent", detail)
                }
            }
            AccessError::OtherFirm => Self::new(StatusCode::FORBIDDEN, "other_firm", "Another firm's", &error),
            AccessError::Withdrawn => Self::new(StatusCode::FORBIDDEN, "withdrawn", "The consent ended", &error),
            AccessError::Revoked => Self::unauthenticated(),
            AccessError::TooManyReads => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_reads", "Too many reads at once", &error)
            }
            AccessError::Cursor => Self::new(StatusCode::BAD_REQUEST, "bad_cursor", "The cursor does not fit", &error),
            AccessError::Store(_) | AccessError::Control(_) if error.is_away() => Self::away(&error),
            AccessError::Store(_) | AccessError::Control(_) => Self::internal(&error),
        }
    }
}
