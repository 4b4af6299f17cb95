//! How long readings are kept: each reading for a while, the minutes that it was counted in for
//! longer, the hours longest. Pure: the store does it.

use sandan_proto::id::{FirmId, MetricId};

use crate::time::DAY_US;

/// How long is kept what, µs; `i64::MAX`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Readings.
    pub raw_us: i64,
    /// What the readings of each minute came to.
    pub minutes_us: i64,
    /// What those of each hour came to.
    pub hours_us: i64,
}

impl Default for Retention {
    /// Readings for 90 days, minutes for two years, hours for ever.
    fn default() -> Self {
        Self { raw_us: 90 * DAY_US, minutes_us: 731 * DAY_US, hours_us: i64::MAX }
    }
}

/// Which series are kept for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    /// Where nothing else is said.
    pub all: Retention,
    /// Exceptions, of a firm, of a metric, or of one metric of one firm.
    pub except: Vec<(Option<FirmId>, Option<MetricId>, Retention)>,
}

impl Classes {
    /// What holds for a series: the narrowest exception, a firm's own before a metric's, and of
    /// two alike the later.
    pub fn of(&self, firm: &FirmId, metric: &MetricId) -> Retention {
        let fits = |(of, what, _): &&(Option<FirmId>, Option<MetricId>, Retention)| {
            of.as_ref().is_none_or(|of| of == firm) && what.as_ref().is_none_or(|what| what == metric)
        };
        let narrow = |(of, what, _): &&(Option<FirmId>, Option<MetricId>, Retention)| {
            2 * u8::from(of.is_some()) + u8::from(what.is_some())
        };
        self.except.iter().filter(fits).max_by_key(narrow).map_or(self.all, |(_, _, retention)| *retention)
    }
}

impl Classes {
    /// The longest that any reading is kept: nothing older need be taken.
    pub fn longest_us(&self) -> i64 {
        let exceptions = self.except.iter().map(|(_, _, retention)| retention.raw_us);
        exceptions.fold(self.all.raw_us, i64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_exception_holds() {
        let (firm, other) = (FirmId::new("hanbit").unwrap(), FirmId::new("daeil").unwrap());
        let (force, count): (MetricId, MetricId) = ("press_force".parse().unwrap(), "stroke_count".parse().unwrap());
        let days = |days: i64| Retention { raw_us: days * DAY_US, ..Retention::default() };
        let classes = Classes {
            all: days(90),
            except: vec![
                (Some(firm.clone()), Some(force.clone()), days(3)),
                (Some(firm.clone()), None, days(2)),
                (None, Some(force.clone()), days(1)),
            ],
        };
        assert_eq!(classes.of(&firm, &force), days(3));
        assert_eq!(classes.of(&firm, &count), days(2));
        assert_eq!(classes.of(&other, &force), days(1));
        assert_eq!(classes.of(&other, &count), days(90));
        assert_eq!(classes.longest_us(), 90 * DAY_US);
    }
}
