use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use sandan_proto::v1::clock_offset::Source;

use super::*;
use crate::clock::ClockState;
use crate::config::tests::example;
use crate::health::BacklogState;

async fn get(health: &Health, path: &str) -> (StatusCode, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, health.clone(), stop.clone()));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(path).header("host", address.to_string()).body(Body::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    drop(sender);
    stop.cancel();
    server.await.unwrap().unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn health_status_and_metrics_agree() {
    let health = Health::new(&example(str::to_owned));
    health.answered(0, 0, Some(Duration::from_millis(2)));
    health.refused(0, 1, Some(Duration::from_millis(2)), "coil 0: exception 2");
    health.add_readings(41);
    health.set_backlog(BacklogState { readings: 3_000, ..BacklogState::default() });
    health.set_clock(ClockState {
        source: Some(Source::System),
        deviation_us: Some(-2_500_000),
        ..ClockState::default()
    });
    assert_eq!(get(&health, "/healthz").await, (StatusCode::OK, "ok\n".into()));
    assert_eq!(get(&health, "/nothing").await.0, StatusCode::NOT_FOUND);
    let status: Status = serde_json::from_str(&get(&health, "/status").await.1).unwrap();
    assert_eq!((status.gateway.as_str(), status.readings_total), ("hanbit-mould/press-hall", 41));
    let (code, metrics) = get(&health, "/metrics").await;
    assert_eq!(code, StatusCode::OK);
    let labels = "{device=\"press-plc\",endpoint=\"modbus-tcp 192.168.0.10:502\"}";
    for line in [
        "# TYPE sandan_gateway_readings_total counter".to_owned(),
        "sandan_gateway_readings_total 41".to_owned(),
        "sandan_gateway_spool_cap_bytes 1073741824.0".to_owned(),
        "sandan_gateway_uplink_connected 0.0".to_owned(),
        "sandan_gateway_spool_backlog_readings 3000.0".to_owned(),
        "sandan_gateway_clock_known 1.0".to_owned(),
        "sandan_gateway_clock_deviation_seconds -2.5".to_owned(),
        "# TYPE sandan_gateway_clock_stored_deviation_seconds gauge".to_owned(),
        format!("sandan_gateway_link_up{labels} 1.0"),
        format!("sandan_gateway_link_polls_total{labels} 2"),
        format!("sandan_gateway_link_failures_total{labels} 1"),
    ] {
        assert!(metrics.lines().any(|given| given == line), "no `{line}` in\n{metrics}");
    }
}
