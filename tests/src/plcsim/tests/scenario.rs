//! Scenario files: the example is one, and mistakes are told all at once.

use super::*;

#[test]
fn the_example_scenario_says_what_it_means() {
    let text = include_str!("../../../cases/plcsim/plant.toml");
    let scenario = Scenario::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(scenario.modbus.len(), 3);
    let plc = &scenario.modbus[0];
    assert_eq!((plc.connections, plc.chance.0.len()), (Some(1), 11));
    assert!(plc.chance.0.contains(&(Fault::HalfOpen, 0.5)));
    assert_eq!(plc.away.map(|away| away.lasting), Some(Duration::from_secs(8)));
    let map = &plc.device[1];
    assert_eq!((map.unit, map.machine, map.max_words), (255, Make::Pattern, 60));
    assert!(map.refuse[0].meets(Area::Holding, 39, 2) && !map.refuse[0].meets(Area::Holding, 41, 9));
    assert_eq!((map.refuse[1].code, map.refuse[1].meets(Area::Input, 0, 10)), (3, false));
    let bus = &scenario.modbus[1];
    assert_eq!(bus.listen, Listen::Serial("/tmp/plcsim-bus".into()));
    assert_eq!((bus.baud, bus.turnaround), (19_200, Duration::from_millis(5)));
    assert_eq!((bus.device[0].byte_order, bus.device[1].fault), (ByteOrder::Cdab, Fault::Silent));
}

#[test]
fn all_mistakes_of_a_scenario_are_told_at_once() {
    let text = r#"sed = 7
speed = 0
[[modbus]]
listen = "udp://127.0.0.1:1"
baud = "fast"
chance = { tired = 1, silent = 60, twice = 50, "noise 3" = 1, absent = 1 }
[[modbus.device]]
name = "a"
unit = 256
machine = "loom"
refuse = ["holding:x"]
fault = "late soon"
[[modbus.device]]
name = "a"
away = { every = "1h" }
[[modbus]]
listen = "serial:/tmp/x"
chance = { wrong-transaction = 1, hang-up = 1 }
[[mqtt]]
name = "b"
"#;
    let told = Scenario::parse(text).unwrap_err().to_string();
    for (line, words) in [
        (1, "unknown key `sed`"),
        (1, "two devices are called `a`"),
        (2, "a number above 0"),
        (4, "rtu-tcp://"),
        (5, "a whole number from 300"),
        (6, "`tired` is not a fault"),
        (6, "no checksum of its own"),
        (6, "hint: away ="),
        (3, "the chances come to"),
        (9, "from 0 to 255"),
        (10, "machine: press"),
        (11, "holding:40"),
        (12, "1500ms"),
        (15, "`lasting` is missing"),
        (15, "`1h` is not a time"),
        (18, "no transaction id"),
        (18, "no connection"),
        (16, "no device"),
        (19, "`broker` is missing"),
    ] {
        let found = told.lines().any(|told| told.starts_with(&format!("line {line}: ")) && told.contains(words));
        assert!(found, "line {line} is not told `{words}`:\n{told}");
    }
    assert!(Scenario::parse("seed = ").unwrap_err().to_string().contains("line 1"));
}
