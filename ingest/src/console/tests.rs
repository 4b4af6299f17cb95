use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use sandan_proto::id::GatewayId;
use sandan_proto::v1;
use tower::ServiceExt;

use super::*;
use crate::access::fixture::{BEGIN, Complex};
use crate::access::{Chain, Kind};
use crate::auth::{Secret, TokenKind};
use crate::consent::Role;
use crate::id::OperatorId;
use crate::store::control::Change;

/// A reading with this value is stored and sent by; it must never be on a page.
const MARKER: f64 = 8_675_309.25;

struct Bed {
    complex: Complex,
    sessions: Sessions,
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
    let sessions = Sessions::new(complex.control.clone());
    let console = Console {
        access: complex.access.clone(),
        auth: complex.auth.clone(),
        sessions: sessions.clone(),
        passwords: Passwords::default(),
        complex: "saesol".into(),
        secure: true,
    };
    let console = Arc::new(console);
    Bed { complex, sessions, pages: router(console), token: token.reveal() }
}

impl Bed {
    async fn send(&self, request: axum::http::request::Builder, body: String) -> Response {
        self.pages.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }

    async fn get(&self, target: &str, cookie: &str) -> (u16, String) {
        let request =
            Request::builder().uri(target).header(header::COOKIE, format!("a=b; {SECURE_COOKIE}={cookie}; c=d"));
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
    let all = response.headers().get_all(header::SET_COOKIE);
    let cookie = all.iter().map(|it| it.to_str().unwrap()).find(|it| it.starts_with(SECURE_COOKIE)).unwrap();
    for wanted in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/"] {
        assert!(cookie.contains(wanted), "{cookie}");
    }
    cookie.split(';').next().unwrap().strip_prefix(SECURE_COOKIE).unwrap()[1..].to_owned()
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Bed {
    /// What a form answers that is sent with the browser's token and these fields.
    async fn press(&self, path: &str, cookie: &str, fields: &str) -> Response {
        let who = self.sessions.find(cookie, self.complex.access.now_us()).await.unwrap().unwrap();
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, FORM)
            .header(header::COOKIE, format!("{SECURE_COOKIE}={cookie}"));
        self.send(request, format!("csrf={}&{fields}", who.form_token())).await
    }

    /// Somebody in a role, signed in by a token.
    async fn as_role(&self, role: Role) -> String {
        let kind = if crate::auth::FIRM_ROLES.contains(&role) { TokenKind::Member } else { TokenKind::Operator };
        let secret = Secret::mint(kind).unwrap();
        let (name, token) = ("김하늘".to_owned(), secret.hash());
        let change = if kind == TokenKind::Member {
            let (id, firm) = (crate::id::MemberId::random(), crate::access::fixture::firm("hanbit"));
            Change::AddMember { id, firm, name, role, until_us: None, token }
        } else {
            Change::AddOperator { id: OperatorId::random(), name, role, token }
        };
        self.complex
            .control
            .apply(change, crate::store::control::Stamp { actor: "t".into(), now_us: 1 })
            .await
            .unwrap();
        cookie_of(&self.sign_in_with(&secret.reveal()).await)
    }
}

/// Each route × nobody and every role: as the table of routes says, and not otherwise.
#[tokio::test]
async fn every_route_lets_in_whom_its_guard_names_and_nobody_else() {
    let bed = bed().await;
    bed.gateway("hanbit/press-hall", vec![]);
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Gateway) {
        for route in ROUTES {
            let Guard::Page(roles) = route.guard else { continue };
            // Each of these may end the browser.
            let cookie = bed.as_role(role).await;
            let path = route.path.replace("{firm}", "hanbit").replace("{name}", "press-hall");
            let asked = |cookie: &str| {
                let request = Request::builder().method(route.method).uri(&path);
                let request = request.header(header::CONTENT_TYPE, FORM);
                bed.send(request.header(header::COOKIE, format!("{SECURE_COOKIE}={cookie}")), String::new())
            };
            for nobody in ["", "sse_x", &format!("sse_{}", "0".repeat(64))] {
                assert_eq!(asked(nobody).await.status(), 401, "{} {path}", route.method);
            }
            let status = asked(&cookie).await.status().as_u16();
            let may = roles.contains(&role);
            // A form without the page's token is refused whoever sends it.
            let wanted: &[u16] = if may && route.method == "GET" { &[200, 303] } else { &[403] };
            assert!(wanted.contains(&status), "{role}: {} {path}: {status}", route.method);
        }
    }
    for route in ROUTES.iter().filter(|it| it.guard == Guard::Public) {
        let request = Request::builder().method(route.method).uri(route.path);
        let status = bed.send(request, String::new()).await.status();
        assert_eq!(status, if route.method == "GET" { 200 } else { 415 }, "{}", route.path);
    }
}

