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
    /// A body that is no JSON, or says too little, too much or something else.
    BadBody,
    /// A cursor of another request, or none at all.
    BadCursor,
    /// A link that makes nobody an officer.
    BadLink,
    /// A parameter is missing, unknown or wrong.
    BadQuery,
    /// Terms that nobody can agree to, or that are wider than a narrowing may be.
    BadTerms,
    /// A body beyond what a record can have.
    BodyTooLong,
    /// Too many requests of members are being answered.
    Busy,
    /// Nothing stands in the firm's log yet.
    EmptyLog,
    /// The service ends, and live streams with it.
    Ending,
    /// A fault of the service.
    Internal,
    /// The address is there and does not take this method.
    MethodNotAllowed,
    /// A stream cannot be told from its beginning over HTTP/1.0.
    NeedsHttp11,
    /// There are no terms to make it of, or the record asks for no papers.
    NoPage,
    /// There is none, or the asker has no part in it.
    NoSuchConsent,
    /// No firm that could share or read.
    NoSuchFirm,
    /// There is no such group.
    NoSuchGroup,
    /// The firm has no such officer.
    NoSuchOfficer,
    /// Nothing is at this address.
    NoSuchPage,
    /// There is none, or it was never shared with the asker.
    NoSuchSeries,
    /// `Accept` takes none of the forms that there are.
    NotAcceptable,
    /// A consent names the series and does not cover the request.
    NotCovered,
    /// Not in this state of the consent.
    NotNow,
    /// Not for somebody in this capacity or on this side.
    NotYours,
    /// The rules on officers say no.
    OfficerRefused,
    /// What is asked for is for another firm's own members.
    OtherFirm,
    /// Another page than the one that was read.
    OtherPage,
    /// Path and query are longer than is taken.
    QueryTooLong,
    /// As many rows as the consent allows in a day were read.
    QuotaExceeded,
    /// The requests of a minute are used up.
    RateLimited,
    /// A command has to say on what it was decided.
    RevisionNeeded,
    /// The rules on rosters say no.
    RosterRefused,
    /// Raw readings wait for a second yes.
    SecondOfficer,
    /// It was decided on an older revision.
    Stale,
    /// The database does not answer.
    StoreAway,
    /// The firm has as many consents open as it may.
    TooManyOpen,
    /// The firm has as many reads open as one may have.
    TooManyReads,
    /// As many live streams are open as may be.
    TooManyStreams,
    /// No answer was ready in time.
    TooSlow,
    /// No token, or one that is unknown or revoked.
    Unauthenticated,
    /// An officer who approves nothing yet.
    WaitingOfficer,
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
    pub const ALL: [Code; 41] = [
        Code::BadBody,
        Code::BadCursor,
        Code::BadLink,
        Code::BadQuery,
        Code::BadTerms,
        Code::BodyTooLong,
        Code::Busy,
        Code::EmptyLog,
        Code::Ending,
        Code::Internal,
        Code::MethodNotAllowed,
        Code::NeedsHttp11,
        Code::NoPage,
        Code::NoSuchConsent,
        Code::NoSuchFirm,
        Code::NoSuchGroup,
        Code::NoSuchOfficer,
        Code::NoSuchPage,
        Code::NoSuchSeries,
        Code::NotAcceptable,
        Code::NotCovered,
        Code::NotNow,
        Code::NotYours,
        Code::OfficerRefused,
        Code::OtherFirm,
        Code::OtherPage,
        Code::QueryTooLong,
        Code::QuotaExceeded,
        Code::RateLimited,
        Code::RevisionNeeded,
        Code::RosterRefused,
        Code::SecondOfficer,
        Code::Stale,
        Code::StoreAway,
        Code::TooManyOpen,
        Code::TooManyReads,
        Code::TooManyStreams,
        Code::TooSlow,
        Code::Unauthenticated,
        Code::WaitingOfficer,
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
            Code::BadBody => Facts {
                word: "bad_body",
                status: StatusCode::BAD_REQUEST,
                title: "The body cannot be read",
                pages: [
                    include_str!("../../../../docs/error-codes/bad_body.md"),
                    include_str!("../../../../docs/error-codes/bad_body.ko.md"),
                ],
            },
            Code::BadCursor => Facts {
                word: "bad_cursor",
                status: StatusCode::BAD_REQUEST,
                title: "The cursor does not fit",
                pages: [
                    include_str!("../../../../docs/error-codes/bad_cursor.md"),
                    include_str!("../../../../docs/error-codes/bad_cursor.ko.md"),
                ],
            },
            Code::BadLink => Facts {
                word: "bad_link",
                status: StatusCode::FORBIDDEN,
                title: "The link is not good",
                pages: [
                    include_str!("../../../../docs/error-codes/bad_link.md"),
                    include_str!("../../../../docs/error-codes/bad_link.ko.md"),
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
            Code::BadTerms => Facts {
                word: "bad_terms",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "Terms that cannot be agreed to",
                pages: [
                    include_str!("../../../../docs/error-codes/bad_terms.md"),
                    include_str!("../../../../docs/error-codes/bad_terms.ko.md"),
                ],
            },
            Code::BodyTooLong => Facts {
                word: "body_too_long",
                status: StatusCode::PAYLOAD_TOO_LARGE,
                title: "The body is too long",
                pages: [
                    include_str!("../../../../docs/error-codes/body_too_long.md"),
                    include_str!("../../../../docs/error-codes/body_too_long.ko.md"),
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
            Code::Ending => Facts {
                word: "ending",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The service ends",
                pages: [
                    include_str!("../../../../docs/error-codes/ending.md"),
                    include_str!("../../../../docs/error-codes/ending.ko.md"),
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
            Code::NoPage => Facts {
                word: "no_page",
                status: StatusCode::NOT_FOUND,
                title: "There is no such paper",
                pages: [
                    include_str!("../../../../docs/error-codes/no_page.md"),
                    include_str!("../../../../docs/error-codes/no_page.ko.md"),
                ],
            },
            Code::NoSuchConsent => Facts {
                word: "no_such_consent",
                status: StatusCode::NOT_FOUND,
                title: "No such consent",
                pages: [
                    include_str!("../../../../docs/error-codes/no_such_consent.md"),
                    include_str!("../../../../docs/error-codes/no_such_consent.ko.md"),
                ],
            },
            Code::NoSuchFirm => Facts {
                word: "no_such_firm",
                status: StatusCode::NOT_FOUND,
                title: "No such firm",
                pages: [
                    include_str!("../../../../docs/error-codes/no_such_firm.md"),
                    include_str!("../../../../docs/error-codes/no_such_firm.ko.md"),
                ],
            },
            Code::NoSuchGroup => Facts {
                word: "no_such_group",
                status: StatusCode::NOT_FOUND,
                title: "No such group",
                pages: [
                    include_str!("../../../../docs/error-codes/no_such_group.md"),
                    include_str!("../../../../docs/error-codes/no_such_group.ko.md"),
                ],
            },
            Code::NoSuchOfficer => Facts {
                word: "no_such_officer",
                status: StatusCode::NOT_FOUND,
                title: "No such officer",
                pages: [
                    include_str!("../../../../docs/error-codes/no_such_officer.md"),
                    include_str!("../../../../docs/error-codes/no_such_officer.ko.md"),
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
            Code::NotNow => Facts {
                word: "not_now",
                status: StatusCode::CONFLICT,
                title: "Not in this state",
                pages: [
                    include_str!("../../../../docs/error-codes/not_now.md"),
                    include_str!("../../../../docs/error-codes/not_now.ko.md"),
                ],
            },
            Code::NotYours => Facts {
                word: "not_yours",
                status: StatusCode::FORBIDDEN,
                title: "Not yours to do",
                pages: [
                    include_str!("../../../../docs/error-codes/not_yours.md"),
                    include_str!("../../../../docs/error-codes/not_yours.ko.md"),
                ],
            },
            Code::OfficerRefused => Facts {
                word: "officer_refused",
                status: StatusCode::CONFLICT,
                title: "Not with this officer",
                pages: [
                    include_str!("../../../../docs/error-codes/officer_refused.md"),
                    include_str!("../../../../docs/error-codes/officer_refused.ko.md"),
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
            Code::OtherPage => Facts {
                word: "other_page",
                status: StatusCode::CONFLICT,
                title: "Another page",
                pages: [
                    include_str!("../../../../docs/error-codes/other_page.md"),
                    include_str!("../../../../docs/error-codes/other_page.ko.md"),
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
            Code::RevisionNeeded => Facts {
                word: "revision_needed",
                status: StatusCode::PRECONDITION_REQUIRED,
                title: "Say the revision",
                pages: [
                    include_str!("../../../../docs/error-codes/revision_needed.md"),
                    include_str!("../../../../docs/error-codes/revision_needed.ko.md"),
                ],
            },
            Code::RosterRefused => Facts {
                word: "roster_refused",
                status: StatusCode::CONFLICT,
                title: "Not with this roster",
                pages: [
                    include_str!("../../../../docs/error-codes/roster_refused.md"),
                    include_str!("../../../../docs/error-codes/roster_refused.ko.md"),
                ],
            },
            Code::SecondOfficer => Facts {
                word: "second_officer",
                status: StatusCode::CONFLICT,
                title: "A second yes is needed",
                pages: [
                    include_str!("../../../../docs/error-codes/second_officer.md"),
                    include_str!("../../../../docs/error-codes/second_officer.ko.md"),
                ],
            },
            Code::Stale => Facts {
                word: "stale",
                status: StatusCode::PRECONDITION_FAILED,
                title: "It has changed meanwhile",
                pages: [
                    include_str!("../../../../docs/error-codes/stale.md"),
                    include_str!("../../../../docs/error-codes/stale.ko.md"),
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
            Code::TooManyOpen => Facts {
                word: "too_many_open",
                status: StatusCode::CONFLICT,
                title: "Too many are open",
                pages: [
                    include_str!("../../../../docs/error-codes/too_many_open.md"),
                    include_str!("../../../../docs/error-codes/too_many_open.ko.md"),
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
            Code::TooManyStreams => Facts {
                word: "too_many_streams",
                status: StatusCode::TOO_MANY_REQUESTS,
                title: "Too many live streams",
                pages: [
                    include_str!("../../../../docs/error-codes/too_many_streams.md"),
                    include_str!("../../../../docs/error-codes/too_many_streams.ko.md"),
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
            Code::WaitingOfficer => Facts {
                word: "waiting_officer",
                status: StatusCode::FORBIDDEN,
                title: "Wait to be confirmed",
                pages: [
                    include_str!("../../../../docs/error-codes/waiting_officer.md"),
                    include_str!("../../../../docs/error-codes/waiting_officer.ko.md"),
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
