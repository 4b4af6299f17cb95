//! The forms of `GET /v1/readings`: pages and streams of JSON, NDJSON and CSV.

use super::*;

fn with(accept: &str, target: &str, token: &str) -> Request<Body> {
    let request = Request::get(target).header(header::ACCEPT, accept);
    request.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn values(lines: &[Value]) -> Vec<f64> {
    lines.iter().filter_map(|line| line["value"].as_f64()).collect()
}

#[tokio::test]
async fn the_form_is_what_accept_likes_best_and_the_query_before_it() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.owner.1);
    for (accept, rest, wanted) in [
        ("*/*", "", "application/json"),
        ("text/csv", "", "text/csv; charset=utf-8"),
        ("application/json;q=0.3, application/x-ndjson", "", "application/x-ndjson"),
        ("text/html, */*;q=0.1", "", "application/json"),
        ("application/json", "&format=csv", "text/csv; charset=utf-8"),
        ("image/png", "&format=ndjson", "application/x-ndjson"),
    ] {
        let response = pages.clone().oneshot(with(accept, &pull(rest, 0, 10), token)).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], wanted, "{accept} {rest}");
    }
    let response = pages.clone().oneshot(with("image/png", &pull("", 0, 10), token)).await.unwrap();
    assert_eq!(response.status(), 406);
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["code"], "not_acceptable");
    assert_eq!(problem["detail"], "there is application/json, application/x-ndjson, text/csv");
}

#[tokio::test]
async fn a_stream_of_ndjson_says_what_it_is_where_it_is_and_that_it_is_whole() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.owner.1);
    let whole = lines(&text(get(&pages, &pull("&format=ndjson", 0, 2_500), token).await).await);
    assert_eq!((&whole[0]["form"], &whole[0]["series"]["metric"]), (&json!("raw"), &json!("press_force")));
    assert_eq!(values(&whole), (0..2_500).map(f64::from).collect::<Vec<_>>());
    assert_eq!(whole[1], json!({ "time": "2026-03-02T00:00:00Z", "value": 0.0, "quality": "good" }));
    let end = &whole.last().unwrap()["end"];
    assert_eq!((&end["rows"], &end["next"], &end["gaps"]), (&json!(2_500), &Value::Null, &json!([])));

    // Whoever was cut off after the second cursor goes on there, and has each row once.
    let cursors: Vec<_> =
        whole.iter().enumerate().filter_map(|(at, line)| Some((at, line["cursor"].as_str()?))).collect();
    assert_eq!(cursors.len(), 2, "one behind each piece but the last");
    let (at, cursor) = cursors[1];
    let mut seen = values(&whole[..at]);
    let rest = get(&pages, &pull(&format!("&format=ndjson&cursor={cursor}"), 0, 2_500), token).await;
    let rest = lines(&text(rest).await);
    seen.extend(values(&rest));
    assert_eq!(seen, values(&whole));
    assert!(rest.last().unwrap().get("end").is_some());

    // A stream of nothing is whole too.
    let nothing = lines(&text(get(&pages, &pull("&format=ndjson", 5_000, 5_010), token).await).await);
    assert_eq!((nothing.len(), &nothing[1]["end"]["rows"]), (2, &json!(0)));
    let buckets = get(&pages, &pull("&format=ndjson&bucket=1h&functions=count", 0, 3_600), token).await;
    assert_eq!(lines(&text(buckets).await)[1], json!({ "start": "2026-03-02T00:00:00Z", "count": 3_000 }));
}

#[tokio::test]
async fn a_stream_of_ndjson_that_a_revocation_ends_has_no_end() {
    let complex = Complex::new().await;
    let pages = pages(&complex);
    let consent = complex.grant_raw().await;
    let mut body = get(&pages, &pull("&format=ndjson", 0, 3_000), &complex.partner.1).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let first = lines(std::str::from_utf8(&first).unwrap());
    assert!(first.last().unwrap()["cursor"].is_string());
    complex.revoke(consent).await;
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn any_form_comes_in_pages_where_a_limit_is_given() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.owner.1);
    for format in ["json", "ndjson", "csv"] {
        let (mut rest, mut rows) = (String::new(), 0);
        let mut pages_seen = 0;
        loop {
            let target = pull(&format!("&format={format}&limit=400{rest}"), 0, 1_000);
            // In one piece, so that an end is an end, also for HTTP/1.0.
            let mut request = with("*/*", &target, token);
            *request.version_mut() = axum::http::Version::HTTP_10;
            let response = pages.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let next = response.headers().get("sandan-cursor").map(|it| it.to_str().unwrap().to_owned());
            let page = text(response).await;
            pages_seen += 1;
            rows += page.matches("good").count();
            match format {
                "json" => assert_eq!(serde_json::from_str::<Value>(&page).unwrap()["next"], json!(next)),
                "ndjson" => assert_eq!(lines(&page).last().unwrap()["end"]["next"], json!(next)),
                _ => assert!(page.starts_with("time,"), "each page has its head"),
            }
            let Some(next) = next else { break };
            rest = format!("&cursor={next}");
        }
        assert_eq!((rows, pages_seen), (1_000, 3), "{format}");
    }
}

#[tokio::test]
async fn a_spreadsheet_gets_its_mark_and_no_formula() {
    let complex = Complex::new().await;
    let (pages, token) = (pages(&complex), &complex.owner.1);
    let marked = text(get(&pages, &pull("&format=csv&bom=true", 0, 2), token).await).await;
    assert!(marked.starts_with("\u{feff}time,firm"), "{marked}");
    let plain = text(get(&pages, &pull("&format=csv&bom=false&formulas=keep", 0, 2), token).await).await;
    assert_eq!(marked.trim_start_matches('\u{feff}'), plain);
    for (rest, part) in [
        ("&bom=true", "of CSV"),
        ("&format=ndjson&formulas=keep", "of CSV"),
        ("&format=csv&bom=1", "`bom` is true or false"),
        ("&format=csv&formulas=no", "guard or keep"),
    ] {
        let (status, problem) = json_of(&pages, &pull(rest, 0, 2), token).await;
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
}
