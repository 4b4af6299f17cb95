use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use sandan_proto::id::GatewayId;
use sandan_proto::v1;
use tower::ServiceExt;

use super::*;
use crate::access::Chain;
use crate::access::fixture::{BEGIN, Complex};
use crate::auth::{Secret, TokenKind};
use crate::consent::Role;
use crate::id::OperatorId;
use crate::store::control::{Change, Control};

/// A reading with this value is stored and sent by; it must never be on a page.
const MARKER: f64 = 8_675_309.25;

struct Bed {
    complex: Complex,
    sessions: Arc<Sessions>,
    console: Arc<Console>,
    pages: Router,
    token: String,
}

async fn bed() -> Bed {
    let complex = Complex::new().await;
    let token = Secret::mint(TokenKind::Operator).unwrap();
    let added = Change::AddOperator {
        id: OperatorId::random(),
        name: "관제실".into(),
        role: Role::Operator,
        token: token.hash(),
    };
    complex.access.apply(added, "command line").await.unwrap();
    let sessions = Arc::new(Sessions::default());
    let console = Console {
        access: complex.access.clone(),
        auth: complex.auth.clone(),
        sessions: sessions.clone(),
        complex: "saesol".into(),
        secure: true,
    };
    let console = Arc::new(console);
    Bed { complex, sessions, pages: router(console.clone()), console, token: token.reveal() }
}

impl Bed {
    async fn send(&self, request: axum::http::request::Builder, body: String) -> Response {
        self.pages.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    async fn get(&self, target: &str, cookie: &str) -> (u16, String) {
        let request = Request::builder().uri(target).header(header::COOKIE, format!("a=b; {COOKIE}={cookie}; c=d"));
        let response = self.send(request, String::new()).await;
        (response.status().as_u16(), text(response).await)
    }

    async fn sign_in_with(&self, token: &str) -> Response {
        let request =
            Request::post("/sign-in?lang=en").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, format!("token={token}")).await
    }

    /// The cookie of a browser that is signed in.
    async fn signed_in(&self) -> String {
        cookie_of(&self.sign_in_with(&self.token).await)
    }

    /// The first word on who signed in, of each entry.
    async fn signed_in_by(&self) -> Vec<String> {
        let log = self.complex.control.audit(&Chain::Complex, 0, 100).await.unwrap();
        let signed_in = log.into_iter().filter(|entry| entry.kind == Kind::SignedIn);
        signed_in.map(|entry| entry.actor.split(' ').next().unwrap().to_owned()).collect()
    }

