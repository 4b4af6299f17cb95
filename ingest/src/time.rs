//! Time as text and as an injected source. Inside, time is microseconds since
//! 1970-01-01T00:00:00Z in an `i64`; outside it is RFC 3339 in UTC.

use std::sync::Arc;

use jiff::Timestamp;

/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds of a minute.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// Microseconds of an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// Microseconds of a day.
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// Where the time comes from; tests bring their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The machine's wall clock.
pub fn system_clock() -> Clock {
    Arc::new(|| Timestamp::now().as_microsecond())
}

/// A text that is neither a time nor a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not a time.
    #[error("`{0}` is not a time: RFC 3339 such as 2026-03-02T09:00:00+09:00, or now, now-1h, now+30d")]
    Time(String),
    /// A time that cannot be reckoned with.
    #[error("`{0}` lies beyond the times that are known here: the years -9999 to 9999")]
    Range(String),
    /// Not a duration.
    #[error("`{0}` is not a duration: a whole number and ms, s, m, h or d, such as 60s")]
    Duration(String),
    /// More than 292,000 years.
    #[error("`{0}` is too long a time")]
    TooLong(String),
}

/// What was typed, cut and without what a terminal would obey.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// RFC 3339, `Z`, with as many fractional digits as needed.
pub fn rfc3339(us: i64) -> String {
    Timestamp::from_microsecond(us.clamp(Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond()))
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// RFC 3339 with any offset, `now`, `now-1h` or `now+30d`; µs since 1970.
///
/// A blank where the sign of the offset belongs is taken for `+`: that is what an
/// unescaped `+` in a query string turns into.
pub fn parse_time(text: &str, now_us: i64) -> Result<i64, TimeError> {
    let refused = || TimeError::Time(shown(text));
    if let Some(rest) = text.strip_prefix("now") {
        let span = |rest: &str| {
            parse_duration(rest).map_err(|error| match error {
                TimeError::TooLong(_) => TimeError::Range(shown(text)),
                _ => refused(),
            })
        };
        let known = |us: i64| match Timestamp::from_microsecond(us) {
            Ok(_) => Ok(us),
            Err(_) => Err(TimeError::Range(shown(text))),
        };
        // A blank is a `+` that was not escaped, as below.
        return match rest.as_bytes().first() {
            None => Ok(now_us),
            Some(b'-') => known(now_us.saturating_sub(span(&rest[1..])?)),
            Some(b'+' | b' ') => known(now_us.saturating_add(span(&rest[1..])?)),
            Some(_) => Err(refused()),
        };
    }
    let mended = match text.rfind(' ') {
        Some(at) if at + 6 == text.len() && at > 10 => format!("{}+{}", &text[..at], &text[at + 1..]),
        _ => text.to_owned(),
    };
    mended
        .parse::<Timestamp>()
        .map(Timestamp::as_microsecond)
        .map_err(|_| if has_long_year(&mended) { TimeError::Range(shown(text)) } else { refused() })
}

/// Whether a text begins as a date does whose year has more than four digits.
fn has_long_year(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-', ' ']);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    digits > 4 && unsigned[digits..].starts_with('-')
}

/// `100ms`, `60s`, `5m`, `1h`, `90d`; µs, above 0.
pub fn parse_duration(text: &str) -> Result<i64, TimeError> {
    let refused = || TimeError::Duration(shown(text));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_us = match unit {
        "ms" => 1_000,
        "s" => SECOND_US,
        "m" => MINUTE_US,
        "h" => HOUR_US,
        "d" => DAY_US,
        _ => return Err(refused()),
    };
    if number.is_empty() {
        return Err(refused());
    }
    // Digits alone fail only by being too many.
    let us = number.parse::<i64>().ok().and_then(|n| n.checked_mul(unit_us));
    let us = us.ok_or_else(|| TimeError::TooLong(shown(text)))?;
    if us > 0 { Ok(us) } else { Err(refused()) }
}

/// The shortest of `90d`, `36h`, `5m`, `60s`, `100ms` that is exact to the millisecond.
pub fn show_duration(us: i64) -> String {
    for (unit, name) in [(DAY_US, "d"), (HOUR_US, "h"), (MINUTE_US, "m"), (SECOND_US, "s")] {
        if us % unit == 0 {
            return format!("{}{name}", us / unit);
        }
    }
    format!("{}ms", us / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_several_shapes() {
        let nine = parse_time("2026-03-02T09:00:00+09:00", 0).unwrap();
        assert_eq!(rfc3339(nine), "2026-03-02T00:00:00Z");
        assert_eq!(parse_time("2026-03-02T09:00:00 09:00", 0).unwrap(), nine);
        assert_eq!(parse_time("now-1h", nine).unwrap(), nine - 3_600 * SECOND_US);
        assert_eq!(parse_time("now+30d", nine).unwrap(), nine + 30 * 86_400 * SECOND_US);
        assert_eq!(parse_time("now", nine).unwrap(), nine);
        assert_eq!(rfc3339(nine + 1_500), "2026-03-02T00:00:00.0015Z");
        for beyond in ["10000-01-01T00:00:00Z", "now+99999999d", "now-99999999999999999d", "now+300000000000s"] {
            let error = parse_time(beyond, nine).unwrap_err();
            assert_eq!(error, TimeError::Range(beyond.into()), "{beyond}");
        }
        for bad in ["", "yesterday", "now+", "nowish", "now-", "2026-03-02", "9", "한국 09:00"] {
            assert!(parse_time(bad, 0).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn durations_are_whole_and_positive() {
        for (text, us) in [("100ms", 100_000), ("60s", 60 * SECOND_US), ("90d", 90 * DAY_US)] {
            assert_eq!(parse_duration(text).unwrap(), us);
        }
        assert_eq!(show_duration(90 * DAY_US), "90d");
        assert_eq!(show_duration(60 * SECOND_US), "1m");
        assert_eq!(show_duration(1_500_000), "1500ms");
        for bad in ["", "0s", "1", "s", "-1s", "1.5s", "1y", "99999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was taken");
        }
    }
}
