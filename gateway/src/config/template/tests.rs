use std::path::Path;

use super::*;
use crate::config::{Config, Decode, Endpoint};

/// A gateway with one device, and what stands beside its file.
fn gateway(device: &str, files: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let dir =
        if files.iter().any(|(name, _)| name.starts_with("devices/")) { "templates_dir = \"devices\"\n" } else { "" };
    let text = format!(
        "gateway = \"hanbit/one\"\nstate_dir = \"state\"\n{dir}[[asset]]\nid = \"a\"\n[[asset]]\nid = \"b\"\n[[modbus]]\n\
         address = \"tcp://127.0.0.1:502\"\n{device}"
    );
    let file = folder.path().join("gateway.toml");
    Config::parse(&file, &text)
        .map_err(|faults| faults.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

fn device(config: &Config) -> &crate::config::ModbusDevice {
    match &config.endpoints[0] {
        Endpoint::Modbus(modbus) => &modbus.devices[0],
        Endpoint::Mqtt(_) => panic!("the endpoint is Modbus"),
    }
}

#[test]
fn every_shipped_template_makes_a_device() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/devices");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let shipped = built_in();
    let names: Vec<_> = shipped.iter().map(|template| format!("{}.toml", template.name)).collect();
    assert_eq!(names, files, "the list of templates is the folder's");
    assert!(shipped.len() >= 10);
    for template in shipped {
        let is_hangul = |c: char| ('가'..='힣').contains(&c);
        assert!(template.title.ko.contains(is_hangul) && !template.title.en.contains(is_hangul), "{}", template.name);
        let device = format!("[[modbus.device]]\nname = \"it\"\nasset = \"a\"\ntemplate = \"{}\"\n", template.name);
        let config = gateway(&device, &[]).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!config.signals.is_empty(), "{} has no signals", template.name);
        for poll in
            crate::driver::modbus::plan::polls(self::device(&config), &crate::driver::modbus::Learned::nothing())
        {
            assert!(poll.requests.len() <= 12, "{} takes {} requests", template.name, poll.requests.len());
        }
    }
}

const ONE: &str = r#"
[template]
name = { ko = "하나", en = "One" }
source = "a manual"
[device]
base = 1
byte_order = "CDAB"
interval = "5s"
groups = { slow = "1m" }
signals = [
  { name = "pv", metric = "temperature", at = "input:1", type = "f32" },
  ["sv", "temperature_setpoint", "holding:1", "i16", "", 0.1, { on_change = true }],
  { name = "count", metric = "x_count", at = "holding:9", type = "u16", group = "slow" },
]
"#;
const TWO: &str = r#"
[template]
name = { ko = "둘", en = "Two" }
source = "another manual"
extends = "one"
[device]
groups = { fast = "200ms" }
drop = ["count"]
signals = [
  { name = "pv", group = "fast" },
  { name = "mv", metric = "temperature_output", at = "holding:3", type = "u16", scale = 0.1 },
]
"#;

#[test]
fn a_device_goes_before_its_template_and_that_before_what_it_extends() {
    let files = [("devices/one.toml", ONE), ("devices/two.toml", TWO)];
    let text = "asset = \"a\"\ninterval = \"30s\"\nmax_words = 10\n[[modbus.device]]\nname = \"it\"\ntemplate = \"two\"\n\
                signals = [ { name = \"sv\", at = \"holding:21\", asset = \"b\" }, [\"x\", \"x_x\", \"coil:1\"] ]\n";
    let config = gateway(text, &files).unwrap();
    let made: Vec<_> = config
        .signals
        .iter()
        .zip(&device(&config).points)
        .map(|(signal, point)| (signal.name.as_str(), signal.asset, point.value.address, signal.interval.as_millis()))
        .collect();
    assert_eq!(made, [("pv", 0, 0, 200), ("sv", 1, 20, 5_000), ("mv", 0, 2, 5_000), ("x", 0, 0, 5_000)]);
    assert_eq!(device(&config).limits.max_words, 10, "what nobody else says, the endpoint says");
    let Decode::Register(pv) = &config.signals[0].decode else { panic!("a register") };
    assert_eq!(pv.order, crate::config::ByteOrder::Cdab);
    assert!(config.signals[1].publish.heartbeat.is_some(), "the table at the end of a short row");
}

#[test]
fn what_is_wrong_with_a_template_is_told_where_it_is() {
    let named = |name: &str| format!("[[modbus.device]]\nname = \"it\"\nasset = \"a\"\ntemplate = \"{name}\"\n");
    let told = |device: &str, files: &[(&str, &str)]| gateway(device, files).unwrap_err();
    let circle = [("devices/one.toml", ONE), ("devices/three.toml", &TWO.replace("\"one\"", "\"three\""))];
    for (device, files, wanted) in [
        (
            named("autonic-tk"),
            &[][..],
            "gateway.toml:12:12: no template `autonic-tk`\n  hint: did you mean `autonics-tk`?;",
        ),
        (named("../x"), &[], "gateway.toml:12:12: `../x` is no name of a template"),
        (
            named("three"),
            &circle,
            "devices/three.toml:5:11: templates extend each other in a circle, or too deep: three → three",
        ),
        (
            named("one") + "drop = [\"cuont\"]\n",
            &circle,
            "gateway.toml:14:9: the template has no signal `cuont`\n  hint: did you mean `count`?",
        ),
    ] {
        let told = told(&device, files);
        assert!(told.starts_with(wanted), "{told}");
        assert_eq!(told.matches("hint:").count(), 1, "{told}");
    }
    // A wrong key of a template is told once, however many devices are made of it, and in it.
    let wrong = [("devices/one.toml", &*ONE.replace("f32", "f23").replace("source", "sauce"))];
    let two = named("one") + &named("one").replace("\"it\"", "\"that\"").replace("\"a\"", "\"b\"");
    let faults = told(&two, &wrong);
    let lines: Vec<_> = faults.lines().filter(|line| !line.starts_with("  ")).collect();
    assert_eq!(
        lines,
        [
            "devices/one.toml:2:1: [template] has no `source`",
            "devices/one.toml:4:1: unknown key `sauce` in [template]",
            "devices/one.toml:11:65: `type` cannot be `f23`",
        ],
        "{faults}"
    );
    let without = told(&named("one").replace("asset = \"a\"\n", ""), &[("devices/one.toml", ONE)]);
    assert_eq!(without.lines().filter(|line| !line.starts_with("  ")).count(), 1, "{without}");
    assert!(without.starts_with("gateway.toml:12:12: signal has no `asset`"), "{without}");
}
