use sandan_proto::v1::SpoolHealth;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::tests::example;
use crate::health::{Health, UplinkState};
use crate::{clock, http};

#[tokio::test]
async fn a_running_gateway_is_asked_and_an_absent_one_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = example(|text| text.replace("127.0.0.1:7480", &address.to_string()));
    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, Health::new(&config), stop.clone()));
    assert_eq!(status(&config, false).await.unwrap(), ExitCode::SUCCESS);
    stop.cancel();
    server.await.unwrap().unwrap();
    let error = format!("{:#}", status(&config, false).await.unwrap_err());
    assert!(error.starts_with(&format!("no gateway answers on {address}; is it running?: ")), "{error}");
}

#[test]
fn everything_is_said_in_sentences() {
    let health = Health::new(&example(str::to_owned));
    health.answered(0, 0, Some(Duration::from_millis(4)));
    health.unreachable(1, "no connection to the broker: connection refused");
    let spool = SpoolHealth {
        unacked_records: 3,
        unacked_readings: 1_500,
        bytes_used: 5 << 20,
        bytes_cap: 1 << 30,
        oldest_unacked_ms: 90_000,
        damaged_records_total: 0,
        written_bytes_total: 0,
    };
    health.set_spool(spool);
    let now = clock::monotonic_us();
    let fault = Some("ingest.example:7443 does not answer".into());
    health.set_uplink(UplinkState { since_us: now - 300_000_000, fault, ..UplinkState::default() });
    let mut status = health.status(now);
    status.links[0].last_good_age_ms = Some(12);
    status.uptime_ms = 3 * 86_400_000;
    assert_eq!(
        sentences(&status),
        "hanbit-mould/press-hall runs for 3 days, version 0.1.0, 0 readings
press-plc (modbus-tcp 192.168.0.10:502) is up: last good value 12 ms ago, p99 5 ms
welder (mqtt 127.0.0.1:1883) is down: no connection to the broker: connection refused; no good value yet
spool: 1500 readings in 3 records wait for the ingest, 5 MiB of 1024 MiB used, the oldest since 90 s
uplink: not connected for 5 min: ingest.example:7443 does not answer
"
    );
}