#[tokio::test]
async fn signing_in_and_out() {
    let bed = bed().await;
    for wrong in ["sop_x", &format!("sop_{}", "0".repeat(64)), &format!("smb_{}", "0".repeat(64))] {
        let response = bed.sign_in_with(wrong).await;
        assert_eq!(response.status(), 401, "{wrong}");
        assert!(text(response).await.contains("This token is unknown or revoked."));
    }
    let response = bed.sign_in_with(&bed.token).await;
    assert_eq!((response.status().as_u16(), response.headers()[header::LOCATION].to_str().unwrap()), (303, "/"));
    let cookie = cookie_of(&response);
    assert_eq!(bed.get("/", &cookie).await.0, 200);
    assert_eq!(bed.signed_in_by().await, ["operator"]);
    let other = bed.signed_in().await;
    assert_eq!(bed.press("/sign-out", &cookie, "").await.status(), 303);
    assert_eq!((bed.get("/", &cookie).await.0, bed.get("/", &other).await.0), (401, 200));
    let third = bed.signed_in().await;
    assert_eq!(bed.press("/sign-out/everywhere", &other, "").await.status(), 303);
    assert_eq!((bed.get("/", &other).await.0, bed.get("/", &third).await.0), (401, 401));
}

/// A password of one's own: set by oneself, used from then on, and other browsers go.
#[tokio::test]
async fn a_password_is_set_by_its_person_and_signs_in_from_then_on() {
    let bed = bed().await;
    let (here, there) = (bed.signed_in().await, bed.signed_in().await);
    let fields = |password: &str, again: &str| format!("login=Kwanje&password={password}&again={again}");
    for (password, again) in [("short", "short"), ("quite long enough", "quite long enouhg"), ("kwanje", "kwanje")] {
        assert_eq!(bed.press("/account/password", &here, &fields(password, again)).await.status(), 422, "{password}");
    }
    let long = "quite long enough";
    assert_eq!(bed.press("/account/password", &here, &fields(long, long)).await.status(), 303);
    assert_eq!((bed.get("/", &here).await.0, bed.get("/", &there).await.0), (200, 401), "other browsers go");
    let sign_in = async |name: &str, password: &str| {
        let request = Request::post("/sign-in?lang=en").header(header::CONTENT_TYPE, FORM);
        bed.send(request, format!("login={name}&password={password}")).await
    };
    assert_eq!(sign_in("KWANJE", long).await.status(), 303);
    // Another person cannot take the name.
    let officer = bed.as_role(Role::DataOfficer).await;
    assert_eq!(bed.press("/account/password", &officer, &fields(long, long)).await.status(), 422);
    for _ in 0..5 {
        assert_eq!(sign_in("kwanje", "something else").await.status(), 401);
    }
    let told = text(sign_in("kwanje", long).await).await;
    assert!(told.contains("Too many wrong passwords"), "{told}");
    let entries = bed.complex.control.audit(&Chain::Complex, 0, 100).await.unwrap();
    assert!(entries.iter().any(|it| it.kind == Kind::PasswordSet));
    assert!(!format!("{entries:?}").contains(long));
}

