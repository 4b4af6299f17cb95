//! The codes of problems: each with its status, its title and its pages, which are part of
//! the program.
//!
//! A further code: a variant, its line in [`Code::ALL`], its facts, and two pages under
//! docs/error-codes, `CODE.md` and `CODE.ko.md`. What is missing does not compile, or a test
//! tells.

use axum::http::StatusCode;

/// What programs match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A cursor of another request, or none at all.
    BadCursor,
    /// A parameter is missing, unknown or wrong.
    BadQuery,
    /// Too many requests of members are being answered.
    Busy,
    /// Nothing stands in the firm's log yet.
    EmptyLog,
    /// A fault of the service.
    Internal,
    /// The address is there and does not take this method.
    MethodNotAllowed,
    /// A stream cannot be told from its beginning over HTTP/1.0.
    NeedsHttp11,
    /// Nothing is at this address.
    NoSuchPage,
    /// There is none, or it was never shared with the asker.
    NoSuchSeries,
    /// `Accept` takes none of the forms that there are.
    NotAcceptable,
    /// A consent names the series and does not cover the request.
    NotCovered,
    /// What is asked for is for another firm's own members.
    OtherFirm,
    /// Path and query are longer than is taken.
    QueryTooLong,
    /// As many rows as the consent allows in a day were read.
    QuotaExceeded,
    /// The requests of a minute are used up.
    RateLimited,
    /// The database does not answer.
    StoreAway,
    /// The firm has as many reads open as one may have.
    TooManyReads,
    /// No answer was ready in time.
    TooSlow,
    /// No token, or one that is unknown or revoked.
    Unauthenticated,
    /// The consent ended while the answer was being made.
    Withdrawn,
}

/// What is fixed about a code.
struct Facts {
    word: &'static str,
    status: StatusCode,
    title: &'static str,
    /// English and Korean.
    pages: [&'static str; 2],
}

impl Code {
    /// All of them, by their words.
    pub const ALL: [Code; 20] = [
        Code::BadCursor,
        Code::BadQuery,
        Code::Busy,
        Code::EmptyLog,
        Code::Internal,
        Code::MethodNotAllowed,
        Code::NeedsHttp11,
        Code::NoSuchPage,
        Code::NoSuchSeries,
        Code::NotAcceptable,
        Code::NotCovered,
        Code::OtherFirm,
        Code::QueryTooLong,
        Code::QuotaExceeded,
        Code::RateLimited,
        Code::StoreAway,
        Code::TooManyReads,
        Code::TooSlow,
        Code::Unauthenticated,
        Code::Withdrawn,
    ];

    /// As it stands in a problem's `code`, and at the end of its `type`.
    pub fn as_str(self) -> &'static str {
        self.facts().word
    }

    /// The status that it is answered with.
    pub fn status(self) -> StatusCode {
        self.facts().status
    }

