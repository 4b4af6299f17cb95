//! `/v1/consents`, `/v1/groups` and `/v1/officers`, as people's programs use them.

use super::*;
use crate::auth::{Secret, TokenKind};
use crate::consent::{Group, GroupKind, Role};
use crate::id::OperatorId;
use crate::store::control::SharingChange;
use crate::time::{DAY_US, HOUR_US};

const NOW: i64 = crate::access::fixture::NOW;

/// One request: what came back, its tag, and its JSON.
async fn asked(pages: &Router, method: &str, target: &str, token: &str, body: Option<Value>) -> (u16, String, Value) {
    sent(pages, method, target, token, &[], body).await
}

async fn sent(
    pages: &Router,
    method: &str,
    target: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> (u16, String, Value) {
    let mut request = Request::builder().method(method).uri(target);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    let response = pages.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["cache-control"], "no-store", "{method} {target}");
    let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    (status, tag, serde_json::from_str(&text(response).await).unwrap_or_default())
}

fn terms() -> Value {
    json!({
        "version": 2, "assets": ["press-1"], "metrics": ["press_force"], "dictionary": 1, "identity": "named",
        "relation": "customer", "reason": "치수 불량의 원인을 찾기 위해", "holders": ["품질팀"],
        "return_by_us": NOW + 60 * DAY_US, "form": { "bucketed": { "floor_us": 60_000_000, "functions": ["mean"] } },
        "minimum_age_us": 0, "event": { "from_us": null, "to_us": null }, "runs_of": null,
        "access": { "not_before_us": NOW, "until_us": NOW + 30 * DAY_US }, "late_data": true,
        "purposes": ["quality"], "onward_use": "holders", "quota_rows_per_day": null, "cohort_floor": null,
    })
}