#[tokio::test]
async fn a_browser_that_is_idle_or_old_is_signed_out() {
    let bed = bed().await;
    let cookie = bed.signed_in().await;
    let begun_us = bed.complex.access.now_us();
    let is_in = async |at_us: i64| bed.sessions.find(&cookie, at_us).await.unwrap().is_some();
    assert!(is_in(begun_us + crate::auth::IDLE_US - 1).await, "and it is seen now");
    assert!(is_in(begun_us + 2 * crate::auth::IDLE_US - 2).await);
    assert!(!is_in(begun_us + 4 * crate::auth::IDLE_US).await);
    let mut at_us = begun_us + 2 * crate::auth::IDLE_US;
    while at_us < begun_us + crate::auth::SESSION_LIFE_US {
        assert!(is_in(at_us).await);
        at_us += crate::auth::IDLE_US / 2;
    }
    assert!(!is_in(begun_us + crate::auth::SESSION_LIFE_US).await, "however much it was used");
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let bed = bed().await;
    let cookie = bed.signed_in().await;
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        let request = Request::post("/sign-in").header(name, value).header("host", "sandan.example");
        let answer = bed.send(request.header(header::CONTENT_TYPE, FORM), format!("token={}", bed.token)).await;
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    let request = Request::post("/gateways/hanbit/press-hall/care").header(header::CONTENT_TYPE, FORM);
    let request = request.header(header::COOKIE, format!("{SECURE_COOKIE}={cookie}"));
    let answer = bed.send(request, "kind=on_it&csrf=0".into()).await;
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn a_firms_people_see_their_own_gateways_and_nobody_elses() {
    let bed = bed().await;
    bed.gateway("hanbit/press-hall", vec![]);
    bed.gateway("saesol/heat", vec![]);
    for role in [Role::DataOfficer, Role::FirmStaff, Role::Installer, Role::Member] {
        let cookie = bed.as_role(role).await;
        let (status, page) = bed.get("/?lang=en", &cookie).await;
        assert_eq!(status, 200);
        assert!(page.contains("hanbit/press-hall") && !page.contains("saesol/"), "{role}: {page}");
        assert_eq!(bed.get("/gateways/saesol/heat", &cookie).await.0, 404, "{role}");
        let noted = bed.press("/gateways/saesol/heat/care", &cookie, "kind=visit&words=x").await;
        assert_eq!(noted.status(), 404, "{role}");
        let called = bed.press("/gateways/saesol/heat/contact", &cookie, "part=firm&name=x&phone=010").await;
        assert_eq!(called.status(), 404, "{role}");
    }
}

#[tokio::test]
async fn who_is_on_it_and_whom_to_call_stand_on_the_page() {
    let bed = bed().await;
    let down = v1::LinkHealth { device: "PLC-3".into(), state: v1::LinkState::Down.into(), ..Default::default() };
    let invited = Change::InviteGateway {
        id: GatewayId::new("hanbit/press-hall").unwrap(),
        token: crate::auth::TokenHash::of("inv"),
        expires_us: i64::MAX,
        added: true,
        replace: false,
    };
    bed.complex.access.apply(invited, "command line").await.unwrap();
    bed.gateway("hanbit/press-hall", vec![down]);
    let cookie = bed.signed_in().await;
    let path = "/gateways/hanbit/press-hall";
    let press = async |to: &str, fields: &str| bed.press(&format!("{path}/{to}"), &cookie, fields).await.status();
    assert_eq!(press("care", "kind=on_it").await, 303);
    assert_eq!(press("care", "kind=visit&words=fan+cleaned").await, 303);
    assert_eq!(press("contact", "part=installer&name=%EB%B0%95&phone=010-1234-5678").await, 303);
    assert_eq!(press("contact", "part=firm&name=x&phone=javascript:1").await, 422);
    assert_eq!(press("care", "kind=other&words=x").await, 404);
    let (_, now) = bed.get("/?lang=ko", &cookie).await;
    for wanted in ["관제실", "처리 중", r#"href="tel:01012345678""#, "1대 중 0대 정상", "PLC-3 <span"] {
        assert!(now.contains(wanted), "{wanted}: {now}");
    }
    let (_, page) = bed.get(&format!("{path}?lang=en"), &cookie).await;
    for wanted in ["fan cleaned", "Done with it", "‘PLC-3’ 장치의 전원이", r#"href="tel:01012345678""#] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert_eq!(press("care", "kind=on_it&end=yes").await, 303);
    assert!(!bed.get("/?lang=ko", &cookie).await.1.contains("처리 중"));
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
    let link = bed.sessions.open_link(None, bed.complex.access.now_us()).await.unwrap().reveal();
    // Whatever fetches the address to preview it uses nothing up.
    for method in ["HEAD", "GET", "GET"] {
        let request = Request::builder().method(method).uri(format!("/sign-in?link={link}&lang=en"));
        let response = bed.send(request, String::new()).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::REFERRER_POLICY]),
            (200, &HeaderValue::from_static("no-referrer"))
        );
        let page = text(response).await;
        assert!(method == "HEAD" || page.contains("action=\"/sign-in/link\""), "{page}");
        assert!(method == "HEAD" || page.contains(&format!("?link={link}&amp;lang=ko")), "{page}");
    }
    let press = async || {
        let request =
            Request::post("/sign-in/link?lang=en").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        bed.send(request, format!("link={link}")).await
    };
    let response = press().await;
    assert_eq!(response.status(), 303);
    assert_eq!(bed.get("/", &cookie_of(&response)).await.0, 200);
    assert_eq!(bed.signed_in_by().await, ["one-time"]);
    let again = press().await;
    assert_eq!(again.status(), 401);
    let (status, page) = bed.get(&format!("/sign-in?link={link}&lang=en"), "").await;
    assert_eq!(status, 401);
    assert!(page.contains("This link was used"), "{page}");
}

