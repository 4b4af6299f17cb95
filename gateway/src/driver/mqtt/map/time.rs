//! A source's own times. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::shown;
use crate::config::TimeFormat;

/// 2000-01-01. What lies before it is a clock that was never set, or another format.
const EARLIEST_US: i64 = 946_684_800_000_000;
/// 2100-01-01.
const LATEST_US: i64 = 4_102_444_800_000_000;
/// Longest text of a time.
const MAX_BYTES: usize = 64;

/// A time as microseconds since 1970. `zone` is where a time without an offset is meant, by
/// its IANA name. The error is a reason that goes on from "a message on …".
pub(super) fn wall_us(value: &Value, format: TimeFormat, zone: Option<&str>) -> Result<i64, String> {
    let said = match value {
        Value::String(text) => shown(text),
        Value::Number(number) => number.to_string(),
        _ => return Err("has something else than a time where its time should be".into()),
    };
    let micros = match (format, value) {
        (TimeFormat::Iso8601, Value::String(text)) => iso(text, zone)?,
        (TimeFormat::Iso8601, _) => return Err(format!("has a time that is not ISO 8601: {said}")),
        (_, Value::Number(number)) => match number.as_i64() {
            Some(integer) => whole(integer, format),
            None => number.as_f64().and_then(|number| fraction(number, format)),
        }
        .ok_or_else(|| outside(&said))?,
        (_, Value::String(text)) => {
            match (text.len() <= MAX_BYTES, text.trim().parse::<i64>(), text.trim().parse::<f64>()) {
                (true, Ok(integer), _) => whole(integer, format),
                (true, _, Ok(number)) => fraction(number, format),
                _ => return Err(format!("has a time that is not a number: {said}")),
            }
            .ok_or_else(|| outside(&said))?
        }
        _ => return Err(outside(&said)),
    };
    if (EARLIEST_US..LATEST_US).contains(&micros) { Ok(micros) } else { Err(outside(&said)) }
}

fn outside(said: &str) -> String {
    format!("has a time outside 2000 to 2100, {said}: is `time_format` right?")
}

fn whole(integer: i64, format: TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Iso8601 => None,
        TimeFormat::EpochS => integer.checked_mul(1_000_000),
        TimeFormat::EpochMs => integer.checked_mul(1_000),
        TimeFormat::EpochUs => Some(integer),
        TimeFormat::EpochNs => Some(integer.div_euclid(1_000)),
    }
}

/// With 53 bits a number of seconds of this century is good to less than a microsecond.
fn fraction(number: f64, format: TimeFormat) -> Option<i64> {
    let micros = match format {
        TimeFormat::Iso8601 => return None,
        TimeFormat::EpochS => number * 1e6,
        TimeFormat::EpochMs => number * 1e3,
        TimeFormat::EpochUs => number,
        TimeFormat::EpochNs => number / 1e3,
    };
    #[allow(clippy::cast_possible_truncation, reason = "within the range of times, which f64 holds")]
    (micros.abs() <= LATEST_US as f64).then(|| micros.round() as i64)
}

fn iso(text: &str, zone: Option<&str>) -> Result<i64, String> {
    let wrong = || format!("has a time that is not ISO 8601: `{}`", shown(text));
    let text = text.trim();
    // A date alone is no moment.
    if text.len() > MAX_BYTES || !text.contains(':') {
        return Err(wrong());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.as_microsecond());
    }
    let local: DateTime = text.parse().map_err(|_| wrong())?;
    let zone =
        zone.ok_or_else(|| format!("has a time without an offset, `{}`, and the asset has no time_zone", shown(text)))?;
    let zone = TimeZone::get(zone).map_err(|_| format!("cannot be dated: this machine knows no time zone {zone}"))?;
    // In the hour that comes twice in autumn, and the one that is left out in spring, nobody
    // can tell.
    let moment = zone.to_ambiguous_zoned(local).unambiguous();
    let moment = moment.map_err(|_| format!("has a time that its zone has twice or never: `{}`", shown(text)))?;
    Ok(moment.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests;
