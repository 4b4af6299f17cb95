//! From a payload to samples: JSON and plain values. Pure: bytes in, an [`Outcome`] out.

use sandan_proto::reading::Quality;
use serde_json::Value;

use super::MAX_MESSAGE_BYTES;
use crate::config::{JsonForm, MqttDevice, OwnTime, Payload, Pick, Step};
use crate::driver::Raw;
use crate::driver::message::{Outcome, Sample};

pub mod dry;
mod plain;
mod time;

/// Most samples of one message: the readings of a message stand in one batch, and so many
/// fit into half of one.
pub const MAX_SAMPLES: usize = 16_000;
/// What a reason shows of a value.
const SHOWN_CHARS: usize = 40;

/// What a message says to a device whose topic it fits. `metric` is the level that stands
/// for the metric, where the device's topic has one.
///
/// A payload may bring some signals and leave others to the next. What it brings is taken,
/// also where a part of it cannot be used: the outcome then has both samples and a reason.
pub fn message(device: &MqttDevice, metric: Option<&str>, payload: &[u8]) -> Outcome {
    let picks = device.picks.iter().filter(|pick| metric.is_none() || pick.level.as_deref() == metric);
    let picks: Vec<&Pick> = picks.collect();
    if picks.is_empty() {
        return dead("has no signal of this device in its topic");
    }
    if payload.len() > MAX_MESSAGE_BYTES {
        return dead(format!("has {} bytes, more than {MAX_MESSAGE_BYTES}", payload.len()));
    }
    match &device.payload {
        Payload::Plain => plain(&picks, payload),
        Payload::Json(form) => match serde_json::from_slice(payload) {
            Ok(payload) => json(form, &picks, &payload),
            Err(error) => dead(format!("is not JSON: {error}")),
        },
    }
}

fn dead(reason: impl Into<String>) -> Outcome {
    Outcome { dead: Some(reason.into()), ..Outcome::default() }
}

/// Every pick of a plain value takes the whole of it, each as its own type.
fn plain(picks: &[&Pick], payload: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    for pick in picks {
        match plain::raw(payload, pick.kind) {
            Ok(raw) => outcome.samples.push(Sample::new(pick.signal, raw)),
            Err(reason) => outcome.dead = Some(reason),
        }
    }
    outcome
}

fn json(form: &JsonForm, picks: &[&Pick], payload: &Value) -> Outcome {
    let mut outcome = Outcome::default();
    match &form.samples {
        None => sample(form, picks, payload, payload, &mut outcome),
        Some(path) => match find(payload, path) {
            Some(Value::Array(samples)) if samples.len().saturating_mul(picks.len()) > MAX_SAMPLES => {
                return dead(format!("brings more than {MAX_SAMPLES} values"));
            }
            Some(Value::Array(samples)) => {
                for (index, one) in samples.iter().enumerate() {
                    let before = outcome.dead.take();
                    sample(form, picks, one, payload, &mut outcome);
                    // The first fault of many is told.
                    outcome.dead =
                        before.or_else(|| outcome.dead.take().map(|what| format!("{what} (sample {index})")));
                }
            }
            _ => return dead("has no list at the path `samples`"),
        },
    }
    if outcome.samples.is_empty() && outcome.dead.is_none() {
        outcome.dead = Some("holds none of the configured paths".into());
    }
    outcome
}

/// The values of one moment: `at` is a sample of the payload, or all of it.
fn sample(form: &JsonForm, picks: &[&Pick], at: &Value, payload: &Value, outcome: &mut Outcome) {
    let found: Vec<_> = picks.iter().filter_map(|pick| Some((pick.signal, raw(find(at, &pick.steps)?)))).collect();
    if found.is_empty() {
        return;
    }
    let wall_us = match &form.time {
        None => None,
        Some(own) => match own_time(own, at, payload) {
            Ok(wall_us) => Some(wall_us),
            // Without its time it is not known what the value is.
            Err(reason) => return outcome.dead = Some(reason),
        },
    };
    outcome.samples.extend(found.into_iter().map(|(signal, raw)| Sample { wall_us, ..Sample::new(signal, raw) }));
}

/// A sample's own time, or else that of the whole payload.
fn own_time(own: &OwnTime, at: &Value, payload: &Value) -> Result<i64, String> {
    let value = find(at, &own.steps).or_else(|| find(payload, &own.steps));
    let value = value.ok_or_else(|| format!("has no time at `{}`", own.path))?;
    time::wall_us(value, own.format, own.zone.as_deref())
}

/// Null is the source's own "no value".
fn raw(value: &Value) -> Raw {
    match value {
        Value::Null => Raw::Failed(Quality::BAD_SOURCE),
        Value::Bool(bit) => Raw::Bit(*bit),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Raw::Integer(integer),
            (None, Some(number)) => Raw::Number(number),
            (None, None) => Raw::Failed(Quality::BAD_UNDECODABLE),
        },
        Value::String(text) => Raw::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Raw::Failed(Quality::BAD_UNDECODABLE),
    }
}

fn find<'v>(payload: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(payload, |value, step| match value {
        Value::Object(object) => object.get(&step.key),
        Value::Array(array) => array.get(step.index?),
        _ => None,
    })
}

/// A value in a reason: short, on one line.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN_CHARS { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests;
