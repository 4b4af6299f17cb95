use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::access::fixture::{BEGIN, Complex, firm};
use crate::auth::route::Guard;
use crate::consent::{EventWindow, SharedForm};
use crate::metrics::Metrics;
use crate::store::control::{Change, Restored, Revocations, Stamp};
use crate::time::{SECOND_US, rfc3339};

mod audit;
mod consents;
mod dead_letters;
mod errors;
mod formats;
mod live;
mod openapi;
mod runs;
mod transport;

/// More than any test asks for.
const PLENTY: Rates = Rates { token_per_minute: 60_000, firm_per_minute: 60_000 };

fn api(complex: &Complex, rates: Rates) -> Api {
    Api {
        access: complex.access.clone(),
        auth: complex.auth.clone(),
        limiter: Limiter::new(rates),
        slots: Arc::default(),
        registry: Registry::default(),
    }
}

fn pages(complex: &Complex) -> Router {
    let metrics = Arc::new(Metrics::default());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let api = Api { registry, ..api(complex, PLENTY) };
    limited(router(Arc::new(api)), metrics)
}

async fn get(pages: &Router, target: &str, token: &str) -> Response {
    let mut request = Request::builder().uri(target);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn json_of(pages: &Router, target: &str, token: &str) -> (StatusCode, Value) {
    let response = get(pages, target, token).await;
    let status = response.status();
    (status, serde_json::from_str(&text(response).await).unwrap())
}

fn pull(rest: &str, from_s: i64, to_s: i64) -> String {
    let (from, to) = (rfc3339(BEGIN + from_s * SECOND_US), rfc3339(BEGIN + to_s * SECOND_US));
    format!("/v1/readings?firm=hanbit&asset=press-1&metric=press_force&from={from}&to={to}{rest}")
}

/// What each route answers to nobody, to a token of another kind, and to a member.
/// A route without a case here fails the test.
#[tokio::test]
async fn every_route_has_an_authorisation_case() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let operator = crate::auth::Secret::mint(crate::auth::TokenKind::Operator).unwrap();
    let added = crate::store::control::Change::AddOperator {
        id: crate::id::OperatorId::random(),
        name: "관제실".into(),
        role: crate::consent::Role::Operator,
        token: operator.hash(),
    };
    complex.access.apply(added, "command line").await.unwrap();
    let operator = operator.reveal();
    for route in routes() {
        let (target, nobody, other, member) = match route.path {
            "/v1/series" => ("/v1/series".to_owned(), 401, 401, 200),
            "/v1/readings" => (pull("", 0, 10), 401, 401, 404),
            "/v1/readings/live" => (pull("", 0, 10).replace("readings?", "readings/live?"), 401, 401, 400),
            "/v1/gaps" => ("/v1/gaps?firm=saesol".to_owned(), 401, 401, 200),
            // For those who note what a firm makes; this one is a member.
            "/v1/runs" | "/v1/runs/from-tag" => (route.path.to_owned(), 401, 401, 401),
            "/v1/audit" | "/v1/audit/head" => (format!("{}?firm=saesol", route.path), 401, 401, 200),
            path if path.starts_with("/v1/dead-letters") => (format!("{path}?all=true"), 401, 401, 200),
            "/healthz" | "/metrics" | "/v1/audit/keys" | "/v1/openapi.json" => (route.path.to_owned(), 200, 200, 200),
            "/errors/{code}" => ("/errors/busy".to_owned(), 200, 200, 200),
            "/alerts/{kind}" => ("/alerts/link_down".to_owned(), 200, 200, 200),
            // Without a body, and of what is not there.
            "/v1/officers/first" => (route.path.to_owned(), 400, 400, 400),
            "/v1/consents" if route.method == "GET" => (route.path.to_owned(), 401, 401, 200),
            "/v1/consents" => (route.path.to_owned(), 401, 401, 400),
            "/v1/consents/{id}/dry-run" | "/v1/consents/{id}/{act}" => {
                ("/v1/consents/1/revoke".to_owned(), 401, 401, 400)
            }
            path if path.starts_with("/v1/consents/{id}") => (path.replace("{id}", "1"), 401, 401, 404),
            "/v1/groups" => (route.path.to_owned(), 401, 401, 200),
            path if path.starts_with("/v1/groups/") => (path.replace("{group}", "none"), 401, 401, 400),
            "/v1/officers" if route.method == "GET" => (route.path.to_owned(), 401, 401, 200),
            "/v1/officers" => (route.path.to_owned(), 401, 401, 400),
            "/v1/officers/{person}/{deed}" => ("/v1/officers/1/confirm".to_owned(), 401, 401, 404),
            path => panic!("{path} has no authorisation case"),
        };
        assert_eq!(route.guard == Guard::Public, nobody != 401, "{}", route.path);
        let unknown = format!("smb_{}", "0".repeat(64));
        for (token, wanted) in
            [("", nobody), ("x", other), (&*unknown, other), (&*operator, other), (&*complex.partner.1, member)]
        {
            let request = Request::builder().method(route.method).uri(&target);
            let request = request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
            let status = pages.clone().oneshot(request).await.unwrap().status().as_u16();
            assert_eq!(status, wanted, "{} with `{token}`", route.path);
        }
    }
    assert_eq!(get(&pages, "/v1/nothing", &complex.owner.1).await.status(), 404);
}

