//! `/v1/consents`: what one's firm asks for, offers and shares, and every step of its life.

mod show;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use sandan_proto::id::{FirmId, GroupId};
use serde::Deserialize;
use serde_json::{Value, json};

use self::show::{consent, rehearsal};
use super::routes::Endpoint;
use super::{Api, Code, Problem, query};
use crate::access::{Between, ConsentError, Filter, MAX_CONSENT_PAGE, Order, Trial, Version, Wanted};
use crate::auth::Principal;
use crate::auth::route::Guard;
use crate::consent::{Act, OfficerRefusal, PageHash, Phase, Purpose, Refusal, RosterRefusal, Terms};
use crate::id::{CommandId, ConsentId};
use crate::time::{DAY_US, parse_time, shown};

/// Longest body: terms that list 1,000 machines and 1,000 metrics of 80 letters.
const MAX_BODY_BYTES: usize = 256 << 10;
/// What a dry run looks at unless it is said otherwise.
const TRIAL_US: i64 = 7 * DAY_US;

pub(super) const ROUTES: &[Endpoint] = &[
    Endpoint::get("/v1/consents", Guard::Person, || get(list)),
    Endpoint::post("/v1/consents", Guard::Person, || post(draft).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))),
    Endpoint::get("/v1/consents/{id}", Guard::Person, || get(one)),
    Endpoint::get("/v1/consents/{id}/page", Guard::Person, || get(page)),
    Endpoint::get("/v1/consents/{id}/papers", Guard::Person, || get(papers)),
    Endpoint::post("/v1/consents/{id}/dry-run", Guard::Person, || {
        post(dry_run).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
    }),
    Endpoint::post("/v1/consents/{id}/{act}", Guard::Person, || post(act).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))),
];

/// What a handler gives.
pub(super) type Answered = Result<Response, Problem>;
type Body<T> = Result<Json<T>, JsonRejection>;
type In<T> = Result<Path<T>, PathRejection>;
type Asked<T> = Result<Query<T>, QueryRejection>;

/// The body, or what is wrong with it.
pub(super) fn body<T>(body: Body<T>) -> Result<T, Problem> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(JsonRejection::BytesRejection(_)) => {
            Err(Problem::new(Code::BodyTooLong, "the body is longer than what it could have to say here"))
        }
        Err(rejection) => {
            let text = rejection.body_text();
            // What comes before the colon is how it was read, not what is wrong.
            let said = text.strip_prefix("Failed to deserialize the JSON body into the target type: ");
            Err(Problem::new(Code::BadBody, said.unwrap_or(&text)))
        }
    }
}

/// An id of the path. One that is none is of nobody.
fn id(id: In<String>) -> Result<ConsentId, Problem> {
    let parsed = id.ok().and_then(|Path(id)| id.parse().ok());
    parsed.ok_or_else(|| ConsentError::NotFound.into())
}

/// What makes a command that comes again known.
fn key(headers: &HeaderMap) -> Result<Option<CommandId>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let parsed = key.to_str().ok().and_then(|key| key.trim_matches('"').parse().ok());
    let wrong = || Problem::query("`Idempotency-Key` is a UUID, made anew for each command");
    parsed.map(Some).ok_or_else(wrong)
}

/// The revision of `If-Match`.
fn revision(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(tag) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let parsed = tag.to_str().ok().and_then(|tag| tag.trim_matches('"').parse().ok());
    let wrong = || Problem::query("`If-Match` is a revision in quotes, such as \"3\"");
    parsed.map(Some).ok_or_else(wrong)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    grantor: Option<FirmId>,
    state: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

async fn list(State(api): State<Arc<Api>>, Extension(person): Extension<Principal>, query: Asked<Listed>) -> Answered {
    let Listed { grantor, state, limit, cursor } = query?.0;
    let limit = query::page_limit(limit.as_deref(), MAX_CONSENT_PAGE)?;
    let phase = match &state {
        None => None,
        Some(word) => {
            let found = Phase::ALL.into_iter().find(|phase| phase.as_str() == word);
            Some(found.ok_or_else(|| Problem::query(&format!("there is no state `{}`", shown(word))))?)
        }
    };
    let behind = match &cursor {
        None => None,
        Some(cursor) => {
            Some(cursor.parse::<ConsentId>().map_err(|_| Problem::from(crate::access::AccessError::Cursor))?)
        }
    };
    let filter = Filter { grantor, phase };
    let page = match api.access.consents(&person.acts(), &filter, behind, limit).await {
        // Of what goes on from something that is not there.
        Err(ConsentError::NotFound) => return Err(crate::access::AccessError::Cursor.into()),
        other => other?,
    };
    let consents: Vec<_> = page.consents.iter().map(|it| consent(it, None)).collect();
    Ok(Json(json!({ "consents": consents, "next": page.next })).into_response())
}

/// Between whom: exactly one of the four.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drafted {
    /// A firm is asked.
    grantor: Option<FirmId>,
    /// For a group that one's firm coordinates.
    for_group: Option<GroupId>,
    /// Each firm of a group is asked.
    grantors_of: Option<GroupId>,
    /// One's own readings are offered to a firm.
    grantee: Option<FirmId>,
    /// Or to a group.
    grantee_group: Option<GroupId>,
    terms: Terms,
}

