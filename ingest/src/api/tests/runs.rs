//! What a firm's staff notes of its runs.

use super::*;
use crate::auth::{Secret, TokenKind};
use crate::consent::{Role, SharedForm};
use crate::id::MemberId;

/// A token of hanbit's in a capacity.
pub(super) async fn token(complex: &Complex, role: Role) -> String {
    let token = Secret::mint(TokenKind::Member).unwrap();
    let added = Change::AddMember {
        id: MemberId::random(),
        firm: firm("hanbit"),
        name: "이바람".into(),
        role,
        until_us: None,
        token: token.hash(),
    };
    complex.access.apply(added, "command line").await.unwrap();
    token.reveal()
}

async fn post(pages: &Router, path: &str, token: &str, kind: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = Request::post(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let request = request.header(header::CONTENT_TYPE, kind).body(body.into()).unwrap();
    let response = pages.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&text(response).await).unwrap())
}

fn at(second: i64) -> String {
    rfc3339(BEGIN + second * SECOND_US)
}

#[tokio::test]
async fn staff_note_runs_as_json_and_as_a_table_and_a_customer_reads_his_alone() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let staff = token(&complex, Role::FirmStaff).await;
    complex.agree(1, SharedForm::Raw, |agreed| agreed.runs_of = Some("새솔".to_owned())).await;
    let pulled = async || {
        let target = pull("&purpose=quality&limit=2000", 0, 1_000);
        let (status, page) = json_of(&pages, &target, &complex.partner.1).await;
        (status.as_u16(), page["readings"].as_array().map(Vec::len), page["code"].clone())
    };
    assert_eq!(pulled().await, (403, None, json!("not_covered")));
    let csv = format!(
        "asset,id,customer,from,to\npress-1,L1,새솔,{},{}\npress-1,L2,대한,{},{}\npress-1,L3,새솔,{},\n",
        at(100),
        at(200),
        at(200),
        at(300),
        at(300)
    );
    let (status, told) = post(&pages, "/v1/runs", &staff, "text/csv; charset=utf-8", csv.clone()).await;
    assert_eq!((status, &told["runs"]), (200, &json!(3)), "{told}");
    assert_eq!(pulled().await.1, Some(100), "the open one is nobody's");
    // The end of one, and again, and corrected after it was read.
    let run = |to: i64| json!({ "asset": "press-1", "id": "L3", "customer": "새솔", "from": at(300), "to": at(to) });
    for (to, rows) in [(350, 150), (350, 150), (310, 110)] {
        let body = json!({ "runs": [run(to)] }).to_string();
        assert_eq!(post(&pages, "/v1/runs", &staff, "application/json", body).await.0, 200);
        assert_eq!(pulled().await.1, Some(rows));
    }
    let (_, first) = json_of(&pages, "/v1/runs?limit=2", &staff).await;
    assert_eq!(
        first["runs"][0],
        json!({ "asset": "press-1", "id": "L1", "customer": "새솔", "from": at(100), "to": at(200) })
    );
    let next = first["next"].as_str().unwrap().to_owned();
    let (_, rest) = json_of(&pages, &format!("/v1/runs?limit=2&after={next}"), &staff).await;
    assert_eq!((rest["runs"][0]["id"].as_str(), &rest["next"]), (Some("L3"), &json!(null)));
    let (_, some) = json_of(&pages, &format!("/v1/runs?asset=press-1&from={}&to={}", at(150), at(160)), &staff).await;
    assert_eq!(some["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_tag_tells_runs_and_what_is_wrong_is_told() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let officer = token(&complex, Role::DataOfficer).await;
    let mut lots = crate::access::fixture::force();
    lots.metric = "lot_no".parse().unwrap();
    complex.memory.put(&lots, [(BEGIN, 0.0), (BEGIN + 10 * SECOND_US, 5.0), (BEGIN + 20 * SECOND_US, 0.0)]);
    let asked = json!({ "asset": "press-1", "metric": "lot_no", "from": at(0), "to": at(60), "customer": "새솔" });
    let take =
        async |body: Value| post(&pages, "/v1/runs/from-tag", &officer, "application/json", body.to_string()).await;
    let (status, taken) = take(asked.clone()).await;
    assert_eq!(status, 200, "{taken}");
    assert_eq!(taken["runs"][0]["to"], at(20));
    assert_eq!(taken["runs"].as_array().unwrap().len(), 1);
    assert_eq!(take(asked.clone()).await.1["runs"], json!([]), "it is noted");
    for (name, value, status) in [
        ("metric", json!("none"), 404),
        ("customer", json!(null), 400),
        ("from", json!("2020-01-01T00:00:00Z"), 400),
        ("customer_metric", json!("lot_no"), 400),
        ("more", json!(1), 400),
    ] {
        let mut asked = asked.clone();
        asked[name] = value;
        assert_eq!(take(asked).await.0, status, "{name}");
    }
    let table = |body: &'static [u8]| post(&pages, "/v1/runs", &officer, "text/csv", body);
    let (status, told) =
        table(b"asset,id,customer,from,to\npress-1,L1,a,2026-03-01T00:00:00Z,\npress-1,L2,a,x,\n").await;
    assert_eq!((status, &told["code"]), (400, &json!("bad_body")));
    assert!(told["detail"].as_str().unwrap().starts_with("line 3:"), "{told}");
    assert_eq!(table(b"\xb0\xa1").await.0, 400);
    assert_eq!(post(&pages, "/v1/runs", &officer, "text/plain", "a").await.0, 400);
    let (_, all) = json_of(&pages, "/v1/runs", &officer).await;
    assert_eq!(all["runs"].as_array().unwrap().len(), 1, "nothing of a table that is wrong");
    assert_eq!(json_of(&pages, "/v1/runs?after=x", &officer).await.0, 400);
    // It is no business of whoever only reads.
    assert_eq!(json_of(&pages, "/v1/runs", &complex.owner.1).await.0, 401);
}
