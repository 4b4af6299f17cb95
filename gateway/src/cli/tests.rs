use clap::CommandFactory as _;

use super::*;
use crate::config::Endpoint;
use crate::config::dictionary::Dictionary;
use crate::config::tests::example;

const ROUND_TRIP: Duration = Duration::from_millis(20);

#[test]
fn intervals_that_cannot_be_met_are_told_with_what_they_rest_on() {
    assert_eq!(check::unmet(&example(str::to_owned), ROUND_TRIP), "");
    let told = check::unmet(&example(str::to_owned), Duration::from_millis(600));
    assert!(
        told.starts_with(
            "modbus-tcp 192.168.0.10:502: a poll of `press-plc` takes 1200.0 ms, and its interval is 1s, if a device answers after 600ms\n  hint: lengthen intervals"
        ),
        "{told}"
    );
    let serial = "address = \"serial:/dev/ttyS0\"\nbaud = 300";
    let slow = example(|text| text.replace("address = \"tcp://192.168.0.10:502\"", serial));
    let told = check::unmet(&slow, ROUND_TRIP);
    assert!(told.contains("if a device answers after 20ms, and 300 baud"), "{told}");
}

#[test]
fn a_port_whose_name_changes_is_told_by_the_check() {
    let check = |path: &str| {
        let serial = format!("address = \"serial:{path}\"");
        check::text(&example(|text| text.replace("address = \"tcp://192.168.0.10:502\"", &serial)), None)
    };
    assert!(check("/dev/ttyUSB0").contains("note: /dev/ttyUSB0 may be another adapter"));
    assert!(check("/dev/ttyUSB0").contains("/dev/serial/by-id"));
    assert!(!check("/dev/serial/by-id/usb-FTDI_0-port0").contains("note:") && !check("/dev/ttyS0").contains("note:"));
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn check_shows_each_request_with_its_wire_addresses() {
    let text = check::text(&example(str::to_owned), Some(ROUND_TRIP));
    let (summary, plan) = text.split_once("\n\nDEVICE").unwrap();
    assert!(summary.starts_with("hanbit-mould/press-hall: 2 endpoints, 2 devices, 9 signals; config "), "{summary}");
    assert!(summary.contains(
        "modbus-tcp 192.168.0.10:502  press-plc  unit 1                2 requests every 1s for 4 values; 1 request every 10s for 1 value\n"
    ), "{summary}");
    assert_eq!(
        plan,
        "     EVERY  FUNCTION  WIRE ADDRESSES   COUNT  TAKES    SIGNALS
press-plc  1s     FC1       coil 0           1      20.0 ms  running@0
press-plc  1s     FC3       holding 100–110  11     20.0 ms  tonnage@100 strokes@102 alarm@110
press-plc  10s    FC4       input 7          1      20.0 ms  oil@7

LINE                         LONGEST POLL  BUSY  DEAD UNITS COST AT MOST  IF
modbus-tcp 192.168.0.10:502  40.0 ms       4 %   no neighbours            a device answers after 20ms
"
    );
    let json: serde_json::Value =
        serde_json::from_str(&check::json(&example(str::to_owned), ROUND_TRIP).unwrap()).unwrap();
    assert_eq!(json["requests"][1]["address"], 100);
    assert_eq!(json["devices"][0]["signals"], 5);
}

#[test]
fn check_plans_around_what_a_device_is_remembered_to_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("line.json");
    let neighbour = "\n  [[modbus.device]]\n  name = \"second\"\n  unit = 9\n  asset = \"press-1\"\n  signals = [ { name = \
                     \"a\", metric = \"x_a\", at = \"holding:0\", type = \"u16\" } ]\n\n[[mqtt]]\n";
    let mut config = example(|text| text.replacen("\n[[mqtt]]\n", neighbour, 1));
    let Endpoint::Modbus(modbus) = &mut config.endpoints[0] else { panic!("the first endpoint is Modbus") };
    modbus.memory = Some(file.clone());
    let shown = |config: &Config| check::text(config, Some(ROUND_TRIP));
    let unknown = shown(&config);
    assert!(unknown.contains("holding 100–110") && !unknown.contains("REFUSED"), "{unknown}");
    assert!(unknown.contains("3 × 1020.0 ms each, then 4 % together"), "{unknown}");

    // The alarm's own register, and one in the hole before it that nobody asks for.
    let refused = |address: u16| serde_json::json!({"unit": 1, "area": "holding", "address": address, "count": 1, "exception": 2});
    let memory = serde_json::json!({"version": 1, "refused": [refused(110), refused(101)]});
    std::fs::write(&file, memory.to_string()).unwrap();
    let text = shown(&config);
    let (summary, plan) = text.split_once("\n\nDEVICE").unwrap();
    assert!(
        summary.contains("3 requests every 1s for 3 values; 1 request every 10s for 1 value; 2 ranges refused\n"),
        "{summary}"
    );
    for row in ["holding 100      1      20.0 ms  tonnage@100", "holding 102–103  2      20.0 ms  strokes@102"] {
        assert!(plan.contains(row), "no `{row}` in {plan}");
    }
    let (_, named) = plan.split_once("\nDEVICE     REFUSED").unwrap();
    assert_eq!(
        named,
        format!(
            "      COUNT  WITH         SIGNALS WITHOUT A VALUE
press-plc  holding 101  1      exception 2  none: it is asked around
press-plc  holding 110  1      exception 2  alarm

modbus-tcp 192.168.0.10:502: what is refused is asked for again 1m after the start, then ever more seldom, at least \
every 1h; it is remembered in {}
",
            file.display()
        )
    );
    let json: serde_json::Value = serde_json::from_str(&check::json(&config, ROUND_TRIP).unwrap()).unwrap();
    assert_eq!(json["requests"].as_array().unwrap().len(), 5, "four of the press and one of its neighbour");
    assert_eq!((&json["refused"][1]["address"], &json["refused"][1]["signals"][0]), (&110.into(), &"alarm".into()));
    assert_eq!(json["refused_is_retried_after_s"], serde_json::json!([60, 3_600]));
    assert_eq!(json["lines"][0]["dead_units"]["silences_until_lost"], 3);

    // Kept by someone whose files this user may not read: the plan says what it does not know.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(folder.path().join("a-file"), "").unwrap();
    let Endpoint::Modbus(modbus) = &mut config.endpoints[0] else { panic!("the first endpoint is Modbus") };
    modbus.memory = Some(folder.path().join("a-file/line.json"));
    let text = shown(&config);
    assert!(
        text.contains("line.json cannot be read (Not a directory") && text.contains("\n  hint: check it as"),
        "{text}"
    );
}