/// Whoever is of a firm reads what is its own as far as the role goes, and only a member what
/// others share with it. An installer is let in until its time is over, and never sees a value.
#[tokio::test]
async fn each_capacity_gets_at_what_is_its_own() {
    use crate::auth::{Secret, TokenKind};
    use crate::consent::Role;
    let complex = Complex::new().await;
    let pages = pages(&complex);
    complex.grant_raw().await;
    let until_us = complex.access.now_us() + 60 * SECOND_US;
    let mut tokens = Vec::new();
    for (firm, role) in [
        ("hanbit", Role::FirmStaff),
        ("saesol", Role::FirmStaff),
        ("saesol", Role::DataOfficer),
        ("hanbit", Role::Installer),
    ] {
        let token = Secret::mint(TokenKind::Member).unwrap();
        let add = crate::store::control::Change::AddMember {
            id: crate::id::MemberId::random(),
            firm: crate::access::fixture::firm(firm),
            name: "박바다".into(),
            role,
            until_us: (role == Role::Installer).then_some(until_us),
            token: token.hash(),
        };
        complex.access.apply(add, "command line").await.unwrap();
        tokens.push(token.reveal());
    }
    let [own, staff, officer, installer] = &tokens[..] else { panic!() };
    let status = async |target: &str, token: &str| get(&pages, target, token).await.status().as_u16();
    let readings = pull("", 0, 10);
    // The consent is with saesol: its member reads under it, its staff and its officer do not.
    let found = [&complex.partner.1, staff, officer, own, installer];
    let wanted = [200, 404, 404, 200, 401];
    for (token, wanted) in found.into_iter().zip(wanted) {
        assert_eq!(status(&readings, token).await, wanted);
    }
    for token in [staff, officer] {
        let (_, list) = json_of(&pages, "/v1/series", token).await;
        assert_eq!(list["series"], serde_json::json!([]), "nothing of another firm is listed");
    }
    let of = |path: &str| format!("{path}?firm=saesol");
    assert_eq!(status(&of("/v1/audit"), staff).await, 401);
    assert_eq!(status(&of("/v1/audit"), officer).await, 200);
    assert_eq!(status("/v1/series", installer).await, 401);
    assert_eq!(status("/v1/gaps", installer).await, 200);
    complex.now_us.fetch_add(60 * SECOND_US, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(status("/v1/gaps", installer).await, 401, "its time is over");
}

#[tokio::test]
async fn a_member_that_is_revoked_is_nobody() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let (member, token) = &complex.owner;
    assert_eq!(get(&pages, "/v1/series", token).await.status(), 200);
    let change = crate::store::control::Change::RevokeMember { id: member.id, firm: member.firm.clone() };
    complex.access.apply(change, "command line").await.unwrap();
    assert_eq!(get(&pages, "/v1/series", token).await.status(), 401);
}