impl Drafted {
    fn between(self) -> Result<(Between, Terms), Problem> {
        let between = match (self.grantor, self.for_group, self.grantors_of, self.grantee, self.grantee_group) {
            (Some(grantor), group, None, None, None) => Between::Ask { grantor, group },
            (None, None, Some(group), None, None) => Between::AskEach(group),
            (None, None, None, Some(firm), None) => Between::Offer(firm),
            (None, None, None, None, Some(group)) => Between::OfferGroup(group),
            _ => {
                let detail = "say between whom: `grantor` (with `for_group` or without), `grantors_of`, `grantee` or `grantee_group`";
                return Err(Problem::new(Code::BadBody, detail));
            }
        };
        Ok((between, self.terms))
    }
}

async fn draft(
    State(api): State<Arc<Api>>,
    Extension(person): Extension<Principal>,
    headers: HeaderMap,
    wanted: Body<Drafted>,
) -> Answered {
    let key = key(&headers)?;
    let (between, terms) = body(wanted)?.between()?;
    let drafted = api.access.draft_consent(&person.acts(), Wanted { key, between, terms }).await?;
    let consents: Vec<_> = drafted.iter().map(|it| consent(it, None)).collect();
    Ok((StatusCode::CREATED, Json(json!({ "consents": consents }))).into_response())
}

async fn one(State(api): State<Arc<Api>>, Extension(person): Extension<Principal>, path: In<String>) -> Answered {
    let by = person.acts();
    let seen = api.access.consent(&by, id(path)?).await?;
    let acts = api.access.open_acts(&by, &seen).await?;
    Ok(tagged(seen.agreement().revision, &consent(&seen, Some(acts))))
}

/// An answer with the revision that commands are decided on.
fn tagged(revision: u64, json: &Value) -> Response {
    ([(header::ETAG, format!("\"{revision}\""))], Json(json)).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    lang: Option<String>,
}

impl Language {
    fn is_korean(&self) -> Result<bool, Problem> {
        match self.lang.as_deref() {
            None | Some("ko") => Ok(true),
            Some("en") => Ok(false),
            Some(_) => Err(Problem::query("`lang` is ko or en")),
        }
    }
}

async fn page(
    State(api): State<Arc<Api>>,
    Extension(person): Extension<Principal>,
    path: In<String>,
    query: Asked<Language>,
) -> Answered {
    let korean = query?.0.is_korean()?;
    let (seen, paper) = api.access.consent_page(&person.acts(), id(path)?).await?;
    let machines: Vec<_> = paper
        .machines
        .iter()
        .map(|(asset, name)| json!({ "asset": asset, "name_ko": name.ko, "name_en": name.en }))
        .collect();
    let revision = seen.agreement().revision;
    let json = json!({
        "consent": seen.id(),
        "revision": revision,
        "of": match paper.version { Version::Proposed => "proposal", Version::InForce => "in_force" },
        "page": paper.page.hash,
        "lang": if korean { "ko" } else { "en" },
        "text": if korean { paper.page.korean } else { paper.page.english },
        "machines": machines,
    });
    Ok(tagged(revision, &json))
}

async fn papers(
    State(api): State<Arc<Api>>,
    Extension(person): Extension<Principal>,
    path: In<String>,
    query: Asked<Language>,
) -> Answered {
    let korean = query?.0.is_korean()?;
    let (seen, paper) = api.access.consent_page(&person.acts(), id(path)?).await?;
    let papers = paper.papers.ok_or(ConsentError::NoPapers)?;
    let text = |name: crate::consent::Name| if korean { name.ko } else { name.en };
    let json = json!({
        "consent": seen.id(),
        "page": paper.page.hash,
        "lang": if korean { "ko" } else { "en" },
        "request": text(papers.request),
        "confidentiality": text(papers.confidentiality),
    });
    Ok(tagged(seen.agreement().revision, &json))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    from: Option<String>,
    to: Option<String>,
    purpose: Option<Purpose>,
    terms: Option<Terms>,
}

async fn dry_run(
    State(api): State<Arc<Api>>,
    Extension(person): Extension<Principal>,
    path: In<String>,
    tried: Body<Tried>,
) -> Answered {
    let id = id(path)?;
    let Tried { from, to, purpose, terms } = body(tried)?;
    let now_us = api.access.now_us();
    let to_us = to.map_or(Ok(now_us), |to| parse_time(&to, now_us))?;
    let from_us = from.map_or(Ok(to_us.saturating_sub(TRIAL_US)), |from| parse_time(&from, now_us))?;
    let trial = Trial { terms, from_us, to_us, purpose };
    let found = api.access.rehearse_consent(&person.acts(), id, trial).await?;
    Ok(Json(rehearsal(&found)).into_response())
}

