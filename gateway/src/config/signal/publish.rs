//! Which values of a signal become readings: `on_change`, the three deadbands, `heartbeat`
//! and `min_interval`.

use std::time::Duration;

use sandan_proto::reading::ValueType;

use super::INTERVALS;
use crate::config::notation;
use crate::config::section::{At, Section};
use crate::config::units::{Conversion, plain};

/// Heartbeat of a signal with a deadband or on change that names none.
const DEFAULT_HEARTBEAT: Duration = Duration::from_mins(1);

/// Which values become readings. A change of quality always does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Publish {
    /// What must have changed since the last reading.
    pub change: Change,
    /// Longest silence while nothing changes; `None` when every value passes.
    pub heartbeat: Option<Duration>,
    /// Least time between two readings; zero for none.
    pub min_interval: Duration,
}

/// How much a value must differ from the last reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Not at all: every value passes.
    None,
    /// By anything.
    Any,
    /// By at least this, in the unit of the signal.
    By(f64),
    /// By at least this share of the last reading's value.
    ByShare(f64),
}

impl Publish {
    /// Every value.
    pub const ALL: Self = Self { change: Change::None, heartbeat: None, min_interval: Duration::ZERO };

    /// The same with its widths in another unit.
    pub(super) fn converted(self, conversion: Conversion) -> Self {
        match self.change {
            Change::By(width) => Self { change: Change::By(plain(width * conversion.factor.abs())), ..self },
            Change::None | Change::Any | Change::ByShare(_) => self,
        }
    }
}

/// What the keys say of a signal that gives a value every `interval`.
pub(super) fn publish(section: &Section<'_>, value_type: Option<ValueType>, interval: Duration) -> Publish {
    let change = change(section, value_type);
    let heartbeat = section.duration("heartbeat", INTERVALS);
    let min_interval = section.duration("min_interval", INTERVALS);
    let shown = notation::show_duration(interval);
    let log = section.log;
    if let Some(heartbeat) = heartbeat {
        if change == Change::None {
            log.fault(
                heartbeat.at,
                "`heartbeat` does nothing: every value is a reading already",
                "add on_change = true or a deadband, or leave heartbeat out",
            );
        } else if heartbeat.value < interval {
            log.fault(
                heartbeat.at,
                format!("`heartbeat` is shorter than the interval, {shown}"),
                "make it a few intervals long",
            );
        }
    }
    if let Some(least) = min_interval
        && least.value <= interval
    {
        log.fault(
            least.at,
            format!("`min_interval` does nothing: a value comes every {shown}"),
            "make it a few intervals long, or leave it out",
        );
    }
    let least = min_interval.map_or(Duration::ZERO, |least| least.value);
    if let Some(heartbeat) = heartbeat.filter(|heartbeat| heartbeat.value < least) {
        log.fault(
            heartbeat.at,
            "`heartbeat` is shorter than `min_interval`",
            "the longest silence cannot be shorter than the least: raise the one or lower the other",
        );
    }
    let default = DEFAULT_HEARTBEAT.max(interval).max(least);
    Publish {
        change,
        heartbeat: (change != Change::None).then(|| heartbeat.map_or(default, |heartbeat| heartbeat.value)),
        min_interval: least,
    }
}

fn change(section: &Section<'_>, value_type: Option<ValueType>) -> Change {
    const OF_VALUE: &str = "deadband_percent_of_value";
    const OF_RANGE: &str = "deadband_percent_of_range";
    let on_change = section.flag("on_change").filter(|flag| flag.value);
    let width = section.number("deadband").map(|width| ("deadband", width));
    let of_value = percent(section, OF_VALUE).map(|percent| (OF_VALUE, percent));
    let of_range = percent(section, OF_RANGE).map(|percent| (OF_RANGE, percent));
    let log = section.log;
    let bands: Vec<_> = [width, of_value, of_range].into_iter().flatten().collect();
    let Some((name, band)) = bands.first().copied() else {
        return if on_change.is_some() { Change::Any } else { Change::None };
    };
    if let [_, (second, also), ..] = bands[..] {
        log.fault(also.at, format!("`{name}` and `{second}` exclude each other"), "keep one of them");
    }
    if band.value <= 0.0 {
        log.fault(band.at, format!("`{name}` is not above 0"), "write on_change = true to pass every change");
    }
    if let Some(on_change) = on_change {
        log.fault(on_change.at, format!("`on_change` and `{name}` exclude each other"), "keep the deadband alone");
    }
    if matches!(value_type, Some(ValueType::Bool | ValueType::Text)) {
        log.fault(band.at, format!("`{name}` is for numbers"), "write on_change = true instead");
    }
    match name {
        OF_VALUE => Change::ByShare(band.value / 100.0),
        OF_RANGE => Change::By(band.value / 100.0 * span(section, band.at)),
        _ => Change::By(band.value),
    }
}

/// A number of per cent, more than which no deadband is meant.
fn percent(section: &Section<'_>, key: &'static str) -> Option<At<f64>> {
    let percent = section.number(key)?;
    if percent.value > 100.0 {
        section.log.fault(
            percent.at,
            format!("`{key}` is {}, more than 100", percent.value),
            format!("write per cent: {key} = 1"),
        );
    }
    Some(percent)
}

/// How wide the signal's range is: what OPC UA calls its `EURange`.
fn span(section: &Section<'_>, at: usize) -> f64 {
    let range = match section.pair("valid_range") {
        None => section.pair("unit_range"),
        range => range,
    };
    let Some(range) = range else {
        section.log.fault(
            at,
            "`deadband_percent_of_range` needs the signal's range",
            "write valid_range = [0, 100] or unit_range beside it, or `deadband` in the signal's unit",
        );
        return 0.0;
    };
    (range.value.1 - range.value.0).abs()
}