#[tokio::test]
async fn from_no_consent_over_a_bucketed_one_to_its_revocation() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.partner.1);
    let (status, problem) = json_of(&pages, &pull("", 0, 10), token).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("no_such_series")));
    let (_, missing) = json_of(&pages, &pull("", 0, 10).replace("press-1", "press-9"), token).await;
    assert_eq!(missing, problem, "a series that is not shared cannot be told from none");

    let consent = complex.grant_minutes().await;
    let (status, problem) = json_of(&pages, &pull("", 0, 10), token).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("not_covered")));
    assert_eq!(problem["reasons"][0]["code"], "raw_not_shared");
    assert_eq!(problem["reasons"][0]["consent"], json!(consent));
    let (_, problem) = json_of(&pages, &pull("&bucket=60s&function=mean,last", 0, 600), token).await;
    assert_eq!(problem["reasons"][0]["detail"], "not shared: last; shared: mean");
    let (_, problem) = json_of(&pages, &pull("&bucket=30s", 0, 600), token).await;
    assert_eq!(problem["reasons"][0]["code"], "resolution");

    let (status, answer) = json_of(&pages, &pull("&bucket=60s", 30, 200), token).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer["buckets"],
        json!([
            { "start": "2026-03-02T00:01:00Z", "mean": 89.5 },
            { "start": "2026-03-02T00:02:00Z", "mean": 149.5 },
        ])
    );
    assert_eq!(answer["served"], json!([{ "from": "2026-03-02T00:01:00Z", "to": "2026-03-02T00:03:00Z" }]));
    assert_eq!((&answer["form"], &answer["next"]), (&json!("bucketed"), &Value::Null));
    assert_eq!(answer["consents"], json!([consent]));

    complex.revoke(consent).await;
    let (status, problem) = json_of(&pages, &pull("&bucket=60s", 30, 200), token).await;
    assert_eq!((status.as_u16(), &problem["reasons"][0]["code"]), (403, &json!("revoked")));
}

#[tokio::test]
async fn ones_own_readings_come_in_pages() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.owner.1);
    let (mut seen, mut rest) = (Vec::new(), "&limit=400".to_owned());
    loop {
        let (status, page) = json_of(&pages, &pull(&rest, 0, 1_000), token).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["readings"].as_array().unwrap().iter().map(|row| row["value"].as_f64().unwrap()));
        match page["next"].as_str() {
            Some(next) => rest = format!("&limit=400&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..1_000).map(f64::from).collect::<Vec<_>>());
    let (_, page) = json_of(&pages, &pull("&limit=1", 0, 1), token).await;
    assert_eq!(page["readings"], json!([{ "time": "2026-03-02T00:00:00Z", "value": 0.0, "quality": "good" }]));
    assert_eq!(page["series"]["name"]["ko"], "1호 프레스");
    assert_eq!((&page["series"]["unit"], &page["series"]["other_units"]), (&json!("kN"), &json!(["tf"])));
    assert!(complex.log().await.is_empty(), "one's own reads are not logged");
}

#[tokio::test]
async fn csv_gives_the_whole_range_and_is_logged_before_its_first_byte() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    complex.grant_raw().await;
    let response = get(&pages, &pull("&format=csv", 0, 2_500), &complex.partner.1).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    // No byte of the body was asked for yet, and the log knows already.
    assert_eq!(complex.log().await.last().unwrap().kind.as_str(), "read_started");
    let body = text(response).await;
    let mut lines = body.split("\r\n");
    assert_eq!(lines.next(), Some("time,firm,asset,metric,unit,value,quality"));
    assert_eq!(lines.next(), Some("2026-03-02T00:00:00Z,hanbit,press-1,press_force,kN,0,good"));
    assert_eq!(lines.filter(|line| !line.is_empty()).count(), 2_499);
    complex.access.finish().await;
    let end = complex.log().await.pop().unwrap();
    assert_eq!(end.detail["bytes"], i64::try_from(body.len()).unwrap().into());

    let request = Request::builder()
        .uri(pull("&bucket=1h&function=count,mean", 0, 3_600))
        .header(header::ACCEPT, "text/csv")
        .header(header::AUTHORIZATION, format!("bearer {}", complex.owner.1));
    let response = pages.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(
        text(response).await,
        "start,firm,asset,metric,unit,mean,count\r\n2026-03-02T00:00:00Z,hanbit,press-1,press_force,kN,1499.5,3000\r\n"
    );
}

