use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::notation::json_path;
use crate::config::tests::example;
use crate::config::{Endpoint, TimeFormat, TopicMatch};

/// The devices of an example whose broker has these tables.
fn devices(tables: &str) -> Vec<MqttDevice> {
    let config = example(|text| {
        let (before, _) = text.split_once("\n[[mqtt]]\n").unwrap();
        format!("{before}\n[[mqtt]]\naddress = \"mqtt://127.0.0.1:1883\"\n{tables}")
    });
    let Some(Endpoint::Mqtt(mqtt)) = config.endpoints.into_iter().next_back() else { panic!("a broker") };
    mqtt.devices
}

fn device(keys: &str, signals: &str) -> MqttDevice {
    let table =
        format!("[[mqtt.device]]\nname = \"d\"\ntopic = \"t\"\nasset = \"welder-1\"\n{keys}\nsignals = [{signals}]\n");
    devices(&table).remove(0)
}

fn one(path: &str, kind: &str) -> String {
    format!("{{ name = \"{path}\", metric = \"x_a\", path = \"{path}\", type = \"{kind}\" }}")
}

fn raws(outcome: &Outcome) -> Vec<Raw> {
    outcome.samples.iter().map(|sample| sample.raw.clone()).collect()
}

#[test]
fn paths_lead_through_objects_and_arrays() {
    let payload = json!({
        "current": {"rms": 12.5, "peak": 18},
        "zones": [{"t": 801}, {"t": 802.5}],
        "0": "a key that looks like an index",
        "arc": true, "program": "P-7", "none": null, "big": 18_446_744_073_709_551_615u64,
    });
    let raws = |path: &str| find(&payload, &json_path(path).unwrap()).map(raw);
    assert_eq!(raws("current.rms"), Some(Raw::Number(12.5)));
    assert_eq!(raws("current.peak"), Some(Raw::Integer(18)));
    assert_eq!(raws("zones[1].t"), Some(Raw::Number(802.5)));
    assert_eq!(raws("zones.0.t"), Some(Raw::Integer(801)));
    assert_eq!(raws("0"), Some(Raw::Text("a key that looks like an index".into())));
    assert_eq!(raws("arc"), Some(Raw::Bit(true)));
    assert_eq!(raws("program"), Some(Raw::Text("P-7".into())));
    assert_eq!(raws("none"), Some(Raw::Failed(Quality::BAD_SOURCE)));
    assert_eq!(raws("zones"), Some(Raw::Failed(Quality::BAD_UNDECODABLE)));
    assert_eq!(raws("big"), Some(Raw::Number(18_446_744_073_709_551_615.0)));
    for missing in ["current.mean", "zones[2].t", "zones.x", "arc.x", "none.x"] {
        assert_eq!(raws(missing), None, "{missing}");
    }
}