#[tokio::test]
async fn whoever_is_revoked_is_signed_in_nowhere() {
    let bed = bed().await;
    let cookie = bed.signed_in().await;
    let operators = bed.complex.control.operators().await.unwrap();
    bed.complex.access.apply(Change::RevokeOperator(operators[0].id), "command line").await.unwrap();
    assert_eq!(bed.get("/", &cookie).await.0, 401);
    assert_eq!(bed.sign_in_with(&bed.token).await.status(), 401);
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
    for wanted in ["press-plc 장치가 응답하지 않습니다 (3분째)", "연결됨", "한빛금형", "보관 1,234"]
    {
        assert!(ko.contains(wanted), "{wanted}: {ko}");
    }
    let (_, detail) = bed.get("/gateways/hanbit/press-hall?lang=ko", &cookie).await;
    for wanted in ["1,234건", "2026-03-02 09:00:00 KST</time> <span class=\"ago\">(1일 전)", "&lt;script&gt;"] {
        assert!(detail.contains(wanted), "{wanted}: {detail}");
    }
    for wanted in ["press-plc has not answered for 3\u{a0}min", "online", "All is well", "1 of 2 current."] {
        assert!(en.contains(wanted), "{wanted}: {en}");
    }
    assert!(ko.contains(r#"<html lang="ko">"#) && en.contains(r#"<html lang="en">"#));
    assert!(ko.find("hanbit/press-hall") < ko.find("saesol/heat"), "what is worst comes first");
    for page in [&ko, &en, &detail] {
        assert!(!page.contains("8675309") && !page.contains("8,675,309") && page.len() < 50 << 10);
        assert!(!page.contains("<script>") && page.contains(r#"http-equiv="refresh" content="10""#));
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
}

#[tokio::test]
async fn a_page_loads_nothing_from_elsewhere_and_may_not_be_kept() {
    let bed = bed().await;
    bed.gateway("hanbit/press-hall", vec![]);
    let cookie = bed.signed_in().await;
    let request = Request::get("/").header(header::COOKIE, format!("{SECURE_COOKIE}={cookie}"));
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
    let (_, ko) = bed.get("/gateways/hanbit/press-hall?lang=ko", &cookie).await;
    let (_, en) = bed.get("/gateways/hanbit/press-hall?lang=en", &cookie).await;
    assert!(ko.contains("저장하지 못한 측정값") && ko.contains("시각을 알 수 없음: 1,234건"), "{ko}");
    assert!(en.contains("Not stored") && en.contains("clock unknown: 1,234"), "{en}");
    for page in [&ko, &en] {
        assert!(!page.contains("8675309") && !page.contains("8,675,309"));
    }
}

#[tokio::test]
async fn a_page_that_comes_again_is_told_what_changed_meanwhile() {
    let bed = bed().await;
    let cookie = bed.signed_in().await;
    let first = async |last: Option<&str>| {
        let mut request = Request::get("/live").header(header::COOKIE, format!("{SECURE_COOKIE}={cookie}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let frame = bed.send(request, String::new()).await.into_body().frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    let id = |told: &str| told.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let begun = first(None).await;
    assert!(begun.contains("retry: 200") && !begun.contains("event:"), "{begun}");
    bed.gateway("hanbit/new", vec![]);
    let told = first(Some(&id(&begun))).await;
    assert!(told.contains("event: change\n"), "{told}");
    let other = first(Some("no number")).await;
    assert_eq!(id(&other), id(&told), "and nothing is new to whoever has seen it");
    assert!(!other.contains("event:"), "{other}");
}