#[tokio::test]
async fn a_csv_that_a_revocation_ends_breaks_off() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let consent = complex.grant_raw().await;
    let response = get(&pages, &pull("&format=csv", 0, 3_000), &complex.partner.1).await;
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first.split(|byte| *byte == b'\n').count(), 1_002);
    complex.revoke(consent).await;
    let end = body.frame().await.unwrap();
    assert!(end.is_err(), "the body must not end as if it were whole");
    assert!(body.frame().await.is_none());
    // Who could not tell the difference gets nothing.
    let request = Request::get(pull("&format=csv", 0, 10))
        .version(axum::http::Version::HTTP_10)
        .header(header::AUTHORIZATION, format!("Bearer {}", complex.owner.1));
    let refused = pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), 505);
    // Revoked before the first byte was taken: not even that one leaves.
    let consent = complex.grant_raw().await;
    let mut body = get(&pages, &pull("&format=csv", 0, 3_000), &complex.partner.1).await.into_body();
    complex.revoke(consent).await;
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn the_list_says_what_is_shared_and_how() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let event = EventWindow { from_us: Some(BEGIN), to_us: None };
    let form = SharedForm::Bucketed {
        floor_us: 60 * SECOND_US,
        functions: [crate::consent::Function::Max, crate::consent::Function::Mean].into(),
    };
    let consent = complex.grant(form, event).await;
    let (_, list) = json_of(&pages, "/v1/series", &complex.partner.1).await;
    let series = &list["series"][0];
    assert_eq!((&series["firm"], &series["own"]), (&json!("hanbit"), &json!(false)));
    assert_eq!(series["other_units"], json!([]), "the owner's alone");
    assert_eq!(series["newest"], "2026-03-02T00:49:00Z", "no finer than the buckets");
    let shown = &series["consents"][0];
    assert_eq!((&shown["id"], &shown["functions"]), (&json!(consent), &json!(["mean", "max"])));
    assert_eq!((&shown["floor"], &shown["from"]), (&json!("1m"), &json!("2026-03-02T00:00:00Z")));
    let (_, list) = json_of(&pages, "/v1/series?firm=saesol", &complex.partner.1).await;
    assert_eq!(list["series"], json!([]));
}

#[tokio::test]
async fn a_firm_reads_its_own_log_by_pages() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    complex.grant_raw().await;
    let (_, first) = json_of(&pages, "/v1/audit?limit=3", &complex.owner.1).await;
    let numbers = |page: &Value| -> Vec<_> {
        page["entries"].as_array().unwrap().iter().map(|entry| entry["number"].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers(&first), &first["next"]), (vec![1, 2, 3], &json!(3)));
    let (_, rest) = json_of(&pages, "/v1/audit?firm=hanbit&after=3", &complex.owner.1).await;
    assert_eq!((numbers(&rest), &rest["next"]), (vec![4, 5], &Value::Null));
    assert_eq!(
        (&rest["entries"][0]["kind"], &rest["entries"][1]["kind"]),
        (&json!("consent_granted"), &json!("log_read"))
    );
    assert_eq!(rest["entries"][1]["actor"], json!(complex.owner.0.actor()));
    assert_eq!(rest["entries"][1]["detail"], json!({ "first": 1, "last": 3 }));
    // Who follows the log is not led on for ever by what that writes.
    for _ in 0..3 {
        let (_, own) = json_of(&pages, "/v1/audit?after=5", &complex.owner.1).await;
        assert_eq!((numbers(&own), &own["entries"][0]["detail"]), (vec![6], &json!({ "first": 4, "last": 5 })));
    }
    for other in ["hanbit", "nobody"] {
        let (status, problem) = json_of(&pages, &format!("/v1/audit?firm={other}"), &complex.partner.1).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("other_firm")));
        assert_eq!(get(&pages, &format!("/v1/gaps?firm={other}"), &complex.partner.1).await.status(), 403);
    }
}