/// What a command says beside its name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    revision: Option<u64>,
    page: Option<PageHash>,
    terms: Option<Terms>,
}

impl Ordered {
    fn act(self, word: &str) -> Result<Act, Problem> {
        let (page, terms) = (self.page, self.terms);
        let read = || {
            let detail = "say which page was read: its `page`, as `GET /v1/consents/{id}/page` gives it";
            page.ok_or_else(|| Problem::new(Code::BadBody, detail))
        };
        let whole = || terms.clone().ok_or_else(|| Problem::new(Code::BadBody, "say the whole new `terms`"));
        let act = match word {
            "send" => Act::Send { page: read()? },
            "accept" => Act::Accept { page: read()? },
            "approve" => Act::Approve { page: read()? },
            "counter" => Act::Counter { terms: whole()? },
            "narrow" => Act::Narrow { terms: whole()? },
            "amend" => Act::Amend { terms: whole()? },
            "reject" => Act::Reject,
            "withdraw" => Act::Withdraw,
            "suspend" => Act::Suspend,
            "resume" => Act::Resume,
            "revoke" => Act::Revoke,
            "relinquish" => Act::Relinquish,
            "attest" => Act::Attest,
            _ => return Err(Problem::no_such_page()),
        };
        let reads = matches!(act, Act::Send { .. } | Act::Accept { .. } | Act::Approve { .. });
        let proposes = matches!(act, Act::Counter { .. } | Act::Narrow { .. } | Act::Amend { .. });
        if (page.is_some() && !reads) || (terms.is_some() && !proposes) {
            return Err(Problem::new(Code::BadBody, &format!("`{word}` says something that it does not need")));
        }
        Ok(act)
    }
}

async fn act(
    State(api): State<Arc<Api>>,
    Extension(person): Extension<Principal>,
    path: In<(String, String)>,
    headers: HeaderMap,
    ordered: Body<Ordered>,
) -> Answered {
    let Ok(Path((consent_id, word))) = path else { return Err(Problem::no_such_page()) };
    let ordered = body(ordered)?;
    let (key, tag, said) = (key(&headers)?, revision(&headers)?, ordered.revision);
    if tag.is_some() && said.is_some() && tag != said {
        return Err(Problem::query("`If-Match` and `revision` say different revisions"));
    }
    let act = ordered.act(&word)?;
    let id = id(Ok(Path(consent_id)))?;
    let by = person.acts();
    let seen = api.access.act_on_consent(&by, id, Order { key, on: tag.or(said), act }).await?;
    let acts = api.access.open_acts(&by, &seen).await?;
    Ok(tagged(seen.agreement().revision, &consent(&seen, Some(acts))))
}

impl From<ConsentError> for Problem {
    fn from(error: ConsentError) -> Self {
        let error = match error {
            ConsentError::Access(error) => return error.into(),
            error => error,
        };
        let code = match &error {
            ConsentError::NotFound => Code::NoSuchConsent,
            ConsentError::NoSuchFirm(_) => Code::NoSuchFirm,
            ConsentError::NoSuchGroup(_) => Code::NoSuchGroup,
            ConsentError::NoSuchOfficer | ConsentError::Officer(OfficerRefusal::Unknown) => Code::NoSuchOfficer,
            ConsentError::BadLink => Code::BadLink,
            ConsentError::NoSay
            | ConsentError::Refused(Refusal::NoSay)
            | ConsentError::Officer(OfficerRefusal::NoSay)
            | ConsentError::Roster(RosterRefusal::NoSay) => Code::NotYours,
            ConsentError::RevisionNeeded => Code::RevisionNeeded,
            ConsentError::TooManyOpen => Code::TooManyOpen,
            ConsentError::NoPage | ConsentError::NoPapers => Code::NoPage,
            ConsentError::Trial(_) | ConsentError::Name => Code::BadBody,
            ConsentError::Busy => Code::Busy,
            ConsentError::Refused(Refusal::Waiting) => Code::WaitingOfficer,
            ConsentError::Refused(Refusal::Stale { .. }) => Code::Stale,
            ConsentError::Refused(Refusal::OtherPage) => Code::OtherPage,
            ConsentError::Refused(Refusal::Faults(_) | Refusal::WindowOver { .. } | Refusal::Wider) => Code::BadTerms,
            ConsentError::Refused(Refusal::SecondOfficer | Refusal::SecondThought { .. }) => Code::SecondOfficer,
            ConsentError::Refused(
                Refusal::NotNow { .. } | Refusal::Ended { .. } | Refusal::ProposalOpen | Refusal::HeldByAlliance,
            ) => Code::NotNow,
            ConsentError::Officer(_) => Code::OfficerRefused,
            ConsentError::Roster(_) => Code::RosterRefused,
            // Taken out above.
            ConsentError::Access(_) => Code::Internal,
        };
        Self::new(code, &error)
    }
}
