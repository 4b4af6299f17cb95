//! Tags: raw values become readings with type, scale and quality, and only those
//! worth a record pass.
//!
//! Pure: no I/O and no clock; a reading's time is its reply's. It promises that
//! every change of quality passes, that times of one signal go up as its replies do,
//! and that a value of a series always has the series' type. It knows no protocol.

use std::time::Duration;

use sandan_proto::reading::{Quality, Value, ValueType};

use crate::config::{Config, Decode, Publish, Signal};
use crate::driver::Reply;

mod decode;

pub use decode::decode;

/// The tag stage of one gateway: one tag a signal, each with the last reading that passed.
#[derive(Debug)]
pub struct Tags(Vec<Tag>);

#[derive(Debug)]
struct Tag {
    decode: Decode,
    value_type: ValueType,
    publish: Publish,
    interval_us: i64,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    at_us: i64,
    value: Value,
    quality: Quality,
}

impl Tags {
    /// Tags for every signal, with nothing seen yet: the first reading of each passes.
    pub fn new(config: &Config) -> Self {
        Self(config.signals.iter().map(Tag::new).collect())
    }

    /// Emits the readings of a reply that are worth a record: series, monotonic
    /// microseconds, value and quality. A signal that the configuration does not have
    /// is passed over.
    pub fn apply(&mut self, reply: &Reply, emit: &mut dyn FnMut(u32, i64, Value, Quality)) {
        for reading in &reply.readings {
            let Some(tag) = self.0.get_mut(reading.signal as usize) else { continue };
            let at_us = reading.at_us.unwrap_or(reply.at_us);
            let (value, quality) = match decode(&tag.decode, &reading.raw) {
                Ok(value) if !reading.quality.is_bad() => (value, reading.quality),
                Ok(_) => (Value::place_holder(tag.value_type), reading.quality),
                Err(quality) => (Value::place_holder(tag.value_type), quality),
            };
            // What a source tells late says nothing about what is to come, and passes.
            let is_late = reading.is_historical || tag.last.as_ref().is_some_and(|last| at_us < last.at_us);
            if is_late || tag.passes(at_us, &value, quality) {
                if !is_late {
                    tag.last = Some(Last { at_us, value: value.clone(), quality });
                }
                emit(reading.signal, at_us, value, quality);
            }
        }
    }
}

impl Tag {
    fn new(signal: &Signal) -> Self {
        Self {
            decode: signal.decode.clone(),
            value_type: signal.decode.value_type(),
            publish: signal.publish,
            interval_us: micros(signal.interval),
            last: None,
        }
    }

    fn passes(&self, at_us: i64, value: &Value, quality: Quality) -> bool {
        let Some(last) = &self.last else { return true };
        if quality != last.quality {
            return true;
        }
        // A device that stays bad for the same reason said all there is to say.
        if quality.is_bad() {
            return false;
        }
        let heartbeat_due = |heartbeat: Duration| {
            // The next one would come too late: one interval earlier is in time.
            at_us.saturating_sub(last.at_us).saturating_add(self.interval_us) > micros(heartbeat)
        };
        match self.publish {
            Publish::Always => true,
            Publish::OnChange { heartbeat } => *value != last.value || heartbeat_due(heartbeat),
            Publish::Deadband { width, heartbeat } => {
                let moved = match (value, &last.value) {
                    (Value::I64(now), Value::I64(then)) => now.abs_diff(*then) as f64 >= width,
                    (now, then) => match (now.as_f64(), then.as_f64()) {
                        (Some(now), Some(then)) => (now - then).abs() >= width,
                        _ => now != then,
                    },
                };
                moved || heartbeat_due(heartbeat)
            }
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
