//! `[fleet]`: how often gateways report, and when something is wrong with one.

use sandan_proto::id::GatewayId;

use super::table::{Table, Text};
use crate::fleet::{Bounds, Pair};
use crate::time::{DAY_US, MINUTE_US, SECOND_US, parse_duration, show_duration};

/// The shortest and the longest heartbeat, µs. A gateway takes none that is longer.
const HEARTBEAT_US: (i64, i64) = (SECOND_US / 5, MINUTE_US);
/// The longest time that any bound names, µs.
const MAX_US: i64 = 3_660 * DAY_US;
/// Characters of a SHA-256, hexadecimal.
const HASH_CHARS: usize = 64;

/// Which way a figure is worse.
#[derive(Clone, Copy, PartialEq)]
enum Worse {
    Greater,
    Smaller,
}

/// A fault in it is noted, and ends the loading.
pub(super) fn bounds(table: Option<&Table<'_>>) -> Bounds {
    let otherwise = Bounds::default();
    let Some(table) = table else { return otherwise };
    let count = |table: &Table<'_>, key| table.number(key);
    let heartbeat_us = match table.text("heartbeat") {
        None => otherwise.heartbeat_us,
        Some(it) => match parse_duration(it.value) {
            Ok(us) if (HEARTBEAT_US.0..=HEARTBEAT_US.1).contains(&us) => us,
            _ => {
                let wanted = format!("from {} to {}", show_duration(HEARTBEAT_US.0), show_duration(HEARTBEAT_US.1));
                it.refuse(table, &wanted, "write it like \"10s\"").unwrap_or(otherwise.heartbeat_us)
            }
        },
    };
    let [renewal_late, certificate_left] = two(table, "certificate", ["renewal_late", "left"]);
    let [shown, growing] = two(table, "losses", ["shown", "growing"]);
    let bounds = Bounds {
        heartbeat_us,
        last_contact: pair(table, "last_contact", otherwise.last_contact, Worse::Greater, count),
        poll_success: pair(table, "poll_success", otherwise.poll_success, Worse::Smaller, share),
        poll_time: pair(table, "poll_time", otherwise.poll_time, Worse::Greater, count),
        freshness: pair(table, "freshness", otherwise.freshness, Worse::Greater, count),
        spool_oldest: pair(table, "spool_oldest", otherwise.spool_oldest, Worse::Greater, seconds),
        spool_full_in: pair(table, "spool_full_in", otherwise.spool_full_in, Worse::Smaller, seconds),
        clock_offset: pair(table, "clock_offset", otherwise.clock_offset, Worse::Greater, seconds),
        renewal_late: renewal_late.map_or(otherwise.renewal_late, in_seconds),
        certificate_left: certificate_left.map_or(otherwise.certificate_left, in_seconds),
        loss_shown_us: shown.unwrap_or(otherwise.loss_shown_us),
        growing_us: growing.unwrap_or(otherwise.growing_us),
        approved: table.table("approved").map_or_else(Default::default, |approved| {
            let all = approved.every_text().into_iter();
            all.filter_map(|(name, hash)| one_approved(&approved, name, &hash)).collect()
        }),
    };
    table.finish();
    bounds
}

/// A table of two.
fn pair(
    table: &Table<'_>,
    key: &'static str,
    otherwise: Pair,
    worse: Worse,
    read: impl Fn(&Table<'_>, &'static str) -> Option<f64>,
) -> Pair {
    let Some(of) = table.table(key) else { return otherwise };
    let warn = read(&of, "warn").unwrap_or(otherwise.warn);
    let critical = read(&of, "critical").unwrap_or(otherwise.critical);
    of.finish();
    let is_ordered = match worse {
        Worse::Greater => warn <= critical,
        Worse::Smaller => warn >= critical,
    };
    if !is_ordered {
        let than = if worse == Worse::Greater { "above" } else { "below" };
        let what = format!("`{key}` is critical before it warns");
        of.fault(of.at(), what, &format!("let `critical` lie {than} `warn`; what is left out is as usual"));
    }
    Pair::new(warn, critical)
}

/// A table of two times, µs.
fn two(table: &Table<'_>, key: &'static str, parts: [&'static str; 2]) -> [Option<i64>; 2] {
    let Some(of) = table.table(key) else { return [None; 2] };
    let times = parts.map(|part| time(&of, part));
    of.finish();
    times
}

/// A time, µs.
fn time(table: &Table<'_>, key: &'static str) -> Option<i64> {
    let it = table.text(key)?;
    match parse_duration(it.value) {
        Ok(us) if us <= MAX_US => Some(us),
        _ => it.refuse(table, "a duration", "write a whole number and ms, s, m, h or d, like \"5m\""),
    }
}

fn seconds(table: &Table<'_>, key: &'static str) -> Option<f64> {
    time(table, key).map(in_seconds)
}

fn in_seconds(us: i64) -> f64 {
    us as f64 / SECOND_US as f64
}

/// `99%`, as 0.99.
fn share(table: &Table<'_>, key: &'static str) -> Option<f64> {
    let it = table.text(key)?;
    let percent = it.value.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
        Some(percent) => Some(percent / 100.0),
        None => it.refuse(table, "a share from 0% to 100%", "write it like \"99%\""),
    }
}

fn one_approved(table: &Table<'_>, name: &str, hash: &Text<'_>) -> Option<(GatewayId, String)> {
    let id = match name.parse::<GatewayId>() {
        Ok(id) => id,
        Err(error) => {
            table.fault(hash.at, error.to_string(), "name a gateway as `gateway list` does, in quotes");
            return None;
        }
    };
    let is_hash = hash.value.len() == HASH_CHARS && hash.value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash {
        return Some((id, hash.value.to_ascii_lowercase()));
    }
    hash.refuse(table, "a SHA-256 of 64 hexadecimal digits", "copy `config.hash` of `sandan-gateway status --json`")
}