#[tokio::test]
async fn a_firm_sees_what_its_gateways_declared_gone() {
    let complex = Complex::new().await;
    let (_, answer) = json_of(&pages(&complex), "/v1/gaps", &complex.owner.1).await;
    let gap = json!({
        "gateway": "hanbit/gw", "from": null, "to": "2026-03-02T00:00:00Z", "cause": "spool_full", "readings": 12,
        "clock": "estimated",
    });
    let restart = json!({
        "gateway": "hanbit/gw", "from": "2026-03-02T00:00:00Z", "to": null, "cause": "restart", "readings": null,
        "clock": "known",
    });
    assert_eq!(answer, json!({ "firm": "hanbit", "gaps": [gap, restart] }), "what a restart cost is not known");
}

#[tokio::test]
async fn bad_queries_are_told_what_is_wrong() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let base = "/v1/readings?firm=hanbit&asset=press-1&metric=press_force";
    for (target, part) in [
        ("/v1/readings".to_owned(), "missing field `firm`"),
        (base.to_owned(), "missing field `from`"),
        (format!("{base}&from=yesterday"), "`yesterday` is not a time"),
        (format!("{base}&from=now"), "`from` must be before `to`"),
        (format!("{base}&from=now-1h&form=raw"), "unknown field `form`"),
        (format!("{base}&from=now-1h&bucket=1"), "`1` is not a duration"),
        (format!("{base}&from=now-1h&bucket=1ms"), "a bucket is from 1s"),
        (format!("{base}&from=now-1h&function=mean"), "`functions` needs a `bucket`"),
        (format!("{base}&from=now-1h&tz=Asia/Seoul"), "`tz` needs a `bucket` of a day"),
        (format!("{base}&from=now-9d&bucket=1h&tz=Asia/Seoul"), "`tz` is for days"),
        (format!("{base}&from=now-9d&bucket=1d&tz=../../etc/passwd"), "is not a time zone"),
        (format!("{base}&from=now-1h&bucket=60s&function=mean&functions=min"), "write one of them"),
        (format!("{base}&from=now-1h&bucket=60s&function=median"), "`median` is not a function"),
        (format!("{base}&from=now-10s&bucket=1h"), "no whole bucket"),
        (format!("{base}&from=now-1h&limit=0"), "`limit` is from 1 to 10000"),
        (format!("{base}&from=now-1h&limit=ten"), "`limit` is a whole number from 0 on, not `ten`"),
        ("/v1/gaps?limit=-1".to_owned(), "`limit` is a whole number from 0 on, not `-1`"),
        ("/v1/audit?after=9223372036854775808".to_owned(), "`after` is a whole number from 0 on"),
        ("/v1/audit?after=x".to_owned(), "`after` is a whole number from 0 on, not `x`"),
        (format!("{base}&from=10000-01-01T00:00:00Z"), "lies beyond the times that are known here"),
        (format!("{base}&from=now-99999999d"), "lies beyond the times that are known here"),
        (format!("{base}&from=now-1h&cursor=x"), "the cursor does not belong"),
        (format!("{base}&from=now-1h&cursor=5.0"), "the cursor does not belong"),
        (format!("{base}&from=now-1h&format=xml"), "unknown variant `xml`"),
        (base.replace("hanbit", "Han%20bit") + "&from=now-1h", "is no firm id"),
    ] {
        let (status, problem) = json_of(&pages, &target, &complex.owner.1).await;
        assert_eq!(status, 400, "{target}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part) && !detail.contains("deserialize"), "{target}: {problem}");
    }
    let long = format!("{base}&from={}", "1".repeat(5_000));
    let (status, problem) = json_of(&pages, &long, "").await;
    assert_eq!((status.as_u16(), &problem["code"]), (414, &json!("query_too_long")));
}

