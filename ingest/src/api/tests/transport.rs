//! What is said beside an answer, and how it travels: entity tags, compression, rates.

use std::io::Read;

use super::*;
use crate::access::Kind;

/// An answer to `target` with further headers.
async fn ask(pages: &Router, target: &str, token: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(target).header(header::AUTHORIZATION, format!("Bearer {token}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn header_of<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn tag(pages: &Router, target: &str, token: &str) -> String {
    header_of(&ask(pages, target, token, &[]).await, "etag").unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again_and_is_logged_all_the_same() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.partner.1);
    complex.grant_raw().await;
    let target = pull("", 0, 100);
    let first = ask(&pages, &target, token, &[]).await;
    assert_eq!(header_of(&first, "cache-control"), Some("private, no-cache"));
    assert_eq!(header_of(&first, "vary"), Some("Accept, Authorization"));
    let tag = header_of(&first, "etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    for known in [tag.clone(), tag.trim_start_matches("W/").to_owned(), format!("\"x\", {tag}"), "*".to_owned()] {
        let again = ask(&pages, &target, token, &[("if-none-match", &known)]).await;
        assert_eq!((again.status().as_u16(), header_of(&again, "etag")), (304, Some(&*tag)), "{known}");
        assert!(again.headers().contains_key("sandan-receipt") && again.headers().contains_key("ratelimit"));
        assert!(!again.headers().contains_key(header::CONTENT_TYPE));
        assert_eq!(text(again).await, "");
    }
    complex.access.finish().await;
    let log = complex.log().await;
    let repeated = log.iter().find(|entry| entry.kind == Kind::Repeated).unwrap();
    assert_eq!(repeated.detail["times"], 4.into(), "counted as reads of the same");
    let other = ask(&pages, &target, token, &[("if-none-match", "\"x\", W/\"y\"")]).await;
    assert_eq!(other.status(), 200);
    // Refusals and streams have none, and are not kept.
    for (target, status) in [(pull("&limit=x", 0, 10), 400), (pull("&format=csv", 0, 10), 200)] {
        let answer = ask(&pages, &target, token, &[("if-none-match", "*")]).await;
        assert_eq!((answer.status().as_u16(), header_of(&answer, "etag")), (status, None));
        assert_eq!(header_of(&answer, "cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_tag_changes_with_the_data_with_the_consents_and_with_the_form() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.partner.1);
    complex.grant_raw().await;
    let target = pull("", 2_990, 3_010);
    let before = tag(&pages, &target, token).await;
    assert_eq!(tag(&pages, &target, token).await, before);
    assert_ne!(tag(&pages, &(target.clone() + "&format=ndjson&limit=100"), token).await, before);
    // Another consent covers the same rows.
    complex.grant_raw().await;
    let with_another = tag(&pages, &target, token).await;
    assert_ne!(with_another, before);
    complex.memory.put(&crate::access::fixture::force(), [(BEGIN + 3_000 * SECOND_US, 1.0)]);
    assert_ne!(tag(&pages, &target, token).await, with_another);
}

#[tokio::test]
async fn what_is_worth_it_is_compressed_as_the_asker_would_have_it() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.owner.1);
    let target = pull("", 0, 1_000);
    let plain = ask(&pages, &target, token, &[]).await;
    assert_eq!(header_of(&plain, "content-encoding"), None);
    let plain = text(plain).await;
    for (wish, coding) in [("gzip", "gzip"), ("gzip;q=0.5, zstd", "zstd")] {
        for target in [target.clone(), pull("&format=ndjson", 0, 3_000)] {
            let response = ask(&pages, &target, token, &[("accept-encoding", wish)]).await;
            assert_eq!(header_of(&response, "content-encoding"), Some(coding));
            assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
            let vary: Vec<_> = response.headers().get_all("vary").into_iter().map(|it| it.to_str().unwrap()).collect();
            assert!(vary.contains(&"Accept-Encoding"), "{vary:?}");
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            let mut told = String::new();
            match coding {
                "gzip" => drop(flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut told).unwrap()),
                _ => told = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap(),
            }
            assert!(bytes.len() * 5 < told.len(), "{} of {}", bytes.len(), told.len());
            assert!(told == plain || told.ends_with("\"rows\":3000}}\n"), "{told}");
        }
    }
    // Small ones, problems and the console's kind are left as they are.
    for target in [pull("", 0, 5), pull("&format=csv", 0, 5), "/v1/nothing".to_owned()] {
        let response = ask(&pages, &target, token, &[("accept-encoding", "gzip")]).await;
        assert_eq!(header_of(&response, "content-encoding"), None, "{target}");
    }
}

#[tokio::test]
async fn a_compressed_stream_holds_nothing_back_and_breaks_off_as_a_plain_one() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let consent = complex.grant_raw().await;
    let target = pull("&format=csv", 0, 3_000);
    let response = ask(&pages, &target, &complex.partner.1, &[("accept-encoding", "gzip")]).await;
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let mut told = String::new();
    // The end is missing, and all that was handed on is there.
    assert!(flate2::read::GzDecoder::new(&*first).read_to_string(&mut told).is_err());
    assert_eq!(told.lines().count(), 1_001);
    complex.revoke(consent).await;
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_when_to_go_on() {
    let complex = Complex::new().await;
    let rates = Rates { token_per_minute: 3, firm_per_minute: 100 };
    let pages = limited(router(Arc::new(api(&complex, rates))), Arc::default());
    let (owner, partner) = (&complex.owner.1, &complex.partner.1);
    for (target, status) in [("/v1/series", 200), ("/v1/gaps?limit=x", 400), ("/v1/audit?firm=saesol", 403)] {
        let answer = ask(&pages, target, owner, &[]).await;
        assert_eq!(answer.status(), status);
        assert_eq!(header_of(&answer, "ratelimit-policy"), Some(r#""token";q=3;w=60, "firm";q=100;w=60"#));
        assert!(header_of(&answer, "ratelimit").unwrap().contains("\"token\";r="), "on every answer");
    }
    let refused = ask(&pages, "/v1/series", owner, &[]).await;
    assert_eq!(refused.status(), 429);
    assert!(header_of(&refused, "ratelimit").unwrap().starts_with("\"token\";r=0;"));
    let wait: u64 = header_of(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(text(refused).await.contains("rate_limited"));
    assert_eq!(ask(&pages, "/v1/series", partner, &[]).await.status(), 200, "of another firm");
    // Whoever is nobody has no rate.
    let nobody = ask(&pages, "/v1/series", "", &[]).await;
    assert_eq!((nobody.status().as_u16(), header_of(&nobody, "ratelimit")), (401, None));
}
