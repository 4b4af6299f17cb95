use sandan_proto::v1::SpoolHealth;
use sandan_proto::v1::clock_offset::Source;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::ClockState;
use crate::config::tests::example;
use crate::health::{BacklogState, Health, UplinkState};
use crate::{clock, http};

#[tokio::test]
async fn a_running_gateway_is_asked_and_an_absent_one_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = example(|text| text.replace("127.0.0.1:7480", &address.to_string()));
    let stop = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, Health::new(&config), stop.clone()));
    assert_eq!(status(&config, false).await.unwrap(), ExitCode::FAILURE, "it has no session");
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
        ..SpoolHealth::default()
    };
    health.set_spool(spool);
    let now = clock::monotonic_us();
    let fault = Some("ingest.example:7443 does not answer".into());
    health.set_uplink(UplinkState { since_us: now - 300_000_000, fault, ..UplinkState::default() });
    health.set_clock(ClockState { source: Some(Source::System), ..ClockState::default() });
    let mut status = health.status(now);
    status.links[0].last_good_age_ms = Some(12);
    status.links[0].signals = Some(SignalsStatus { good: 14, ..SignalsStatus::default() });
    status.links[1].signals = Some(SignalsStatus { good: 2, bad: 3, never_seen: 1, ..SignalsStatus::default() });
    status.uptime_ms = 3 * 86_400_000;
    assert_eq!(
        sentences(&status),
        "hanbit-mould/press-hall runs for 3 days, version 0.1.0, 0 readings
press-plc (modbus-tcp 192.168.0.10:502) is up: last good value 12 ms ago, p99 5 ms
welder (mqtt 127.0.0.1:1883) is down: no connection to the broker: connection refused; no good value yet; 2 of 6 signals are good: 3 bad, 1 never seen
spool: 1500 readings in 3 records wait for the ingest, 5 MiB of 1024 MiB used, the oldest since 90 s
uplink: not connected for 5 min: ingest.example:7443 does not answer
"
    );
}

#[test]
fn a_backlog_a_silence_and_a_wrong_clock_are_said() {
    let health = Health::new(&example(str::to_owned));
    let minutes = Duration::from_mins;
    let backlog = BacklogState {
        live_oldest: Duration::from_millis(800),
        records: 600,
        readings: 38_412,
        oldest: minutes(20),
        drains_in: Some(minutes(6)),
    };
    health.set_backlog(backlog);
    let link = UplinkState {
        connected: true,
        waiting: Duration::from_secs(45),
        asked_to_wait: Some("the firm sends more than 1000 readings a second".into()),
        notice: Some("the ingest's store was restored".into()),
        ..UplinkState::default()
    };
    health.set_uplink(link);
    health.set_clock(ClockState {
        source: Some(Source::Ingest),
        deviation_us: Some(-90_000_000),
        ..ClockState::default()
    });
    let said = sentences(&health.status(0));
    for expected in [
        "; backlog 38k, drains in 6 min; live data waits for 800 ms",
        "; nothing of what is sent was acknowledged for 45 s; the ingest asks to send later: the firm sends more",
        "\nnotice: the ingest's store was restored\n",
        "clock: this machine's is 90 s behind the ingest's; stored times are right\n",
    ] {
        assert!(said.contains(expected), "{expected:?} in {said}");
    }
    health.set_backlog(BacklogState { drains_in: None, ..backlog });
    health.set_clock(ClockState {
        source: Some(Source::System),
        deviation_us: Some(0),
        stored_deviation_us: Some(3_600_000_000),
    });
    let said = sentences(&health.status(0));
    assert!(said.contains("; backlog 38k, does not drain"), "{said}");
    assert!(said.ends_with("clock: readings of this boot are stored 60 min ahead of the ingest's time\n"), "{said}");
    health.set_clock(ClockState::default());
    assert!(sentences(&health.status(0)).contains("clock: not known yet"));
}

#[test]
fn what_is_wrong_now_is_summed_up() {
    let health = Health::new(&example(str::to_owned));
    health.answered(0, 0, Some(Duration::from_millis(4)));
    health.answered(1, 0, None);
    health.set_uplink(UplinkState { connected: true, ..UplinkState::default() });
    health.set_clock(ClockState { source: Some(Source::System), ..ClockState::default() });
    health.add_dropped(3);
    let well = health.status(clock::monotonic_us());
    assert_eq!(wrong(&well, 0), <[String; 0]>::default(), "what was lost before is over");
    assert_eq!(summed_up(&[]), "all is well\n");

    health.unreachable(1, "no connection to the broker");
    health.set_backlog(BacklogState { records: 9, readings: 900, ..BacklogState::default() });
    health.set_uplink(UplinkState { connected: true, waiting: Duration::from_secs(45), ..UplinkState::default() });
    let mut ill = health.status(clock::monotonic_us());
    ill.uplink.certificate_expires_us = Some(5);
    let all = wrong(&ill, 5);
    let wanted = [
        "device welder is down",
        "the ingest acknowledges nothing",
        "the backlog does not drain",
        "the certificate has expired",
    ];
    assert_eq!(all, wanted);
    assert_eq!(summed_up(&all[..2]), "wrong: device welder is down; the ingest acknowledges nothing\n");
    ill.links[1].state = "unknown".into();
    ill.uplink.connected = false;
    ill.clock.deviation_ms = Some(-2_001);
    assert_eq!(wrong(&ill, 4)[..1], ["the ingest is not connected"], "a device that had no time to answer is not ill");
    assert!(wrong(&ill, 4).contains(&"the clock is off".to_owned()));
}
