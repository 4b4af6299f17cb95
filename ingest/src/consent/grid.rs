//! How time is cut into buckets: by a fixed width, or by the days of a time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::time::DAY_US;

/// A way to cut all of time into buckets that touch and do not overlap.
#[derive(Debug, Clone, PartialEq)]
pub enum Grid {
    /// Buckets of one width, aligned to 1970-01-01T00:00:00Z.
    Fixed {
        /// µs, above 0.
        width_us: i64,
    },
    /// The days of the calendar of a time zone: 23 to 25 hours where clocks are changed.
    Days {
        /// Whose midnights.
        zone: TimeZone,
    },
}

impl Grid {
    /// The bucket that a time lies in: [start, end), µs since 1970.
    pub fn bucket(&self, time_us: i64) -> (i64, i64) {
        match self {
            Grid::Fixed { width_us } => fixed(time_us, *width_us),
            // Only at the ends of the calendar is there no such day.
            Grid::Days { zone } => day(zone, time_us).unwrap_or_else(|| fixed(time_us, DAY_US)),
        }
    }

    /// Whether a bucket begins at a time.
    pub fn is_edge(&self, time_us: i64) -> bool {
        self.bucket(time_us).0 == time_us
    }

    /// The whole buckets inside [from, to), as a range; none when nothing is left.
    pub fn align(&self, from_us: i64, to_us: i64) -> Option<(i64, i64)> {
        if matches!(self, Grid::Fixed { width_us } if *width_us <= 0) {
            return None;
        }
        let (start_us, end_us) = self.bucket(from_us);
        let from_us = if start_us == from_us { from_us } else { end_us };
        let to_us = self.bucket(to_us).0;
        (from_us < to_us).then_some((from_us, to_us))
    }

    /// Whether every edge in [from, to) is a multiple of `unit_us` since 1970, so that no cell
    /// smaller than it comes out by subtracting buckets of two such grids.
    pub fn lies_on(&self, unit_us: i64, from_us: i64, to_us: i64) -> bool {
        if unit_us <= 0 {
            return false;
        }
        match self {
            Grid::Fixed { width_us } => width_us % unit_us == 0,
            Grid::Days { zone } => {
                let (from, to) = (timestamp(from_us), timestamp(to_us));
                let fits = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * 1_000_000 % unit_us == 0;
                let mut changes = zone.following(from).take_while(|change| change.timestamp() < to);
                DAY_US % unit_us == 0 && fits(zone.to_offset(from)) && changes.all(|change| fits(change.offset()))
            }
        }
    }

    /// What the asker wrote: a width in µs, or the name of a time zone.
    pub fn describe(&self) -> Result<i64, String> {
        match self {
            Grid::Fixed { width_us } => Ok(*width_us),
            Grid::Days { zone } => Err(zone.iana_name().unwrap_or("UTC").to_owned()),
        }
    }
}

fn fixed(time_us: i64, width_us: i64) -> (i64, i64) {
    let start_us = time_us.div_euclid(width_us.max(1)).saturating_mul(width_us);
    (start_us, start_us.saturating_add(width_us))
}

fn timestamp(us: i64) -> Timestamp {
    let us = us.clamp(Timestamp::MIN.as_microsecond(), Timestamp::MAX.as_microsecond());
    Timestamp::from_microsecond(us).unwrap_or_default()
}

fn day(zone: &TimeZone, time_us: i64) -> Option<(i64, i64)> {
    let start = timestamp(time_us).to_zoned(zone.clone()).start_of_day().ok()?;
    let end = start.tomorrow().ok()?.start_of_day().ok()?;
    Some((start.timestamp().as_microsecond(), end.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{HOUR_US, parse_time, rfc3339};

    fn days(zone: &str) -> Grid {
        Grid::Days { zone: TimeZone::get(zone).unwrap() }
    }

    fn us(text: &str) -> i64 {
        parse_time(text, 0).unwrap()
    }

    #[test]
    fn a_day_in_seoul_begins_at_15_hours_utc() {
        let (start, end) = days("Asia/Seoul").bucket(us("2026-03-02T00:30:00+09:00"));
        assert_eq!((rfc3339(start).as_str(), rfc3339(end).as_str()), ("2026-03-01T15:00:00Z", "2026-03-02T15:00:00Z"));
    }

    #[test]
    fn a_day_is_as_long_as_the_clocks_make_it() {
        let length = |text| {
            let (start, end) = days("Europe/Berlin").bucket(us(text));
            (end - start) / HOUR_US
        };
        assert_eq!(length("2026-03-28T12:00:00Z"), 24);
        assert_eq!(length("2026-03-29T12:00:00Z"), 23);
        assert_eq!(length("2026-10-25T12:00:00Z"), 25);
    }

    #[test]
    fn edges_are_compared_with_a_floor_where_they_lie() {
        let (from, to) = (us("2026-01-01T00:00:00Z"), us("2027-01-01T00:00:00Z"));
        let on = |grid: &Grid, unit| grid.lies_on(unit, from, to);
        assert!(on(&days("Asia/Seoul"), HOUR_US));
        assert!(on(&days("Asia/Seoul"), 3 * HOUR_US), "15:00 is a multiple of three hours");
        assert!(!on(&days("Asia/Seoul"), 2 * HOUR_US), "15:00 is none of two");
        assert!(!on(&days("Asia/Seoul"), DAY_US), "a day of UTC and one of Seoul differ by 9 hours");
        assert!(on(&days("UTC"), DAY_US));
        assert!(!on(&days("Asia/Kolkata"), HOUR_US), "half an hour off");
        assert!(!on(&days("UTC"), 7 * HOUR_US), "a day is no multiple of it");
        assert!(!on(&days("UTC"), 0));
        // Clocks stood half an hour apart in Seoul until 1961.
        let seoul = days("Asia/Seoul");
        assert!(!seoul.lies_on(HOUR_US, us("1960-01-01T00:00:00Z"), us("1962-01-01T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn buckets_hold_their_times_and_touch(
            time in -4_000_000_000_000_000_i64..4_000_000_000_000_000,
            zone in proptest::sample::select(vec!["Asia/Seoul", "Europe/Berlin", "America/Sao_Paulo", "UTC"]),
            width in 1_i64..100_000_000_000,
        ) {
            for grid in [days(zone), Grid::Fixed { width_us: width }] {
                let (start, end) = grid.bucket(time);
                prop_assert!(start <= time && time < end);
                prop_assert_eq!(grid.bucket(start), (start, end));
                prop_assert_eq!(grid.bucket(end - 1), (start, end));
                prop_assert_eq!(grid.bucket(end).0, end);
                prop_assert_eq!(grid.align(start, end), Some((start, end)));
                prop_assert_eq!(grid.align(start + 1, end), None);
            }
        }
    }
}
