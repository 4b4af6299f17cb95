//! `/v1/dead-letters` over letters in memory.

use super::*;
use crate::access::Kind;

const PRESS: f64 = 86_753.25;

/// Letters 1 and 2 of one firm, the second of them undecodable, and 3 of another.
fn fill(complex: &Complex) {
    for (id, gateway) in [(1, "hanbit/gw"), (2, "hanbit/gw"), (3, "saesol/gw")] {
        complex.memory.put_aside(id, gateway, 1, PRESS);
    }
    complex.memory.letters.lock().unwrap().get_mut(&2).unwrap().readings = None;
}

async fn post(pages: &Router, target: &str, token: &str) -> (u16, Value) {
    let request = Request::builder().method("POST").uri(target).header("authorization", format!("Bearer {token}"));
    let response = pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&text(response).await).unwrap())
}

#[tokio::test]
async fn a_firm_lists_its_own_dead_letters_page_by_page_and_without_a_value() {
    let complex = Complex::new().await;
    fill(&complex);
    let (pages, token) = (pages(&complex), &complex.owner.1);
    let (status, first) = json_of(&pages, "/v1/dead-letters?limit=1", token).await;
    assert_eq!((status.as_u16(), &first["firm"], &first["next"]), (200, &json!("hanbit"), &json!(1)));
    assert_eq!(first["dead_letters"][0]["letters"][0]["reason"], "clock_unknown");
    let (_, rest) = json_of(&pages, "/v1/dead-letters?after=1", token).await;
    assert_eq!((rest["dead_letters"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert!(!format!("{first}{rest}").contains("86753"));
    let (status, problem) = json_of(&pages, "/v1/dead-letters?firm=saesol", token).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("other_firm")));
}

#[tokio::test]
async fn an_export_is_logged_and_gives_readings_or_bytes() {
    let complex = Complex::new().await;
    fill(&complex);
    let pages = pages(&complex);
    let response = get(&pages, "/v1/dead-letters/export", &complex.owner.1).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let lines: Vec<Value> = text(response).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "nothing of the other firm");
    assert_eq!((&lines[0]["value"], &lines[0]["asset"]), (&json!(PRESS), &json!("press-1")));
    assert_eq!((&lines[0]["time"], &lines[0]["monotonic_us"]), (&Value::Null, &json!(7)));
    assert_eq!(lines[1]["original"], "ff01");
    // A large one comes in pieces.
    if let Some(readings) = &mut complex.memory.letters.lock().unwrap().get_mut(&1).unwrap().readings {
        *readings = vec![readings[0].clone(); 9_000];
    }
    let whole = text(get(&pages, "/v1/dead-letters/export?id=1", &complex.owner.1).await).await;
    assert_eq!(whole.lines().count(), 9_000);
    assert_eq!(complex.log().await.last().unwrap().kind, Kind::DeadLettersExported);

    let control = rusqlite::Connection::open(complex.dir.path().join("control.db")).unwrap();
    control.execute("DROP TABLE audit", []).unwrap();
    assert_eq!(get(&pages, "/v1/dead-letters/export", &complex.owner.1).await.status(), 500, "no log, no export");
}

#[tokio::test]
async fn what_becomes_of_them_is_said_in_so_many_words_and_logged() {
    let complex = Complex::new().await;
    fill(&complex);
    let (pages, token) = (pages(&complex), &complex.owner.1);
    for target in ["/v1/dead-letters/retry", "/v1/dead-letters/discard?all=false", "/v1/dead-letters/discard?id=x"] {
        let (status, problem) = post(&pages, target, token).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_query")), "{target}");
    }
    let (status, problem) = post(&pages, "/v1/dead-letters/discard?all=true&firm=saesol", token).await;
    assert_eq!((status, &problem["code"]), (403, &json!("other_firm")));
    assert_eq!(get(&pages, "/v1/dead-letters/discard?all=true", token).await.status(), 405);

    let (_, done) = post(&pages, "/v1/dead-letters/retry?all=true", token).await;
    assert_eq!((&done["records"], &done["stored_readings"], &done["kept_records"]), (&json!(2), &json!(1), &json!(1)));
    // One that is another firm's is none, also by its number.
    let (_, done) = post(&pages, "/v1/dead-letters/discard?id=2,3", token).await;
    assert_eq!((&done["records"], &done["discarded_readings"]), (&json!(1), &json!(1)));
    assert_eq!(complex.memory.letters.lock().unwrap().keys().collect::<Vec<_>>(), [&3]);
    let log = complex.log().await;
    let kinds: Vec<_> = log.iter().rev().take(2).map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::DeadLettersDiscarded, Kind::DeadLettersRetried]);
    assert!(log.iter().all(|entry| !entry.detail_json().contains("86753")));
}

#[tokio::test]
async fn a_member_that_is_revoked_gets_no_further_piece_of_an_export() {
    let complex = Complex::new().await;
    complex.memory.put_aside(1, "hanbit/gw", 1, PRESS);
    if let Some(readings) = &mut complex.memory.letters.lock().unwrap().get_mut(&1).unwrap().readings {
        *readings = vec![readings[0].clone(); 20_000];
    }
    let pages = pages(&complex);
    let (member, token) = &complex.owner;
    let mut body = get(&pages, "/v1/dead-letters/export", token).await.into_body().into_data_stream();
    assert!(futures::StreamExt::next(&mut body).await.unwrap().is_ok(), "a first piece of the one record");
    let change = crate::store::control::Change::RevokeMember { id: member.id, firm: member.firm.clone() };
    complex.access.apply(change, "command line").await.unwrap();
    assert!(futures::StreamExt::next(&mut body).await.unwrap().is_err());
}
