//! Counters: which signals count, and where they begin at 0 again.

use sandan_proto::reading::ValueType;

use crate::config::dictionary::{Kind, Metric};
use crate::config::register::{Meaning, Register};
use crate::config::section::{At, Section};
use crate::config::signal::Decode;
use crate::config::units::Conversion;

/// A signal that only goes up until it is reset or wraps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counter {
    /// Where it begins at 0 again, in the signal's unit; `None` where nobody knows.
    pub wrap: Option<f64>,
}

/// What the row says: whether the signal counts, and its `wrap` in the unit it is configured in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    is_counter: bool,
    wrap: Option<f64>,
}

/// `counter` and `wrap`, and what the dictionary says of the metric.
pub(super) fn counts(section: &Section<'_>, metric: Option<&'static Metric>, value_type: Option<ValueType>) -> Counts {
    let own = section.flag("counter");
    let wrap = section.number("wrap");
    let log = section.log;
    if let (Some(own), Some(metric)) = (own, metric) {
        let what = if metric.kind == Kind::Counter { "a" } else { "no" };
        log.fault(
            own.at,
            format!("`counter` is for metrics of your own: the dictionary says that `{}` is {what} counter", metric.id),
            "leave it out",
        );
    }
    let is_counter = metric.map_or_else(|| own.is_some_and(|own| own.value), |metric| metric.kind == Kind::Counter);
    if let Some(own) = own.filter(|own| own.value)
        && matches!(value_type, Some(ValueType::Bool | ValueType::Text))
    {
        log.fault(own.at, "`counter` is for numbers", "leave it out");
    }
    if let Some(wrap) = wrap {
        let At { value, at } = wrap;
        if !is_counter {
            log.fault(at, "`wrap` is for counters", "write counter = true beside it, or leave it out");
        } else if value <= 0.0 {
            log.fault(at, "`wrap` is not above 0", "write where the counter begins again: wrap = 1000000");
        }
    }
    Counts { is_counter, wrap: wrap.map(|wrap| wrap.value) }
}

impl Counts {
    pub(super) fn is_counter(self) -> bool {
        self.is_counter
    }

    /// With the wrap in the signal's unit: the one that is written, else that of the register.
    pub(super) fn counter(self, conversion: Option<Conversion>, decode: &Decode) -> Option<Counter> {
        let written = self.wrap.map(|wrap| conversion.map_or(wrap, |to| wrap * to.factor.abs()));
        self.is_counter.then(|| Counter { wrap: written.or_else(|| of_type(decode)) })
    }
}

/// One more than the greatest number of a register without a sign, in the signal's unit. Of
/// 64 bits there is none: nothing counts that far.
fn of_type(decode: &Decode) -> Option<f64> {
    /// Decimal digits are a nibble each.
    const BITS_OF_A_DIGIT: u32 = 4;
    let Decode::Register(register) = decode else { return None };
    let Register { format, mask, meaning: Meaning::Value(scale), aids, .. } = &**register else { return None };
    if !aids.is_empty() || format.bits() > u32::BITS {
        return None;
    }
    let counts = match mask {
        Some(mask) if format.is_unsigned() => ((mask >> mask.trailing_zeros().min(63)) as f64) + 1.0,
        None if format.is_unsigned() => 2f64.powi(format.bits().cast_signed()),
        None if format.is_bcd() => 10f64.powi((format.bits() / BITS_OF_A_DIGIT).cast_signed()),
        _ => return None,
    };
    Some(scale.map_or(counts, |scale| (scale.apply(counts) - scale.apply(0.0)).abs()))
}