#[test]
fn metrics_lists_the_dictionary_by_process() {
    let welding = metrics::text(Some(Process::Welding));
    let row = |id: &str| welding.lines().find(|line| line.starts_with(&format!("{id} ")));
    let columns: Vec<_> = row("welding_current").unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
    let columns: Vec<_> = columns.iter().map(|cell| cell.trim()).collect();
    assert_eq!(
        columns,
        ["welding_current", "A", "gauge", "measured", "0 … 100000", "process", "Welding current", "용접 전류"]
    );
    assert!(welding.lines().nth(1).unwrap().starts_with("exhaust_flow "), "its own come first");
    assert!(row("machine_running").is_some(), "what is met at any machine is met at a welder");
    assert!(row("press_force").is_none());
    let all = metrics::text(None);
    assert_eq!(all.lines().count(), Dictionary::embedded().metrics().len() + 1);

    let json: serde_json::Value = serde_json::from_str(&metrics::json(Some(Process::Forming)).unwrap()).unwrap();
    assert_eq!(json["version"], Dictionary::embedded().version());
    let force = json["metrics"].as_array().unwrap().iter().find(|metric| metric["id"] == "press_force").unwrap();
    assert_eq!(
        force,
        &serde_json::json!({
            "id": "press_force",
            "name": { "ko": "프레스 하중", "en": "Press force" },
            "unit": "kN",
            "kind": "gauge",
            "role": "measured",
            "range": [0.0, 200_000.0],
            "process": ["forming"],
            "class": "process",
            "about": { "ko": "한 스트로크의 최대 하중", "en": "the peak of a stroke" },
        })
    );

    let error = Cli::try_parse_from(["sandan-gateway", "metrics", "--process", "forging"]).unwrap_err();
    assert_eq!(error.exit_code(), i32::from(WRONG_CONFIG));
    assert!(error.to_string().contains("known are any, heat-treatment, forming"), "{error}");
}
