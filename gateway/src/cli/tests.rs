use clap::CommandFactory as _;

use super::*;
use crate::config::tests::example;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn check_shows_each_request_with_its_wire_addresses() {
    let text = check::text(&example(str::to_owned), true);
    let (summary, plan) = text.split_once("\n\nDEVICE").unwrap();
    assert!(summary.starts_with("hanbit-mould/press-hall: 2 endpoints, 2 devices, 9 signals; config "), "{summary}");
    assert!(summary.contains(
        "modbus-tcp 192.168.0.10:502  press-plc  unit 1                2 requests every 1s for 4 values; 1 request every 10s for 1 value\n"
    ), "{summary}");
    assert_eq!(
        plan,
        "     EVERY  FUNCTION  WIRE ADDRESSES   COUNT  SIGNALS
press-plc  1s     FC1       coil 0           1      running@0
press-plc  1s     FC3       holding 100–110  11     tonnage@100 strokes@102 alarm@110
press-plc  10s    FC4       input 7          1      oil@7
"
    );
    let json: serde_json::Value = serde_json::from_str(&check::json(&example(str::to_owned)).unwrap()).unwrap();
    assert_eq!(json["requests"][1]["address"], 100);
    assert_eq!(json["devices"][0]["signals"], 5);
}
