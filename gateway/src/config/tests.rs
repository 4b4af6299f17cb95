use std::path::Path;
use std::time::Duration;

use sandan_proto::reading::ValueType;

use super::*;

/// The example; what is refused is the business of the case folder.
pub(crate) fn example(change: impl Fn(&str) -> String) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let text = change(include_str!("../../../configs/gateway.toml"));
    Config::parse(&folder.path().join("gateway.toml"), &text).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_example_says_what_its_comments_say() {
    let config = example(str::to_owned);
    assert_eq!(config.gateway.as_str(), "hanbit-mould/press-hall");
    assert_eq!(config.uplink, Uplink::default(), "all is as the invitation says");
    assert_eq!(
        config.spool,
        Spool { max_bytes: 1 << 30, sync_interval: Duration::from_secs(1), when_full: WhenFull::DropOldest }
    );
    let [Endpoint::Modbus(modbus), Endpoint::Mqtt(mqtt)] = &config.endpoints[..] else { panic!("two endpoints") };
    assert_eq!(modbus.place(), "modbus-tcp 192.168.0.10:502");
    assert_eq!(mqtt.client_id, "sandan-hanbit-mould-press-hall");
    let births = config.births();
    assert_eq!(births.devices[0].address, "modbus-tcp 192.168.0.10:502 unit 1");
    assert_eq!(births.devices[1].address, "mqtt 127.0.0.1:1883 topic plant/welder-1/state");
    let series: Vec<_> = births
        .series
        .iter()
        .map(|series| (series.signal.as_str(), series.value_type, series.expected_interval_ms))
        .collect();
    assert_eq!(
        series,
        [
            ("tonnage", ValueType::F64, 1_000),
            ("strokes", ValueType::I64, 60_000),
            ("oil", ValueType::F64, 60_000),
            ("running", ValueType::Bool, 60_000),
            ("alarm", ValueType::Bool, 1_000),
            ("current", ValueType::F64, 1_000),
            ("voltage", ValueType::F64, 60_000),
            ("arc", ValueType::Bool, 60_000),
            ("program", ValueType::Text, 60_000),
        ]
    );
}

#[test]
fn addresses_are_what_goes_on_the_wire() {
    let points = |config: &Config| match &config.endpoints[0] {
        Endpoint::Modbus(modbus) => modbus.devices[0].points.clone(),
        Endpoint::Mqtt(_) => panic!("the first endpoint is Modbus"),
    };
    let from_one = example(|text| {
        text.replace("base = 0 ", "base = 1 ").replace("coil:0", "coil:1").replace("input:7", "input:65536")
    });
    let wire: Vec<_> =
        points(&from_one).iter().map(|point| (point.value.area, point.value.address, point.value.width)).collect();
    assert_eq!(
        wire,
        [
            (Area::Holding, 99, 1),
            (Area::Holding, 101, 2),
            (Area::Input, 65_535, 1),
            (Area::Coil, 0, 1),
            (Area::Holding, 109, 1),
        ]
    );
}

#[test]
fn the_hash_is_of_the_text_and_births_of_the_meaning() {
    let (plain, commented) = (example(str::to_owned), example(|text| format!("{text}\n# later\n")));
    assert_ne!(plain.hash(), commented.hash());
    assert_eq!(plain.births().hash(), commented.births().hash());
}

#[test]
fn a_file_that_is_not_there_is_a_fault_with_a_hint() {
    let faults = Config::load(Path::new("/no/such/gateway.toml")).unwrap_err();
    let shown = faults.to_string();
    assert!(shown.starts_with("/no/such/gateway.toml: cannot be read: No such file"), "{shown}");
    assert!(shown.contains("\n  hint: "), "{shown}");
}

#[test]
fn a_directory_and_another_encoding_have_sentences_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let shown = Config::load(folder.path()).unwrap_err().to_string();
    let hint = "name the configuration in it: gateway.toml, for example";
    assert_eq!(shown, format!("{}: is a directory\n  hint: {hint}\n", folder.path().display()));

    let file = folder.path().join("gateway.toml");
    // "1프" in EUC-KR; the bytes of some other syllables are UTF-8 by chance.
    std::fs::write(&file, b"# \xEA\xB0\x80\n# \xED\x98\xB8 = \"1\xC7\xC1\"\n").unwrap();
    let shown = Config::load(&file).unwrap_err().to_string();
    let hint = "save it as UTF-8; an editor may have saved it as EUC-KR (CP949) or UTF-16";
    assert_eq!(shown, format!("{}:2:9: the byte 0xC7 here is not UTF-8\n  hint: {hint}\n", file.display()));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}a-z=\"'#\n., 0-9:\\\\-]{0,200}") {
        let _ = Config::parse(Path::new("gateway.toml"), &text);
    }

    #[test]
    fn a_damaged_example_is_refused_or_taken_but_never_a_panic(
        at in 0usize..4_000, len in 0usize..40, with in "[ -~\n]{0,10}",
    ) {
        let text = include_str!("../../../configs/gateway.toml");
        let from = text.floor_char_boundary(at.min(text.len()));
        let to = text.floor_char_boundary((from + len).min(text.len()));
        let text = format!("{}{with}{}", &text[..from], &text[to..]);
        if let Err(faults) = Config::parse(Path::new("gateway.toml"), &text) {
            proptest::prop_assert!(!faults.to_string().is_empty());
        }
    }
}
