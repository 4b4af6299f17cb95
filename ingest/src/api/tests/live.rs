//! Live streams as a client sees them.

use super::*;
use crate::access::fixture::{NOW, force};

fn live(rest: &str) -> String {
    format!("/v1/readings/live?firm=hanbit&asset=press-1&metric=press_force{rest}")
}

async fn follow(pages: &Router, target: &str, token: &str, last: &str) -> Response {
    let request = Request::get(target).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let request = request.header("last-event-id", last).header(header::ACCEPT_ENCODING, "gzip");
    pages.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// The fields of the next event.
async fn event(body: &mut Body) -> (String, String, Value) {
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let text = std::str::from_utf8(&frame).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    (field("event: "), field("id: "), serde_json::from_str(&field("data: ")).unwrap())
}

fn put(complex: &Complex, commit: i64, seconds: std::ops::Range<i64>) {
    complex.now_us.store(NOW + seconds.end * SECOND_US, Ordering::Relaxed);
    complex.memory.put_in(commit, &force(), seconds.map(|s| (NOW + s * SECOND_US, s as f64)));
}

#[tokio::test]
async fn events_have_the_place_behind_them_and_the_last_one_says_why_it_is_the_last() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.partner.1);
    assert_eq!(follow(&pages, &live(""), token, "").await.status(), 404);
    let consent = complex.grant_raw().await;
    let response = follow(&pages, &live(""), token, "").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(response.headers().contains_key("sandan-receipt"));
    assert!(!response.headers().contains_key("content-encoding"));
    let mut body = response.into_body();
    let (kind, _, about) = event(&mut body).await;
    assert_eq!((kind.as_str(), &about["form"]), ("series", &json!("raw")));
    assert_eq!(about["consents"], json!([consent]));
    assert_eq!(about["series"]["metric"], "press_force");
    put(&complex, 2, 0..2);
    let (kind, place, data) = event(&mut body).await;
    assert_eq!(kind, "readings");
    assert_eq!(data["readings"][1], json!({ "time": rfc3339(NOW + SECOND_US), "value": 1.0, "quality": "good" }));
    put(&complex, 3, 2..4);
    assert_eq!(event(&mut body).await.2["readings"].as_array().unwrap().len(), 2);
    // Whoever goes on from the place before is given the same once more, and nothing else.
    let mut again = follow(&pages, &live(""), token, &place).await.into_body();
    assert_eq!(event(&mut again).await.0, "series");
    let (_, _, data) = event(&mut again).await;
    assert_eq!(data["readings"][0]["time"], rfc3339(NOW + 2 * SECOND_US));
    complex.revoke(consent).await;
    for mut body in [body, again] {
        let (kind, _, why) = event(&mut body).await;
        assert_eq!((kind.as_str(), &why["code"]), ("end", &json!("withdrawn")));
        assert!(body.frame().await.is_none());
    }
    assert_eq!(follow(&pages, &live(""), token, &place).await.status(), 403);
}

#[tokio::test]
async fn buckets_come_as_they_are_asked_for_and_what_cannot_be_followed_is_told() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.owner.1);
    let mut body = follow(&pages, &live("&bucket=10s&functions=mean,count"), token, "").await.into_body();
    assert_eq!(event(&mut body).await.2["form"], "bucketed");
    put(&complex, 2, 0..25);
    let (kind, _, data) = event(&mut body).await;
    assert_eq!((kind.as_str(), data["buckets"].as_array().unwrap().len()), ("buckets", 1), "waited for 10 s");
    assert_eq!(data["buckets"][0], json!({ "start": rfc3339(NOW), "mean": 4.5, "count": 10 }));
    for (target, last, code) in [
        ("&late=25h", "", "bad_query"),
        ("&from=now%2B1h", "", "bad_query"),
        ("&to=now", "", "bad_query"),
        ("&functions=mean", "", "bad_query"),
        ("", "1.2", "bad_cursor"),
        ("", "1.2.3.4", "bad_cursor"),
        ("", "9999999999999999.0.0", "bad_cursor"),
        ("&bucket=10s", "1.0.0", "bad_cursor"),
    ] {
        let refused = follow(&pages, &live(target), token, last).await;
        let problem: Value = serde_json::from_str(&text(refused).await).unwrap();
        assert_eq!(problem["code"], code, "{target} {last}: {problem}");
    }
    let json = Request::get(live("")).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let json = json.header(header::ACCEPT, "application/json").body(Body::empty()).unwrap();
    assert_eq!(pages.oneshot(json).await.unwrap().status(), 406);
}