    fn gateway(&self, id: &str, links: Vec<v1::LinkHealth>) {
        let id = GatewayId::new(id).unwrap();
        let fleet = &self.complex.fleet;
        fleet.enrol(id.clone());
        fleet.opened(&id, 1, &v1::Hello::default());
        let spool = v1::SpoolHealth { unacked_readings: 1_234, bytes_used: 5, bytes_cap: 100, ..Default::default() };
        fleet.health(&id, &v1::Health { spool: Some(spool), links, ..Default::default() });
        fleet.stored(&id, BEGIN);
    }
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn cookie_of(response: &Response) -> String {
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    for wanted in ["; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"] {
        assert!(cookie.contains(wanted), "{cookie}");
    }
    cookie.split(';').next().unwrap().strip_prefix(COOKIE).unwrap()[1..].to_owned()
}

/// What each route answers to a stranger and to an operator. A route without a case
/// here fails the test.
#[tokio::test]
async fn every_route_has_an_authorisation_case() {
    let bed = bed().await;
    for route in ROUTES {
        let (stranger, operator) = match (route.method, route.path) {
            ("GET", "/") | ("POST", "/sign-out") => (401, 200),
            ("GET", "/sign-in" | "/console.css") => (200, 200),
            // Without a form.
            ("POST", "/sign-in" | "/sign-in/link") => (415, 415),
            (method, path) => panic!("{method} {path} has no authorisation case"),
        };
        assert_eq!(route.guard == Guard::Operator, stranger == 401, "{}", route.path);
        for (cookie, wanted) in
            [(String::new(), stranger), ("sse_x".into(), stranger), (bed.signed_in().await, operator)]
        {
            let request = Request::builder()
                .method(route.method)
                .uri(route.path)
                .header(header::COOKIE, format!("{COOKIE}={cookie}"));
            let status = bed.send(request, String::new()).await.status().as_u16();
            assert_eq!(status, wanted, "{} {}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn signing_in_and_out() {
    let bed = bed().await;
    let member = bed.complex.owner.1.clone();
    for wrong in ["", "sop_x", &member, &format!("sop_{}", "0".repeat(64))] {
        let response = bed.sign_in_with(wrong).await;
        assert_eq!(response.status(), 401, "{wrong}");
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        assert!(text(response).await.contains("This token is unknown or revoked."));
    }
    let response = bed.sign_in_with(&bed.token).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::LOCATION]),
        (303, &"/?lang=en".parse::<HeaderValue>().unwrap())
    );
    let cookie = cookie_of(&response);
    assert_eq!(bed.get("/", &cookie).await.0, 200);
    assert_eq!(bed.signed_in_by().await, ["operator"]);
    let request = Request::post("/sign-out").header(header::COOKIE, format!("{COOKIE}={cookie}"));
    assert_eq!(bed.send(request, String::new()).await.status(), 200);
    assert_eq!(bed.get("/", &cookie).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn a_form_that_does_not_come_is_not_waited_for() {
    let bed = bed().await;
    let request = Request::post("/sign-in")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("content-length", "10");
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let answer = bed.pages.clone().oneshot(request.body(never).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 408);
}

#[tokio::test]
async fn a_one_time_link_signs_one_browser_in() {
    let bed = bed().await;
    let link = bed.sessions.open_link(bed.complex.access.now_us()).unwrap().reveal();
    // Whatever fetches the address to preview it uses nothing up.
    for method in ["HEAD", "GET", "GET"] {
        let request = Request::builder().method(method).uri(format!("/sign-in?link={link}&lang=en"));
        let response = bed.send(request, String::new()).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::REFERRER_POLICY]),
            (200, &HeaderValue::from_static("no-referrer"))
        );
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        let page = text(response).await;
        assert!(method == "HEAD" || page.contains("action=\"/sign-in/link?lang=en\""), "{page}");
        assert!(method == "HEAD" || page.contains(&format!("?link={link}&amp;lang=ko")), "{page}");
    }
    let press = async || {
        let request =
            Request::post("/sign-in/link?lang=en").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        bed.send(request, format!("link={link}")).await
    };
    let response = press().await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::LOCATION]),
        (303, &"/?lang=en".parse().unwrap())
    );
    assert_eq!(bed.get("/", &cookie_of(&response)).await.0, 200);
    assert_eq!(bed.signed_in_by().await, ["one-time"]);
    let again = press().await;
    assert_eq!(again.status(), 401);
    assert!(!again.headers().contains_key(header::SET_COOKIE));
    let (status, page) = bed.get(&format!("/sign-in?link={link}&lang=en"), "").await;
    assert_eq!(status, 401);
    assert!(page.contains("This link was used"), "{page}");
}

#[tokio::test]
async fn an_operator_who_is_revoked_while_signing_in_is_not_signed_in() {
    let bed = bed().await;
    let operator = bed.console.auth.operator(&bed.token).await.unwrap().unwrap();
    assert!(bed.console.open_session(operator, &bed.token).await.unwrap().is_some());
    // The token was looked up; now it goes, and with it every session that is there.
    bed.complex.access.apply(Change::RevokeOperator(operator), "command line").await.unwrap();
    bed.sessions.end_all_of(operator, bed.complex.access.now_us());
    assert!(bed.console.open_session(operator, &bed.token).await.unwrap().is_none());
    assert_eq!(bed.sessions.count(bed.complex.access.now_us()), 0);
}

