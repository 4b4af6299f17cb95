use super::*;

#[test]
fn durations_and_sizes_are_an_integer_and_a_unit() {
    assert_eq!(duration("100ms"), Some(Duration::from_millis(100)));
    assert_eq!(duration("5 m"), Some(Duration::from_mins(5)));
    for bad in ["", "1", "s", "-1s", "1.5s", "1 week", "99999999999999999999s", "18446744073709551615d"] {
        assert_eq!(duration(bad), None, "{bad}");
    }
    assert_eq!(size("64MiB"), Some(64 << 20));
    for bad in ["", "1", "1MB", "1 gib", "99999999999999TiB"] {
        assert_eq!(size(bad), None, "{bad}");
    }
    for text in ["1ms", "1500ms", "1s", "90s", "1m", "2h", "90d"] {
        assert_eq!(show_duration(duration(text).unwrap()), text);
    }
}

#[test]
fn addresses_have_a_scheme_a_host_and_perhaps_a_port() {
    let plain = |text| address(text, &[("tcp", 502)]).map(|(_, address)| address.to_string());
    assert_eq!(plain("tcp://192.168.0.10"), Ok("192.168.0.10:502".into()));
    assert_eq!(plain("tcp://PLC-1.local:1502"), Ok("plc-1.local:1502".into()));
    assert_eq!(plain("tcp://[fe80::1]:502"), Ok("[fe80::1]:502".into()));
    assert_eq!(plain("192.168.0.10:502"), Err(AddressFault::Scheme));
    assert_eq!(plain("udp://192.168.0.10:502"), Err(AddressFault::Scheme));
    assert_eq!(plain("tcp://user:pass@host"), Err(AddressFault::Credentials));
    for bad in ["tcp://", "tcp://host:0", "tcp://host:70000", "tcp://host/path", "tcp://a b", "tcp://[::1", "tcp://::1"]
    {
        assert_eq!(plain(bad), Err(AddressFault::Form), "{bad}");
    }
    let loopback = |text| address(text, &[("tcp", 502)]).unwrap().1.is_loopback();
    assert!(loopback("tcp://127.0.0.2") && loopback("tcp://localhost") && loopback("tcp://[::1]"));
    assert!(!loopback("tcp://10.0.0.1") && !loopback("tcp://localhost.example"));
}

#[allow(clippy::unnecessary_wraps, reason = "it is compared with what is read")]
fn at(area: Area, address: u16, bit: Option<u8>) -> Result<Wire, RegisterFault<'static>> {
    Ok(Wire { area, address, bit })
}

#[test]
fn registers_name_their_area() {
    assert_eq!(register("holding:100", 0), at(Area::Holding, 100, None));
    assert_eq!(register("holding:100", 1), at(Area::Holding, 99, None));
    assert_eq!(register("input:65536", 1), at(Area::Input, 65_535, None));
    assert_eq!(register("input:65536", 0), Err(RegisterFault::Past));
    assert_eq!(register("coil:0", 1), Err(RegisterFault::Below));
    assert_eq!(register("holding:110.15", 0), at(Area::Holding, 110, Some(15)));
    assert_eq!(register("hold:1", 0), Err(RegisterFault::Area("hold")));
    assert_eq!(register("holding:1.16", 0), Err(RegisterFault::Bit));
    assert_eq!(register("coil:1.0", 0), Err(RegisterFault::Bit));
    for bad in ["", "100", "4001", "4000001", "holding", "holding:", "holding:0x10", "holding:-1", "4x0001", " 40001"] {
        assert_eq!(register(bad, 0), Err(RegisterFault::Form), "{bad}");
    }
}

#[test]
fn modicon_s_notation_is_the_same_wherever_a_map_counts_from() {
    for base in [0, 1] {
        assert_eq!(register("40001", base), at(Area::Holding, 0, None));
        assert_eq!(register("400001", base), at(Area::Holding, 0, None));
        assert_eq!(register("30001", base), at(Area::Input, 0, None));
        assert_eq!(register("301001", base), at(Area::Input, 1_000, None));
        assert_eq!(register("00001", base), at(Area::Coil, 0, None));
        assert_eq!(register("000017", base), at(Area::Coil, 16, None));
        assert_eq!(register("19999", base), at(Area::Discrete, 9_998, None));
        assert_eq!(register("465536", base), at(Area::Holding, 65_535, None));
        assert_eq!(register("40101.3", base), at(Area::Holding, 100, Some(3)));
        assert_eq!(register("465537", base), Err(RegisterFault::Past));
        assert_eq!(register("40000", base), Err(RegisterFault::Below));
        assert_eq!(register("20001", base), Err(RegisterFault::Table));
        assert_eq!(register("00001.3", base), Err(RegisterFault::Bit));
    }
}

#[test]
fn json_paths_take_both_ways_to_write_an_index() {
    let keys = |text| json_path(text).map(|steps| steps.into_iter().map(|step| step.key).collect::<Vec<_>>());
    let some = |keys: &[&str]| Some(keys.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(keys("current.rms"), some(&["current", "rms"]));
    assert_eq!(keys("a[0].b"), some(&["a", "0", "b"]));
    assert_eq!(keys("a.0.b"), some(&["a", "0", "b"]));
    assert_eq!(keys("[1][2].온도"), some(&["1", "2", "온도"]));
    for bad in ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[0]b", "a]", "a.[0]", "a\n"] {
        assert_eq!(keys(bad), None, "{bad:?}");
    }
}

#[test]
fn the_nearest_word_is_suggested() {
    assert_eq!(suggest("intervall", &["interval", "unit"]), "did you mean `interval`?");
    assert_eq!(suggest("u61", &["u16", "i16"]), "did you mean `u16`?");
    assert_eq!(suggest("abdc", &["ABCD", "DCBA"]), "did you mean `ABCD`?");
    assert_eq!(suggest("UINT16", &["u16", "i16"]), "it is called `u16` here");
    assert_eq!(suggest("uint16", &["f64"]), "known are f64");
    assert_eq!(suggest("at", &["path"]), "known are path");
    assert_eq!(suggest("colour", &["unit", "at"]), "known are unit, at");
}