    /// The problem's `title`.
    pub fn title(self) -> &'static str {
        self.facts().title
    }

    /// What it means, why, and what to do, in English and in Korean, Markdown.
    pub fn pages(self) -> [&'static str; 2] {
        self.facts().pages
    }

    fn facts(self) -> Facts {
        match self {
            Code::BadCursor => Facts {
                word: "bad_cursor",
                status: StatusCode::BAD_REQUEST,
                title: "The cursor does not fit",
                pages: [
                    include_str!("../../../../docs/error-codes/bad_cursor.md"),
                    include_str!("../../../../docs/error-codes/bad_cursor.ko.md"),
                ],
            },
            Code::BadQuery => Facts {
                word: "bad_query",
                status: StatusCode::BAD_REQUEST,
                title: "The query cannot be read",
                pages: [
                    include_str!("../../../../docs/error-codes/bad_query.md"),
                    include_str!("../../../../docs/error-codes/bad_query.ko.md"),
                ],
            },
            Code::Busy => Facts {
                word: "busy",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "Busy",
                pages: [
                    include_str!("../../../../docs/error-codes/busy.md"),
                    include_str!("../../../../docs/error-codes/busy.ko.md"),
                ],
            },
            Code::EmptyLog => Facts {
                word: "empty_log",
                status: StatusCode::NOT_FOUND,
                title: "An empty log",
                pages: [
                    include_str!("../../../../docs/error-codes/empty_log.md"),
                    include_str!("../../../../docs/error-codes/empty_log.ko.md"),
                ],
            },
            Code::Internal => Facts {
                word: "internal",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                title: "Something broke here",
                pages: [
                    include_str!("../../../../docs/error-codes/internal.md"),
                    include_str!("../../../../docs/error-codes/internal.ko.md"),
                ],
            },
            Code::MethodNotAllowed => Facts {
                word: "method_not_allowed",
                status: StatusCode::METHOD_NOT_ALLOWED,
                title: "Not with this method",
                pages: [
                    include_str!("../../../../docs/error-codes/method_not_allowed.md"),
                    include_str!("../../../../docs/error-codes/method_not_allowed.ko.md"),
                ],
            },
            Code::NeedsHttp11 => Facts {
                word: "needs_http_1_1",
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                title: "HTTP/1.1 needed",
                pages: [
                    include_str!("../../../../docs/error-codes/needs_http_1_1.md"),
                    include_str!("../../../../docs/error-codes/needs_http_1_1.ko.md"),
                ],
            },
            Code::NoSuchPage => Facts {
                word: "no_such_page",
                status: StatusCode::NOT_FOUND,
                title: "No such page",
                pages: [
                    include_str!("../../../../docs/error-codes/no_such_page.md"),
                    include_str!("../../../../docs/error-codes/no_such_page.ko.md"),
                ],
            },
            Code::NoSuchSeries => Facts {
                word: "no_such_series",
                status: StatusCode::NOT_FOUND,
                title: "No such series",
                pages: [
                    include_str!("../../../../docs/error-codes/no_such_series.md"),
                    include_str!("../../../../docs/error-codes/no_such_series.ko.md"),
                ],
            },
            Code::NotAcceptable => Facts {
                word: "not_acceptable",
                status: StatusCode::NOT_ACCEPTABLE,
                title: "Not in this form",
                pages: [
                    include_str!("../../../../docs/error-codes/not_acceptable.md"),
                    include_str!("../../../../docs/error-codes/not_acceptable.ko.md"),
                ],
            },
            Code::NotCovered => Facts {
                word: "not_covered",
                status: StatusCode::FORBIDDEN,
                title: "Not covered by a consent",
                pages: [
                    include_str!("../../../../docs/error-codes/not_covered.md"),
                    include_str!("../../../../docs/error-codes/not_covered.ko.md"),
                ],
            },
            Code::OtherFirm => Facts {
                word: "other_firm",
                status: StatusCode::FORBIDDEN,
                title: "Another firm's",
                pages: [
                    include_str!("../../../../docs/error-codes/other_firm.md"),
                    include_str!("../../../../docs/error-codes/other_firm.ko.md"),
                ],
            },
            Code::QueryTooLong => Facts {
                word: "query_too_long",
                status: StatusCode::URI_TOO_LONG,
                title: "The query is too long",
                pages: [
                    include_str!("../../../../docs/error-codes/query_too_long.md"),
                    include_str!("../../../../docs/error-codes/query_too_long.ko.md"),
                ],
            },
            Code::QuotaExceeded => Facts {
                word: "quota_exceeded",
                status: StatusCode::TOO_MANY_REQUESTS,
                title: "Today's rows are used up",
                pages: [
                    include_str!("../../../../docs/error-codes/quota_exceeded.md"),
                    include_str!("../../../../docs/error-codes/quota_exceeded.ko.md"),
                ],
            },
            Code::RateLimited => Facts {
                word: "rate_limited",
                status: StatusCode::TOO_MANY_REQUESTS,
                title: "Too many requests",
                pages: [
                    include_str!("../../../../docs/error-codes/rate_limited.md"),
                    include_str!("../../../../docs/error-codes/rate_limited.ko.md"),
                ],
            },
            Code::StoreAway => Facts {
                word: "store_away",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The store is away",
                pages: [
                    include_str!("../../../../docs/error-codes/store_away.md"),
                    include_str!("../../../../docs/error-codes/store_away.ko.md"),
                ],
            },
            Code::TooManyReads => Facts {
                word: "too_many_reads",
                status: StatusCode::TOO_MANY_REQUESTS,
                title: "Too many reads at once",
                pages: [
                    include_str!("../../../../docs/error-codes/too_many_reads.md"),
                    include_str!("../../../../docs/error-codes/too_many_reads.ko.md"),
                ],
            },
            Code::TooSlow => Facts {
                word: "too_slow",
                status: StatusCode::GATEWAY_TIMEOUT,
                title: "It took too long",
                pages: [
                    include_str!("../../../../docs/error-codes/too_slow.md"),
                    include_str!("../../../../docs/error-codes/too_slow.ko.md"),
                ],
            },
            Code::Unauthenticated => Facts {
                word: "unauthenticated",
                status: StatusCode::UNAUTHORIZED,
                title: "Who are you?",
                pages: [
                    include_str!("../../../../docs/error-codes/unauthenticated.md"),
                    include_str!("../../../../docs/error-codes/unauthenticated.ko.md"),
                ],
            },
            Code::Withdrawn => Facts {
                word: "withdrawn",
                status: StatusCode::FORBIDDEN,
                title: "The consent ended",
                pages: [
                    include_str!("../../../../docs/error-codes/withdrawn.md"),
                    include_str!("../../../../docs/error-codes/withdrawn.ko.md"),
                ],
            },
        }
    }
}