#[tokio::test]
async fn a_page_tells_state_and_fault_in_words_and_never_a_value() {
    let bed = bed().await;
    bed.complex.memory.put(&crate::access::fixture::force(), [(BEGIN + 7, MARKER)]);
    let down = v1::LinkHealth {
        device: "press-plc".into(),
        endpoint: "modbus-tcp 10.0.0.5:502 unit 1".into(),
        state: v1::LinkState::Down.into(),
        fault: "<script>alert(1)</script>".into(),
        last_good_age_ms: Some(180_000),
        ..Default::default()
    };
    bed.gateway("hanbit/press-hall", vec![down]);
    bed.gateway("saesol/heat", vec![]);
    let cookie = bed.signed_in().await;
    let (_, ko) = bed.get("/?lang=ko", &cookie).await;
    let (_, en) = bed.get("/?lang=en", &cookie).await;
    for wanted in [
        "press-plc 장치가 응답하지 않습니다 (3분째)",
        "연결됨",
        "한빛금형",
        "1,234건",
        "2026-03-02 09:00:00 KST</time> <span class=\"ago\">(1일 전)",
    ] {
        assert!(ko.contains(wanted), "{wanted}: {ko}");
    }
    for wanted in ["press-plc has not answered for 3\u{a0}min", "online", "All is well", "(1\u{a0}day ago)"] {
        assert!(en.contains(wanted), "{wanted}: {en}");
    }
    assert!(ko.contains(r#"<html lang="ko">"#) && en.contains(r#"<html lang="en">"#));
    assert!(ko.find("hanbit/press-hall") < ko.find("saesol/heat"), "what is worst comes first");
    for page in [&ko, &en] {
        assert!(!page.contains("8675309") && !page.contains("8,675,309"));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(page.contains(r#"http-equiv="refresh" content="10""#));
    }
}

#[tokio::test]
async fn a_refused_gateway_stands_first_with_what_to_do() {
    let bed = bed().await;
    bed.gateway("hanbit/fine", vec![]);
    let id = GatewayId::new("saesol/heat").unwrap();
    bed.complex.fleet.enrol(id.clone());
    bed.complex.fleet.fenced(&id);
    let cookie = bed.signed_in().await;
    let (_, ko) = bed.get("/?lang=ko", &cookie).await;
    let (_, en) = bed.get("/?lang=en", &cookie).await;
    assert!(ko.contains("거절됨") && ko.contains("복사되었거나 이전 상태의 스풀입니다."), "{ko}");
    assert!(en.contains("refused") && en.contains("Its spool is a copy or an old state."), "{en}");
    for page in [&ko, &en] {
        assert!(page.contains("`sandan-ingest gateway release saesol/heat`"), "{page}");
        assert!(page.find("saesol/heat") < page.find("hanbit/fine"), "what is worst comes first");
    }
}

#[tokio::test]
async fn the_summary_counts_what_is_wrong_beside_what_is_connected() {
    let bed = bed().await;
    let down = v1::LinkHealth { device: "a".into(), state: v1::LinkState::Down.into(), ..Default::default() };
    bed.gateway("hanbit/down", vec![down]);
    bed.gateway("hanbit/gone", vec![]);
    bed.gateway("hanbit/fine", vec![]);
    bed.complex.fleet.enrol(GatewayId::new("hanbit/new").unwrap());
    bed.complex.fleet.closed(&GatewayId::new("hanbit/gone").unwrap(), 1, true);
    let cookie = bed.signed_in().await;
    let (_, ko) = bed.get("/?lang=ko", &cookie).await;
    let (_, en) = bed.get("/?lang=en", &cookie).await;
    assert!(
        ko.contains("문제 있음 <b>1</b>") && ko.contains("연결됨 <b>1</b>") && ko.contains("끊김 <b>1</b>"),
        "{ko}"
    );
    assert!(
        en.contains("needs attention <b>1</b>") && en.contains("degraded <b>1</b>") && en.contains("said goodbye"),
        "{en}"
    );
    assert_eq!(ko.matches("전송 대기 (마지막 보고)").count(), 1, "{ko}");
    assert_eq!(en.matches("Waiting to be sent (as last reported)").count(), 1, "{en}");
}

#[tokio::test]
async fn a_page_loads_nothing_from_elsewhere_and_may_not_be_kept() {
    let bed = bed().await;
    bed.gateway("hanbit/press-hall", vec![]);
    let cookie = bed.signed_in().await;
    let request = Request::get("/").header(header::COOKIE, format!("{COOKIE}={cookie}"));
    let response = bed.send(request, String::new()).await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = text(response).await;
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("style="), "{page}");
    let style = include_str!("style.css");
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[tokio::test]
async fn what_is_put_aside_is_shown_by_count_and_reason_alone() {
    let bed = bed().await;
    bed.gateway("hanbit/press-hall", vec![]);
    let count = 1_234;
    bed.complex.memory.put_aside(1, "hanbit/press-hall", count, MARKER);
    let cookie = bed.signed_in().await;
    let (_, ko) = bed.get("/?lang=ko", &cookie).await;
    let (_, en) = bed.get("/?lang=en", &cookie).await;
    assert!(ko.contains("저장하지 못한 측정값") && ko.contains("시각을 알 수 없음: 1,234건"), "{ko}");
    assert!(en.contains("Not stored") && en.contains("clock unknown: 1,234"), "{en}");
    for page in [&ko, &en] {
        assert!(!page.contains("8675309") && !page.contains("8,675,309"));
    }
}
