//! How much of what was to be expected came, no finer than what is shared: where buckets are,
//! buckets are counted, and readings only where their count is asked for and shared.

use super::Rows;
use crate::consent::{Form, Function, Grid, Request};

/// What came of what was to be expected in the times that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Completeness {
    /// Readings that came; none where the answer does not say how many there are.
    pub readings: Option<u64>,
    /// Those that the declared interval lets expect; none where there is none, or they are not counted.
    pub expected_readings: Option<u64>,
    /// Buckets that hold something; none of single readings.
    pub buckets: Option<u64>,
    /// Those that there could be.
    pub expected_buckets: Option<u64>,
}

/// Counts what is handed on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Came {
    readings: u64,
    buckets: u64,
}

impl Came {
    pub(super) fn count(&mut self, rows: &Rows) {
        match rows {
            Rows::Raw(rows) => self.readings += rows.len() as u64,
            Rows::Buckets(rows) => {
                self.readings += rows.iter().map(|row| row.count).sum::<u64>();
                self.buckets += rows.iter().filter(|row| row.count > 0 || !row.durations.is_empty()).count() as u64;
            }
        }
    }

    /// Of the parts of `ranges`, which are disjoint and in order, that lie in [from, to).
    pub(super) fn of(
        self,
        request: &Request,
        expected_interval_ms: u32,
        ranges: &[(i64, i64)],
        (from_us, to_us): (i64, i64),
    ) -> Completeness {
        let read =
            ranges.iter().map(|(from, to)| (*from.max(&from_us), *to.min(&to_us))).filter(|(from, to)| from < to);
        let interval_us = i64::from(expected_interval_ms) * 1_000;
        let counts = request.form == Form::Raw || request.functions.contains(&Function::Count);
        let expected = |us: i64| u64::try_from(us / interval_us).unwrap_or(0);
        let (mut time_us, mut cells) = (0_i64, 0);
        for (from_us, to_us) in read {
            time_us = time_us.saturating_add(to_us - from_us);
            if let Form::Bucketed { grid } = &request.form {
                cells += cells_of(grid, from_us, to_us);
            }
        }
        let is_bucketed = request.form != Form::Raw;
        Completeness {
            readings: counts.then_some(self.readings),
            expected_readings: (counts && interval_us > 0).then(|| expected(time_us)),
            buckets: is_bucketed.then_some(self.buckets),
            expected_buckets: is_bucketed.then_some(cells),
        }
    }
}

/// How many buckets lie in [from, to), of which `from` is an edge.
fn cells_of(grid: &Grid, from_us: i64, to_us: i64) -> u64 {
    let Grid::Days { .. } = grid else {
        let (start_us, end_us) = grid.bucket(from_us);
        return u64::try_from((to_us - from_us) / (end_us - start_us).max(1)).unwrap_or(0);
    };
    let next = |edge_us: &i64| Some(grid.bucket(*edge_us).1);
    let ends = std::iter::successors(next(&from_us), next);
    ends.take_while(|end_us| *end_us <= to_us).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::fixture::request;
    use crate::time::{HOUR_US, SECOND_US};

    #[test]
    fn readings_are_counted_only_where_their_count_is_shared() {
        let came = Came { readings: 50, buckets: 2 };
        let ranges = [(0, 60 * SECOND_US), (120 * SECOND_US, 240 * SECOND_US)];
        let raw = came.of(&request("saesol", Form::Raw, 0, 240), 1_000, &ranges, (30 * SECOND_US, 180 * SECOND_US));
        let counted = Completeness { readings: Some(50), expected_readings: Some(90), ..Completeness::default() };
        assert_eq!(raw, counted);
        let mut minutes = request("saesol", Form::buckets(60 * SECOND_US), 0, 240);
        let cells = Completeness { buckets: Some(2), expected_buckets: Some(3), ..Completeness::default() };
        assert_eq!(came.of(&minutes, 1_000, &ranges, (0, i64::MAX)), cells);
        minutes.functions.insert(Function::Count);
        let both = Completeness { readings: Some(50), expected_readings: Some(180), ..cells };
        assert_eq!(came.of(&minutes, 1_000, &ranges, (0, i64::MAX)), both);
        let undeclared = Completeness { expected_readings: None, ..both };
        assert_eq!(came.of(&minutes, 0, &ranges, (0, i64::MAX)), undeclared);
    }

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        let grid = Grid::Days { zone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap() };
        // Three days around the one of 23 hours in 2026.
        let (from_us, _) = grid.bucket(crate::time::parse_time("2026-03-28T12:00:00Z", 0).unwrap());
        assert_eq!(cells_of(&grid, from_us, from_us + 71 * HOUR_US), 3);
        assert_eq!(cells_of(&grid, from_us, from_us + 70 * HOUR_US), 2);
    }
}
