use proptest::prelude::*;
use serde_json::json;

use super::*;

const FORMATS: [TimeFormat; 4] = [TimeFormat::EpochS, TimeFormat::EpochMs, TimeFormat::EpochUs, TimeFormat::EpochNs];

fn of(value: &Value, format: TimeFormat) -> Result<i64, String> {
    wall_us(value, format, Some("Asia/Seoul"))
}

#[test]
fn the_formats_say_the_same_moment() {
    let moment = Ok(1_720_659_723_456_000);
    for text in [
        "2024-07-11T01:02:03.456Z",
        "2024-07-11T10:02:03.456+09:00",
        "2024-07-11T10:02:03.456+0900",
        "2024-07-11 10:02:03.456+09",
        "20240711T100203.456+09",
        "2024-07-11T10:02:03.456",
        "2024-07-11 10:02:03,456",
    ] {
        let colon = text.contains(':');
        assert_eq!(of(&json!(text), TimeFormat::Iso8601).is_ok(), colon, "{text}");
        if colon {
            assert_eq!(of(&json!(text), TimeFormat::Iso8601), moment, "{text}");
        }
    }
    assert_eq!(of(&json!(1_720_659_723.456), TimeFormat::EpochS), moment);
    assert_eq!(of(&json!("1720659723.456"), TimeFormat::EpochS), moment);
    assert_eq!(of(&json!(1_720_659_723_456_i64), TimeFormat::EpochMs), moment);
    assert_eq!(of(&json!(1_720_659_723_456_000_i64), TimeFormat::EpochUs), moment);
    assert_eq!(of(&json!(1_720_659_723_456_000_789_i64), TimeFormat::EpochNs), moment);
    assert_eq!(of(&json!("1720659723456000789"), TimeFormat::EpochNs), moment);
}

#[test]
fn what_is_ambiguous_is_refused() {
    let refused = |value: Value, format, zone: Option<&str>, why: &str| {
        let said = wall_us(&value, format, zone).unwrap_err();
        assert!(said.contains(why), "{value}: {said}");
    };
    let iso = TimeFormat::Iso8601;
    refused(json!("2024-07-11T10:02:03"), iso, None, "without an offset");
    refused(json!("2024-10-27T02:30:00"), iso, Some("Europe/Berlin"), "twice or never");
    refused(json!("2024-03-31T02:30:00"), iso, Some("Europe/Berlin"), "twice or never");
    refused(json!("2024-07-11"), iso, Some("Asia/Seoul"), "not ISO 8601");
    refused(json!("11.07.2024 10:02"), iso, Some("Asia/Seoul"), "not ISO 8601");
    refused(json!(1_720_659_723), iso, Some("Asia/Seoul"), "not ISO 8601");
    refused(json!(null), iso, None, "something else");
    refused(json!("noon"), TimeFormat::EpochS, None, "not a number");
    refused(json!("NaN"), TimeFormat::EpochS, None, "outside 2000 to 2100");
    refused(json!(0), TimeFormat::EpochS, None, "outside 2000 to 2100");
}

#[test]
fn another_unit_than_the_configured_one_never_fits() {
    // A time of this decade in each unit, read in each.
    for (factor, written) in [(1, 0), (1_000, 1), (1_000_000, 2), (1_000_000_000, 3)] {
        for (format, read) in FORMATS.into_iter().zip(0..) {
            let value = json!(1_720_659_723_i64 * factor);
            assert_eq!(of(&value, format).is_ok(), written == read, "{value} as {format:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_moment_is_the_same_in_every_form(micros in EARLIEST_US..LATEST_US) {
        let moment = Timestamp::from_microsecond(micros).unwrap();
        prop_assert_eq!(of(&json!(moment.to_string()), TimeFormat::Iso8601), Ok(micros));
        let seoul = moment.to_zoned(TimeZone::get("Asia/Seoul").unwrap());
        prop_assert_eq!(of(&json!(seoul.datetime().to_string()), TimeFormat::Iso8601), Ok(micros));
        prop_assert_eq!(of(&json!(micros), TimeFormat::EpochUs), Ok(micros));
        prop_assert_eq!(of(&json!(micros * 1_000), TimeFormat::EpochNs), Ok(micros));
        prop_assert_eq!(of(&json!(micros.div_euclid(1_000)), TimeFormat::EpochMs), Ok(micros.div_euclid(1_000) * 1_000));
        let seconds = of(&json!(micros as f64 / 1e6), TimeFormat::EpochS).unwrap();
        prop_assert!((seconds - micros).abs() <= 1, "{seconds}");
    }

    #[test]
    fn no_text_panics(text in "[-+0-9T:Z. eE]{0,40}", zone in proptest::option::of("[A-Za-z/]{0,12}")) {
        for format in FORMATS.into_iter().chain([TimeFormat::Iso8601]) {
            if let Ok(micros) = wall_us(&json!(text), format, zone.as_deref()) {
                prop_assert!((EARLIEST_US..LATEST_US).contains(&micros));
            }
        }
    }
}
