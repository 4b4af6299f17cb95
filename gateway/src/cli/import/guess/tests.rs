use super::*;

#[test]
fn addresses_of_every_maker_become_ours() {
    let at = |text: &str, area, base| {
        place(text, area, None, (None, base)).map(|place| (place.at, place.address, place.words))
    };
    let some = |at: &str, address, words| Ok((at.to_owned(), address, words));
    assert_eq!(at("40101", None, 0), some("40101", 100, None));
    assert_eq!(at("400101 ~ 400102", None, 0), some("400101", 100, Some(2)));
    assert_eq!(at("40101~2", None, 0), some("40101", 100, Some(2)));
    assert_eq!(at("4x0101", None, 0), some("holding:100", 100, None));
    assert_eq!(at("input:7", None, 0), some("input:7", 7, None));
    assert_eq!(at("0x0064", Some(Area::Input), 0), some("input:100", 100, None));
    assert_eq!(at("03E8h", Some(Area::Input), 0), some("input:1000", 1_000, None));
    assert_eq!(at("101", Some(Area::Holding), 1), some("holding:101", 100, None));
    assert_eq!(at("100.3", Some(Area::Holding), 0), some("holding:100.3", 100, None));
    // Nothing of it is in Modicon's notation where the sheet says another table.
    assert_eq!(at("19000", Some(Area::Holding), 0), some("holding:19000", 19_000, None));
    assert!(at("D100", None, 0).is_err() && at("70000", Some(Area::Holding), 0).is_err() && at("", None, 0).is_err());
    let bare = place("100", None, Some("5"), (None, 0)).unwrap();
    assert_eq!((bare.at.as_str(), bare.note.is_some()), ("holding:100.5", true));
    for (text, wanted) in
        [("03", Area::Holding), ("FC04", Area::Input), ("홀딩 레지스터", Area::Holding), ("1x", Area::Discrete)]
    {
        assert_eq!(area(text), Some(wanted), "{text}");
    }
}

#[test]
fn types_have_many_names() {
    for (text, wanted) in [
        ("u16", "u16"),
        ("UINT", "u16"),
        ("INT16", "i16"),
        ("S32", "i32"),
        ("Unsigned 32bit", "u32"),
        ("DWORD", "u32"),
        ("WORD", "u16"),
        ("DINT", "i32"),
        ("Float", "f32"),
        ("실수(32bit)", "f32"),
        ("정수", "i16"),
        ("부호없는 정수", "u16"),
        ("비트", "bool"),
        ("BCD", "bcd16"),
        ("double", "f64"),
        ("ASCII", "text"),
    ] {
        assert_eq!(kind(text).map(|(kind, _)| kind), Some(wanted), "{text}");
    }
    assert_eq!(kind("FLOAT CDAB"), Some(("f32", Some("CDAB"))));
    assert_eq!(kind("?"), None);
}

#[test]
fn metrics_are_found_by_what_a_name_holds_and_its_unit() {
    let id = |name: &str, unit: &str, is_bit| metric(name, unit, is_bit).map(|metric| metric.id.to_string());
    assert_eq!(id("1호로 1구역 현재온도", "℃", false).as_deref(), Some("temperature"));
    assert_eq!(id("1호로 설정온도", "℃", false).as_deref(), Some("temperature_setpoint"));
    assert_eq!(id("Zone 1 PV temperature", "Cel", false).as_deref(), Some("temperature"));
    assert_eq!(id("수전 유효전력량", "kWh", false).as_deref(), Some("active_energy"));
    assert_eq!(id("프레스 하중", "tonf", false).as_deref(), Some("press_force"));
    assert_eq!(id("1호로 가동 상태", "", true).as_deref(), Some("machine_running"));
    assert_eq!(id("온도", "bar", false), None, "a unit that does not fit");
    assert_eq!(id("온도", "", false), None, "a number without a unit");
    assert_eq!(slug("1호로 PV-값 A"), "1_pv_a");
}