/// A firm's first officer, by a one-off link.
async fn officer(complex: &Complex, pages: &Router, of: &str) -> String {
    let link = Secret::mint(TokenKind::OfficerLink).unwrap();
    let change = SharingChange::LinkOfficer { firm: firm(of), link: link.hash(), expires_us: NOW + HOUR_US };
    complex.access.apply(change.into(), "command line").await.unwrap();
    let body = json!({ "link": link.reveal(), "name": "김하늘" });
    let (status, _, first) = asked(pages, "POST", "/v1/officers/first", "", Some(body.clone())).await;
    assert_eq!((status, &first["firm"], &first["standing"]["state"]), (201, &json!(of), &json!("confirmed")));
    let (status, _, again) = asked(pages, "POST", "/v1/officers/first", "", Some(body)).await;
    assert_eq!((status, &again["code"]), (403, &json!("bad_link")));
    first["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_is_drafted_sent_tried_countered_accepted_approved_and_revoked() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let kim = officer(&complex, &pages, "hanbit").await;
    let partner = complex.partner.1.clone();
    let (status, _, drafted) =
        asked(&pages, "POST", "/v1/consents", &partner, Some(json!({ "grantor": "hanbit", "terms": terms() }))).await;
    assert_eq!(status, 201, "{drafted}");
    let id = drafted["consents"][0]["id"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("/v1/consents/{id}{rest}");
    assert_eq!(asked(&pages, "GET", &at(""), &kim, None).await.0, 404, "a draft is its author's alone");
    let (_, tag, page) = asked(&pages, "GET", &at("/page?lang=en"), &partner, None).await;
    assert!(page["text"].as_str().unwrap().starts_with("Consent to share machine data"), "{page}");
    let body = json!({ "page": page["page"] });
    let (status, _, problem) = asked(&pages, "POST", &at("/send"), &partner, Some(body.clone())).await;
    assert_eq!((status, &problem["code"]), (428, &json!("revision_needed")));
    let (status, sent_tag, sent_one) =
        sent(&pages, "POST", &at("/send"), &partner, &[("if-match", &tag)], Some(body.clone())).await;
    assert_eq!((status, &sent_one["state"], &*sent_tag), (200, &json!("requested"), "\"1\""));
    let (status, _, stale) = sent(&pages, "POST", &at("/send"), &partner, &[("if-match", &tag)], Some(body)).await;
    assert_eq!((status, &stale["code"]), (412, &json!("stale")));

    let (_, _, seen) = asked(&pages, "GET", &at(""), &kim, None).await;
    assert_eq!(seen["acts"], json!(["counter", "approve", "reject"]), "{seen}");
    let (_, _, tried) = asked(&pages, "POST", &at("/dry-run"), &kim, Some(json!({ "from": "now-7d" }))).await;
    assert_eq!((&tried["series"][0]["rows"], &tried["series"][0]["examples"][0]["mean"]), (&json!(50), &json!(29.5)));
    let (status, _, refused) = asked(&pages, "POST", &at("/dry-run"), &partner, Some(json!({}))).await;
    assert_eq!((status, &refused["code"]), (403, &json!("not_yours")));
    let (_, _, papers) = asked(&pages, "GET", &at("/papers"), &partner, None).await;
    assert!(papers["request"].as_str().unwrap().starts_with("기술자료 제공 요구서"), "{papers}");

    let mut coarser = terms();
    coarser["form"]["bucketed"]["floor_us"] = json!(120_000_000);
    let body = json!({ "revision": 1, "terms": coarser });
    let (status, _, countered) = asked(&pages, "POST", &at("/counter"), &kim, Some(body)).await;
    assert_eq!((status, &countered["turn"]), (200, &json!("grantee")));
    for (who, act, state) in [(&partner, "accept", "requested"), (&kim, "approve", "active")] {
        let (_, tag, page) = asked(&pages, "GET", &at("/page"), who, None).await;
        let body = json!({ "page": page["page"] });
        let (status, _, after) =
            sent(&pages, "POST", &at(&format!("/{act}")), who, &[("if-match", &tag)], Some(body)).await;
        assert_eq!((status, &after["state"]), (200, &json!(state)), "{act}: {after}");
    }
    let (_, _, list) = asked(&pages, "GET", "/v1/consents?state=active", &partner, None).await;
    assert_eq!((list["consents"].as_array().unwrap().len(), &list["next"]), (1, &Value::Null));
    // Revoking needs no revision, and once more is nothing more.
    let key = "7b1c3e0a-5a53-4f4c-9a0e-000000000001";
    for _ in 0..2 {
        let (status, _, after) =
            sent(&pages, "POST", &at("/revoke"), &kim, &[("idempotency-key", key)], Some(json!({}))).await;
        assert_eq!((status, &after["state"]), (200, &json!("revoked")));
    }
    let (_, _, end) = asked(&pages, "GET", &at(""), &partner, None).await;
    assert_eq!((&end["state"], &end["acts"]), (&json!("revoked"), &json!(["attest"])));
    assert!(end["signatures"].as_array().unwrap().iter().all(|it| it["side"] == "grantee" || it["by"].is_null()));
}

#[tokio::test]
async fn an_unknown_consent_and_one_of_others_are_the_same_404() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let body = json!({ "grantor": "hanbit", "terms": terms() });
    let (_, _, drafted) = asked(&pages, "POST", "/v1/consents", &complex.partner.1, Some(body)).await;
    let id = drafted["consents"][0]["id"].as_str().unwrap();
    let none = "7b1c3e0a-5a53-4f4c-9a0e-000000000009";
    for (method, rest, body) in [
        ("GET", "", None),
        ("GET", "/page", None),
        ("GET", "/papers", None),
        ("POST", "/dry-run", Some(json!({}))),
        ("POST", "/revoke", Some(json!({}))),
        ("POST", "/attest", Some(json!({ "revision": 0 }))),
    ] {
        let mut answers = Vec::new();
        for id in [id, none, "no-id"] {
            answers
                .push(asked(&pages, method, &format!("/v1/consents/{id}{rest}"), &complex.owner.1, body.clone()).await);
        }
        assert_eq!(answers[0].0, 404, "{method} {rest}");
        assert_eq!(answers[0].2["code"], "no_such_consent");
        assert!(answers.iter().all(|it| *it == answers[0]), "{method} {rest}: {answers:?}");
    }
    let (status, _, problem) =
        asked(&pages, "GET", &format!("/v1/consents?cursor={none}"), &complex.owner.1, None).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_cursor")));
}

#[tokio::test]
async fn what_cannot_be_read_or_agreed_to_is_named() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let token = &complex.partner.1;
    let with = |name: &str, value: Value| {
        let mut terms = terms();
        terms[name] = value;
        json!({ "grantor": "hanbit", "terms": terms })
    };
    let long: Vec<_> = (0..30_000).map(|n| format!("press-{n}")).collect();
    for (body, status, code) in [
        (json!({}), 400, "bad_body"),
        (json!({ "terms": terms() }), 400, "bad_body"),
        (json!({ "grantor": "hanbit", "grantee": "saesol", "terms": terms() }), 400, "bad_body"),
        (with("colour", json!("red")), 400, "bad_body"),
        (with("purposes", json!([])), 422, "bad_terms"),
        (with("reason", json!("공개\u{202e}안함")), 422, "bad_terms"),
        (with("assets", json!(long)), 413, "body_too_long"),
        (json!({ "grantor": "nobody", "terms": terms() }), 404, "no_such_firm"),
        (json!({ "grantor": "saesol", "terms": terms() }), 422, "bad_terms"),
        (json!({ "grantors_of": "none", "terms": terms() }), 404, "no_such_group"),
        (json!({ "grantee": "hanbit", "terms": terms() }), 403, "not_yours"),
    ] {
        let shown: String = body.to_string().chars().take(80).collect();
        let (got, _, problem) = asked(&pages, "POST", "/v1/consents", token, Some(body)).await;
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{shown}: {problem}");
    }
    let request =
        sent(&pages, "POST", "/v1/consents", token, &[("idempotency-key", "7")], Some(with("late_data", json!(true))));
    assert_eq!(request.await.2["code"], "bad_query");
    assert_eq!(
        asked(&pages, "POST", "/v1/consents/7/frobnicate", token, Some(json!({}))).await.2["code"],
        "no_such_page"
    );
}