#[test]
fn a_payload_may_bring_a_part() {
    let device = device(
        "",
        "{ name = \"a\", metric = \"x_a\", path = \"a\", type = \"i64\" }, { name = \"b\", metric = \"x_b\", path = \"b\", type = \"i64\" }",
    );
    let found = message(&device, None, br#"{"b": 1}"#);
    assert_eq!(found.samples, [Sample::new(device.picks[1].signal, Raw::Integer(1))]);
    assert_eq!(found.dead, None);
    let none = message(&device, None, br#"{"c": 1}"#);
    assert_eq!((none.samples.len(), none.dead.as_deref()), (0, Some("holds none of the configured paths")));
}

#[test]
fn a_sample_has_its_own_time_or_that_of_its_payload() {
    let times = "time = \"ts\"\ntime_format = \"epoch_ms\"";
    let at = |payload: &str, keys: &str| {
        let outcome = message(&device(keys, &one("v", "f64")), None, payload.as_bytes());
        (outcome.samples.iter().map(|sample| sample.wall_us).collect::<Vec<_>>(), outcome.dead)
    };
    assert_eq!(at(r#"{"v": 1, "ts": 1720659723456}"#, times), (vec![Some(1_720_659_723_456_000)], None));
    assert_eq!(at(r#"{"v": 1}"#, ""), (vec![None], None));
    let (samples, why) = at(r#"{"v": 1}"#, times);
    assert_eq!((samples, why.as_deref()), (vec![], Some("has no time at `ts`")));
    let list = format!("samples = \"data\"\n{times}");
    let payload =
        r#"{"ts": 1720659723000, "data": [{"v": 1, "ts": 1720659723001}, {"v": 2}, {"w": 3}, {"v": 4, "ts": "x"}]}"#;
    let (samples, why) = at(payload, &list);
    assert_eq!(samples, [Some(1_720_659_723_001_000), Some(1_720_659_723_000_000)], "those that are whole");
    assert_eq!(why.as_deref(), Some("has a time that is not a number: x (sample 3)"));
    let (samples, why) = at(r#"{"data": {"v": 1}}"#, &list);
    assert_eq!((samples, why.as_deref()), (vec![], Some("has no list at the path `samples`")));
    let rows = message(
        &device("samples = \"data\"\ntime = \"[0]\"\ntime_format = \"epoch_s\"", &one("[1]", "f64")),
        None,
        br#"{"data": [[1720659723, 5]]}"#,
    );
    assert_eq!(raws(&rows), [Raw::Integer(5)]);
}

#[test]
fn a_message_brings_a_bounded_number_of_values() {
    let device = device("samples = \"d\"\ntime = \"t\"\ntime_format = \"epoch_s\"", &one("v", "f64"));
    let list = |samples: usize| format!("{{\"t\": 1720659723, \"d\": [{}]}}", vec!["{\"v\":1}"; samples].join(","));
    assert_eq!(message(&device, None, list(MAX_SAMPLES).as_bytes()).samples.len(), MAX_SAMPLES);
    let more = message(&device, None, list(MAX_SAMPLES + 1).as_bytes());
    assert_eq!((more.samples.len(), more.dead.as_deref()), (0, Some("brings more than 16000 values")));
}

#[test]
fn a_plain_payload_is_one_value() {
    let plain = |kind: &str, payload: &[u8]| {
        let signal = format!("{{ name = \"a\", metric = \"x_a\", type = \"{kind}\" }}");
        let outcome = message(&device("payload = \"plain\"", &signal), None, payload);
        outcome.samples.first().map(|sample| sample.raw.clone()).ok_or(outcome.dead.unwrap_or_default())
    };
    assert_eq!(plain("f64", b"12.5"), Ok(Raw::Number(12.5)));
    assert_eq!(plain("f64", b" -3\r\n"), Ok(Raw::Integer(-3)));
    assert_eq!(plain("i64", b"3.0"), Ok(Raw::Number(3.0)));
    assert_eq!(plain("bool", b"ON"), Ok(Raw::Bit(true)));
    assert_eq!(plain("bool", b"0"), Ok(Raw::Bit(false)));
    assert_eq!(plain("text", "합격".as_bytes()), Ok(Raw::Text("합격".into())));
    for (kind, payload, why) in [
        (
            "f64",
            &b"12,5"[..],
            "has a comma in its number, which may mean anything; have it written with a point: `12,5`",
        ),
        (
            "f64",
            b"1,234.5",
            "has a comma in its number, which may mean anything; have it written with a point: `1,234.5`",
        ),
        ("f64", b"12.5 C", "is not a number: `12.5 C`"),
        ("f64", b" ", "is empty"),
        ("bool", b"yes", "is neither true nor false (1 0 on off): `yes`"),
        ("f64", b"\xff1", "is not text in UTF-8"),
        ("i64", &[b'1'; 65], "is not one value: it has 65 bytes"),
    ] {
        assert_eq!(plain(kind, payload), Err(why.into()));
    }
}

#[test]
fn three_lines_read_many_machines() {
    let machines = devices(
        "[[mqtt.device]]\nname = \"hall\"\ntopic = \"plant/{asset}/{metric}\"\npayload = \"plain\"\n\
         signals = [ { name = \"oil\", metric = \"motor_temperature\" }, { name = \"n\", metric = \"part_count\", level = \"cnt\" } ]\n",
    );
    let said = |topic: &str, payload: &[u8]| {
        let mut found = Vec::new();
        for device in &machines {
            if let TopicMatch::This(metric) = device.topic.matches(topic) {
                found.push((device.name.clone(), raws(&message(device, metric, payload))));
            }
        }
        found
    };
    assert_eq!(
        said("plant/press-1/motor_temperature", b"61.5"),
        [("hall/press-1".to_owned(), vec![Raw::Number(61.5)])]
    );
    assert_eq!(said("plant/welder-1/cnt", b"7"), [("hall/welder-1".to_owned(), vec![Raw::Integer(7)])]);
    assert_eq!(said("plant/welder-1/part_count", b"7"), [("hall/welder-1".to_owned(), vec![])]);
    assert_eq!(said("plant/press-9/cnt", b"7"), []);
    assert_eq!(machines.iter().map(|device| device.topic.filter()).collect::<Vec<_>>(), ["plant/+/+"; 2]);
}

#[test]
fn levels_may_be_called_otherwise() {
    let machines = devices(
        "[[mqtt.device]]\nname = \"hall\"\ntopic = \"plant/{asset}/state\"\nasset_levels = { \"M 01\" = \"press-1\" }\n\
         time = \"t\"\ntime_format = \"iso8601\"\nsignals = [ { name = \"oil\", metric = \"motor_temperature\", path = \"oil\" } ]\n",
    );
    let [press] = &machines[..] else { panic!("one asset is named") };
    assert_eq!(press.topic.matches("plant/M 01/state"), TopicMatch::This(None));
    let Payload::Json(JsonForm { time: Some(time), .. }) = &press.payload else { panic!("JSON with a time") };
    assert_eq!((time.format, time.zone.as_deref()), (TimeFormat::Iso8601, Some("Asia/Seoul")));
    let local = message(press, None, br#"{"oil": 1, "t": "2024-07-11T10:02:03"}"#);
    assert_eq!(local.samples[0].wall_us, Some(1_720_659_723_000_000));
}

proptest! {
    #[test]
    fn no_payload_panics(payload in "[\\[\\]{}a-c\":, 0-9.eE+-]{0,80}", path in "[a-c0-9.\\[\\]]{1,12}") {
        if json_path(&path).is_some() {
            let device = device("samples = \"a\"\ntime = \"b\"\ntime_format = \"epoch_s\"", &one(&path, "f64"));
            let found = message(&device, None, payload.as_bytes());
            prop_assert!(!found.samples.is_empty() || found.dead.is_some() || payload.contains('['));
        }
    }
}
