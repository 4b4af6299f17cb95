//! How fast a store grows, when its disk is full, how long a backup takes: reckoned from what the
//! files hold. Pure; `check` measures.

use serde::Serialize;

use crate::time::{DAY_US, HOUR_US};

/// The newest readings from which the rate is taken: a week, with its weekend.
pub(super) const WINDOW_US: i64 = 7 * DAY_US;
/// Below it a rate says nothing.
const LEAST_US: i64 = HOUR_US;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    /// Of all database files, with their logs.
    pub bytes: u64,
    /// Readings in them.
    pub readings: u64,
    /// Since the earliest of them, µs; none where there is none.
    pub age_us: Option<i64>,
    /// Readings of the last [`WINDOW_US`].
    pub of_window: u64,
    /// How much the disk still takes above the reserve.
    pub room: u64,
    /// For how long any reading is kept, µs; `i64::MAX`: for ever.
    pub kept_us: i64,
    /// Bytes that a backup copies in a second.
    pub backup_rate: u64,
}

/// What it comes to if all goes on as in the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Forecast {
    /// How it grows; none while there is less than an hour of readings.
    pub growth: Option<Growth>,
    /// Bytes that the disk still takes above the reserve.
    pub room_bytes: u64,
    /// Bytes of a backup that shares nothing with an earlier one, without keys.
    pub backup_bytes: u64,
    /// What it takes at its usual rate at least, s.
    pub backup_seconds: u64,
}

/// How a store grows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Growth {
    /// The rate is that of the readings of so many µs before now.
    pub window_us: i64,
    /// Readings that came in a day.
    pub readings_a_day: u64,
    /// Bytes that one takes, with its share of all else in the files.
    pub bytes_a_reading: f64,
    /// 10⁹ bytes that come in a day.
    pub gb_a_day: f64,
    /// What comes of the room.
    pub room: Outlook,
}

/// What comes of the room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// It is used up, down to the reserve, in so many whole days.
    FullInDays(u64),
    /// Retention deletes as much as comes before it is: the files stay at about so many bytes.
    StaysAtBytes(u64),
}

/// Reckons.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of what is never negative; casts of floats saturate"
)]
pub(super) fn forecast(it: &Measured) -> Forecast {
    let growth = it.age_us.filter(|&age_us| age_us >= LEAST_US && it.readings > 0).map(|age_us| {
        let window_us = age_us.min(WINDOW_US);
        let readings_a_day = it.of_window as f64 * DAY_US as f64 / window_us as f64;
        let bytes_a_reading = it.bytes as f64 / it.readings as f64;
        let bytes_a_day = readings_a_day * bytes_a_reading;
        // Files do not shrink, so that they never take less than now.
        let evened_out = match it.kept_us {
            i64::MAX if bytes_a_day > 0.0 => f64::INFINITY,
            i64::MAX => 0.0,
            kept_us => bytes_a_day * (kept_us as f64 / DAY_US as f64),
        }
        .max(it.bytes as f64);
        let room = if evened_out <= it.bytes as f64 + it.room as f64 {
            Outlook::StaysAtBytes(evened_out as u64)
        } else {
            Outlook::FullInDays((it.room as f64 / bytes_a_day) as u64)
        };
        let readings_a_day = readings_a_day as u64;
        Growth { window_us, readings_a_day, bytes_a_reading, gb_a_day: bytes_a_day / 1e9, room }
    });
    let backup_seconds = it.bytes.div_ceil(it.backup_rate.max(1));
    Forecast { growth, room_bytes: it.room, backup_bytes: it.bytes, backup_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A month of a million readings a day of 4 bytes each, kept for ever.
    const STORE: Measured = Measured {
        bytes: 120_000_000,
        readings: 30_000_000,
        age_us: Some(30 * DAY_US),
        of_window: 7_000_000,
        room: 4_000_000_000,
        kept_us: i64::MAX,
        backup_rate: 64 << 20,
    };

    fn room(it: &Measured) -> Option<Outlook> {
        forecast(it).growth.map(|growth| growth.room)
    }

    #[test]
    fn a_store_that_keeps_all_is_full_one_day() {
        let came = forecast(&STORE);
        let growth = came.growth.unwrap();
        assert_eq!((growth.window_us, growth.readings_a_day), (7 * DAY_US, 1_000_000));
        assert!((growth.gb_a_day - 0.004).abs() < 1e-9 && (growth.bytes_a_reading - 4.0).abs() < 1e-9, "{growth:?}");
        assert_eq!(growth.room, Outlook::FullInDays(1_000));
        assert_eq!((came.backup_bytes, came.backup_seconds), (120_000_000, 2));
        assert_eq!(room(&Measured { room: 0, ..STORE }), Some(Outlook::FullInDays(0)), "the reserve is reached");
    }

    #[test]
    fn an_empty_store_and_one_of_minutes_tell_no_rate() {
        let empty = Measured { bytes: 90_000, readings: 0, age_us: None, of_window: 0, ..STORE };
        assert_eq!(forecast(&empty).growth, None);
        assert_eq!(forecast(&empty).backup_seconds, 1);
        let young = Measured { age_us: Some(HOUR_US - 1), ..STORE };
        assert_eq!(forecast(&young).growth, None);
        // Of a clock that goes ahead.
        assert_eq!(forecast(&Measured { age_us: Some(-5), ..STORE }).growth, None);
    }

    #[test]
    fn an_hour_is_taken_for_a_day_by_its_own_length() {
        let hour = Measured { age_us: Some(HOUR_US), readings: 3_600, of_window: 3_600, bytes: 36_000, ..STORE };
        let growth = forecast(&hour).growth.unwrap();
        assert_eq!((growth.window_us, growth.readings_a_day), (HOUR_US, 86_400));
        assert!((growth.gb_a_day - 0.000_864).abs() < 1e-9, "{growth:?}");
    }

    #[test]
    fn retention_evens_it_out_where_the_disk_is_large_enough() {
        let kept = Measured { kept_us: 90 * DAY_US, ..STORE };
        assert_eq!(room(&kept), Some(Outlook::StaysAtBytes(360_000_000)));
        assert_eq!(room(&Measured { room: 240_000_000, ..kept }), Some(Outlook::StaysAtBytes(360_000_000)));
        assert_eq!(room(&Measured { room: 239_000_000, ..kept }), Some(Outlook::FullInDays(59)));
    }

    #[test]
    fn a_store_of_which_more_goes_than_comes_stays_as_large_as_it_is() {
        let less = Measured { of_window: 700_000, kept_us: 90 * DAY_US, ..STORE };
        assert_eq!(room(&less), Some(Outlook::StaysAtBytes(120_000_000)));
        let none = Measured { of_window: 0, room: 0, ..STORE };
        assert_eq!(room(&none), Some(Outlook::StaysAtBytes(120_000_000)), "nothing comes");
    }
}