#[tokio::test]
async fn officers_come_and_go_and_groups_change_by_those_who_may() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let kim = officer(&complex, &pages, "hanbit").await;
    let (status, _, minted) = asked(&pages, "POST", "/v1/officers", &kim, Some(json!({ "name": "박서연" }))).await;
    assert_eq!((status, &minted["standing"]["state"]), (201, &json!("waiting")));
    let (person, park) = (minted["person"].as_str().unwrap(), minted["token"].as_str().unwrap());
    let at = |deed: &str| format!("/v1/officers/{person}/{deed}");
    for (token, deed, status, code) in [
        (park, "confirm", 403, "not_yours"),
        (&*complex.owner.1, "confirm", 403, "not_yours"),
        (&*kim, "promote", 404, "no_such_page"),
        (&*kim, "confirm", 200, ""),
        (&*kim, "confirm", 409, "officer_refused"),
    ] {
        let (got, _, answer) = asked(&pages, "POST", &at(deed), token, None).await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{deed}: {answer}");
    }
    let (_, _, all) = asked(&pages, "GET", "/v1/officers", park, None).await;
    assert_eq!(all["officers"].as_array().unwrap().len(), 2);
    assert!(!all.to_string().contains("smb_"), "no token is shown twice");
    assert_eq!(asked(&pages, "POST", &at("remove"), &kim, None).await.0, 200);
    assert_eq!(asked(&pages, "GET", "/v1/officers", park, None).await.0, 401, "who is none any more is nobody");

    let group = SharingChange::SaveGroup {
        id: sandan_proto::id::GroupId::new("moulds").unwrap(),
        before: None,
        after: Group::new(GroupKind::SameIndustry, firm("hanbit"), [firm("hanbit")].into()),
    };
    complex.access.apply(group.into(), "command line").await.unwrap();
    let join = |firm: &str| Some(json!({ "firm": firm }));
    let (_, _, joined) = asked(&pages, "POST", "/v1/groups/moulds/join", &kim, join("saesol")).await;
    assert_eq!((&joined["roster"], &joined["firms"]), (&json!(2), &json!(["hanbit", "saesol"])));
    let (status, _, again) = asked(&pages, "POST", "/v1/groups/moulds/join", &kim, join("saesol")).await;
    assert_eq!((status, &again["code"]), (409, &json!("roster_refused")));
    let (status, _, refused) =
        asked(&pages, "POST", "/v1/groups/moulds/leave", &complex.partner.1, join("saesol")).await;
    assert_eq!((status, &refused["code"]), (403, &json!("not_yours")));
    let (_, _, groups) = asked(&pages, "GET", "/v1/groups", &complex.partner.1, None).await;
    assert_eq!(groups["groups"][0]["kind"], "same_industry");
}

#[tokio::test]
async fn the_alliance_suspends_what_is_in_force_and_nothing_else() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let alliance = Secret::mint(TokenKind::Operator).unwrap();
    let (id, name, role) = (OperatorId::random(), "얼라이언스".into(), Role::AllianceAdministrator);
    let added = Change::AddOperator { id, name, role, token: alliance.hash() };
    complex.access.apply(added, "command line").await.unwrap();
    let (alliance, kim) = (alliance.reveal(), officer(&complex, &pages, "hanbit").await);
    let body = json!({ "grantor": "hanbit", "terms": terms() });
    let (_, _, drafted) = asked(&pages, "POST", "/v1/consents", &complex.partner.1, Some(body)).await;
    let id = drafted["consents"][0]["id"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("/v1/consents/{id}/{rest}");
    for (who, act) in [(&complex.partner.1, "send"), (&kim, "approve")] {
        let (status, ..) = asked(&pages, "GET", &format!("/v1/consents/{id}"), &alliance, None).await;
        assert_eq!(status, 404, "what is not in force is between the two");
        let (_, tag, page) = asked(&pages, "GET", &at("page"), who, None).await;
        let body = Some(json!({ "page": page["page"] }));
        assert_eq!(sent(&pages, "POST", &at(act), who, &[("if-match", &tag)], body).await.0, 200);
    }
    let (_, _, list) = asked(&pages, "GET", "/v1/consents?grantor=hanbit", &alliance, None).await;
    assert_eq!(list["consents"][0]["state"], "active");
    assert_eq!(asked(&pages, "GET", "/v1/consents", &alliance, None).await.2["code"], "not_yours");
    let (status, _, held) = asked(&pages, "POST", &at("suspend"), &alliance, Some(json!({}))).await;
    assert_eq!((status, &held["held_by"], &held["acts"]), (200, &json!(["alliance"]), &json!(["resume"])));
    for act in ["revoke", "dry-run"] {
        let (status, ..) = asked(&pages, "POST", &at(act), &alliance, Some(json!({}))).await;
        assert_eq!(status, 403, "{act}");
    }
    let body = Some(json!({ "revision": held["revision"] }));
    let (status, _, refused) = asked(&pages, "POST", &at("resume"), &kim, body).await;
    assert_eq!((status, &refused["code"]), (409, &json!("not_now")));
}
