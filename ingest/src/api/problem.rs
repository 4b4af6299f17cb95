//! Errors as RFC 9457 problems with a `code` that programs can match on.

mod code;

use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub use self::code::Code;
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
    code: Code,
    detail: String,
    reasons: Vec<Reason>,
    receipt: Option<Box<Receipt>>,
    /// When it is worth to ask again, where that is known.
    retry_after_s: Option<u64>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: &(impl ToString + ?Sized)) -> Self {
        let detail = detail.to_string().chars().take(MAX_DETAIL_CHARS).collect();
        Self { code, detail, reasons: Vec::new(), receipt: None, retry_after_s: None }
    }

    pub(super) fn unauthenticated() -> Self {
        let detail = "send `Authorization: Bearer smb_…` with a member's token that is not revoked";
        Self::new(Code::Unauthenticated, detail)
    }

    pub(super) fn not_acceptable(offers: &[&str]) -> Self {
        Self::new(Code::NotAcceptable, &format!("there is {}", offers.join(", ")))
    }

    pub(super) fn rate_limited(retry_after_s: u64) -> Self {
        let detail = format!("the requests of a minute are used up; the next is answered in {retry_after_s} s");
        Self { retry_after_s: Some(retry_after_s), ..Self::new(Code::RateLimited, &detail) }
    }

    pub(super) fn busy() -> Self {
        let detail = "too many requests are being answered; try again in a moment";
        Self::new(Code::Busy, detail)
    }

    pub(super) fn no_such_page() -> Self {
        Self::new(Code::NoSuchPage, "there is nothing at this address")
    }

    pub(super) fn method_not_allowed() -> Self {
        let detail = "this address does not take this method; `Allow` names those that it takes";
        Self::new(Code::MethodNotAllowed, detail)
    }

    pub(super) fn query(detail: &(impl ToString + ?Sized)) -> Self {
        Self::new(Code::BadQuery, detail)
    }

    fn away(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error, "a request was not answered: the database is away");
        let detail = "the database does not answer; try again in a moment";
        Self::new(Code::StoreAway, detail)
    }

    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        let detail = "the service could not answer; its log says why";
        Self::new(Code::Internal, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = self.told();
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (status, audit::receipt(self.receipt.as_deref()), headers, body.to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        let again = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        // A quota begins anew with the day that `detail` names.
        if again && self.code != Code::QuotaExceeded {
            response.headers_mut().insert(header::RETRY_AFTER, self.retry_after_s.unwrap_or(1).into());
        }
        response
    }
}

impl Problem {
    /// As it is answered, and told at the end of a stream.
    pub(super) fn told(&self) -> Value {
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|it| json!({ "consent": it.consent, "code": it.why.code(), "detail": it.why.to_string() }))
            .collect();
        json!({
            // Relative to whatever the service is called: a proxy may stand before it.
            "type": format!("/errors/{}", self.code.as_str()),
            "title": self.code.title(),
            "status": self.code.status().as_u16(),
            "detail": self.detail,
            "code": self.code.as_str(),
            "reasons": reasons,
        })
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
            AccessError::NotFound => Self::new(Code::NoSuchSeries, &error),
            AccessError::Denied(reasons, receipt) => {
                let detail = "a consent names this series for your firm and does not cover this request";
                Self { reasons, receipt, ..Self::new(Code::NotCovered, detail) }
            }
            AccessError::OtherFirm => Self::new(Code::OtherFirm, &error),
            AccessError::Withdrawn => Self::new(Code::Withdrawn, &error),
            AccessError::Revoked => Self::unauthenticated(),
            AccessError::TooManyReads => Self::new(Code::TooManyReads, &error),
            AccessError::TooManyStreams => Self::new(Code::TooManyStreams, &error),
            AccessError::Ending => Self::new(Code::Ending, &error),
            AccessError::QuotaExceeded { .. } => Self::new(Code::QuotaExceeded, &error),
            AccessError::Cursor => Self::new(Code::BadCursor, &error),
            AccessError::Unconfirmed => Self::away(&error),
            AccessError::Store(_) | AccessError::Control(_) if error.is_away() => Self::away(&error),
            AccessError::Store(_) | AccessError::Control(_) => Self::internal(&error),
        }
    }
}