#[tokio::test]
async fn another_method_is_a_problem_too() {
    let complex = Complex::new().await;
    for path in ["/v1/readings", "/healthz"] {
        let request = Request::builder().method("DELETE").uri(path).body(Body::empty()).unwrap();
        let response = pages(&complex).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let problem: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(problem["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn metrics_name_routes_and_never_firms() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    get(&pages, &pull("", 0, 10), &complex.owner.1).await;
    get(&pages, "/made/up", "").await;
    let shown = text(get(&pages, "/metrics", "").await).await;
    assert!(shown.contains(r#"sandan_ingest_http_responses_total{route="/v1/readings",status="200"} 1"#), "{shown}");
    assert!(shown.contains(r#"route="",status="404""#), "{shown}");
    assert!(!shown.contains(firm("hanbit").as_str()), "{shown}");
}

#[tokio::test]
async fn a_firm_that_asks_for_too_much_at_once_keeps_nobody_else_out() {
    let complex = Complex::new().await;
    let slots: Arc<Slots> = Arc::default();
    let api = Api { slots: slots.clone(), ..api(&complex, PLENTY) };
    let pages = limited(router(Arc::new(api)), Arc::default());
    let mut taken: Vec<_> = std::iter::from_fn(|| slots.take(&firm("hanbit"))).collect();
    assert!(taken.len() < 256, "one firm has not all places");
    let (status, problem) = json_of(&pages, "/v1/series", &complex.owner.1).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("busy")));
    assert_eq!(get(&pages, "/v1/series", &complex.partner.1).await.status(), 200);
    // However many members ask, whoever is nobody yet needs no place.
    for number in 0.. {
        let before = taken.len();
        taken.extend(std::iter::from_fn(|| slots.take(&firm(&format!("firm-{number}")))));
        if taken.len() == before {
            break;
        }
    }
    assert_eq!(get(&pages, "/v1/series", &complex.partner.1).await.status(), 503);
    assert_eq!(get(&pages, "/healthz", "").await.status(), 200);
    drop(taken);
    assert_eq!(get(&pages, "/v1/series", &complex.owner.1).await.status(), 200);
}

#[tokio::test]
async fn a_dead_store_of_readings_is_not_well() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    assert_eq!(get(&pages, "/healthz", "").await.status(), 200);
    complex.memory.dead.store(true, Ordering::Relaxed);
    complex.now_us.fetch_add(SECOND_US, Ordering::Relaxed);
    assert_eq!(get(&pages, "/healthz", "").await.status(), 503);
    complex.memory.dead.store(false, Ordering::Relaxed);
    assert_eq!(get(&pages, "/healthz", "").await.status(), 503, "asked once a second");
    complex.now_us.fetch_add(SECOND_US, Ordering::Relaxed);
    assert_eq!(get(&pages, "/healthz", "").await.status(), 200);
}

#[tokio::test]
async fn a_restore_and_a_witness_that_is_behind_are_told() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let id = complex.grant_raw().await;
    let told = async || {
        complex.now_us.fetch_add(SECOND_US, Ordering::Relaxed);
        let answer = get(&pages, "/healthz", "").await;
        assert_eq!(answer.status(), 200);
        text(answer).await
    };
    assert_eq!(told().await, "ok");
    let restored = Restored { why: "a test".into(), timeline: "t".into(), revocations: Revocations::default() };
    let by = Stamp { actor: "restore".into(), now_us: complex.access.now_us() };
    complex.control.after_restore(restored, by).await.unwrap();
    assert!(told().await.starts_with("ok\na restore suspended consents;"));
    let pull = "/v1/readings?firm=hanbit&asset=press-1&metric=press_force&from=now-1h";
    let denied = get(&pages, pull, &complex.partner.1).await;
    assert_eq!(denied.status(), 403);
    assert!(text(denied).await.contains("until its grantor confirms it"));
    let confirm = Change::Confirm { id, grantor: firm("hanbit"), grantee: firm("saesol") };
    complex.access.apply(confirm, "command line").await.unwrap();
    assert_eq!(get(&pages, pull, &complex.partner.1).await.status(), 200);
    assert_eq!(told().await, "ok");
}
