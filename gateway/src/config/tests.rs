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
fn modicon_s_notation_is_told_as_wire_addresses() {
    let config = example(|text| text.replace("holding:100", "40101").replace("input:7", "300008"));
    let text = crate::cli::check::text(&config, Some(Duration::from_millis(20)));
    for wire in ["tonnage@100", "oil@7", "holding 100–110", "input 7 "] {
        assert!(text.contains(wire), "no {wire} in {text}");
    }
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
fn the_files_of_a_directory_are_one_configuration() {
    let example = include_str!("../../../configs/gateway.toml");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let shown = |name: &str| folder.path().join(name).display().to_string();
    let faults = Config::load(folder.path()).unwrap_err().to_string();
    let hint = "name a configuration, or a directory of files that end in .toml";
    assert_eq!(
        faults,
        format!("{}: is a directory without a file that ends in .toml\n  hint: {hint}\n", folder.path().display())
    );

    let at = |head: &str| example.find(head).unwrap();
    let (modbus, mqtt) = (at("\n[[modbus]]"), at("\n[[mqtt]]"));
    assert!(at("\n[[asset]]") < modbus && modbus < mqtt, "the example is cut where its tables begin");
    write("00-site.toml", &example[..modbus]);
    write("10-press.toml", &example[modbus..mqtt]);
    write("20-welder.toml", &example[mqtt..]);
    write("notes.txt", "not = read");
    write(".10-press.toml.swp.toml", "not = [read");
    let (whole, parts) = (self::example(str::to_owned), Config::load(folder.path()).unwrap());
    assert_eq!(whole.births().hash(), parts.births().hash());
    assert_ne!(whole.hash(), parts.hash());

    write("30-more.toml", "gateway = \"another/one\"\n[spool]\nsync_interval = \"2s\"\nwhen_fulll = 3\n");
    write("40-more.toml", "[[asset]]\nid = \"press-1\"\n[http]\nlisten = 7480\n");
    let faults = Config::load(folder.path()).unwrap_err().to_string();
    let (site, third) = (shown("00-site.toml"), shown("30-more.toml"));
    let told: Vec<_> = faults.lines().filter(|line| !line.starts_with("  ")).collect();
    assert!(told[0].starts_with(&format!("{third}:1:1: `gateway` is stated twice, first in {site}:")), "{faults}");
    assert!(told[1].starts_with(&format!("{third}:3:1: `sync_interval` is stated twice")), "{faults}");
    assert_eq!(told[2], format!("{third}:4:1: unknown key `when_fulll` in [spool]"));
    assert_eq!(told[3], format!("{}:2:6: two assets `press-1`", shown("40-more.toml")));
    assert!(told[4].starts_with(&format!("{}:4:1: `listen` is stated twice", shown("40-more.toml"))), "{faults}");
    assert_eq!(told.len(), 5, "{faults}");

    write("40-more.toml", "[[asset\n");
    let faults = Config::load(folder.path()).unwrap_err().to_string();
    assert!(faults.starts_with(&format!("{}:1:8: not TOML: ", shown("40-more.toml"))), "{faults}");
}

#[test]
fn another_encoding_has_a_sentence_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
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
