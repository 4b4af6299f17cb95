//! Rows that a day allows.

use crate::time::DAY_US;

/// The day of UTC that a time lies in, in days since 1970.
pub(super) fn day_of(now_us: i64) -> i64 {
    now_us.div_euclid(DAY_US)
}

/// When the day after begins, µs since 1970: quotas begin anew.
pub(super) fn begins_anew_us(day: i64) -> i64 {
    (day + 1) * DAY_US
}
